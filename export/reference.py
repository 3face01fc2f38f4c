"""The checkpoint in torch: what the graph is traced from, and what it is measured against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import Gemma3ForCausalLM, Gemma3TextConfig
from transformers.modeling_utils import no_init_weights
from transformers.models.gemma3.modeling_gemma3 import Gemma3RotaryEmbedding, Gemma3TextScaledWordEmbedding

from ..runtime.errors import UsageError
from ..runtime.session import REMOVED_LOGIT
from .checkpoint import Checkpoint
from .config import TextConfig
from .names import EMBEDDING
from .weights import Weights

_BLOCK_NUMBERS = 1 << 24


class Reference(Protocol):
    """The model that the graph must be: `LayerwiseReference`, or one that is in memory as a whole."""

    def hidden(self, sequences: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """Hidden states [length, hidden] after the final norm, of each of ``sequences``."""

    def logits(self, hidden: torch.Tensor) -> NDArray[np.float32]:
        """Logits [n, vocab] of ``hidden`` [n, hidden]."""


@dataclass(frozen=True, slots=True)
class WholeReference:
    """A ``Gemma3ForCausalLM`` in fp32."""

    model: Any

    def hidden(self, sequences: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """As of `Reference`."""
        with torch.no_grad():
            return [self.model.model(torch.tensor([ids]), use_cache=False).last_hidden_state[0] for ids in sequences]

    def logits(self, hidden: torch.Tensor) -> NDArray[np.float32]:
        """As of `Reference`."""
        with torch.no_grad():
            logits: NDArray[np.float32] = self.model.lm_head(hidden).numpy()
        return logits


@dataclass(frozen=True, slots=True)
class CutReference:
    """A reference whose head lacks the rows that are True in ``removed`` [vocab]."""

    reference: Reference
    removed: NDArray[np.bool_]

    def hidden(self, sequences: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """As of `Reference`."""
        return self.reference.hidden(sequences)

    def logits(self, hidden: torch.Tensor) -> NDArray[np.float32]:
        """As of `Reference`; those of removed rows are as in a graph."""
        logits = self.reference.logits(hidden)
        logits[:, self.removed] = REMOVED_LOGIT
        return logits


def reference_model(weights: Weights) -> Any:
    """A ``Gemma3ForCausalLM`` in fp32 on the CPU in evaluation mode, with every parameter from ``weights``.

    It is built from the description and filled tensor by tensor: transformers' own loading leaves weights at
    random numbers, with a warning, where names do not match.

    Raises:
        UsageError: a weight holds NaN or infinity, or transformers' model has other tensors than ``weights``.
    """
    with no_init_weights():
        model = Gemma3ForCausalLM(transformers_config(weights.config)).float().eval()
    model.tie_weights()
    parameters = dict(model.named_parameters())
    shapes = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
    for name, _ in sorted(shapes.items() ^ weights.config.tensor_shapes.items()):
        raise UsageError(f"this version of transformers builds another model than the checkpoint's: {name} differs")
    for name, parameter in parameters.items():
        _fill(parameter, weights, name)
    model.model.embed_tokens.embed_scale.fill_(embedding_scale(weights))
    return model


def embedding_scale(weights: Weights) -> float:
    """The factor of the embedding: sqrt(hidden size), rounded to the type that the checkpoint is stored in.

    transformers rounds it so when the model runs in that type, as it did in training: 50.5 for the 4B in bf16,
    where the root of 2560 is 50.596.
    """
    dtype = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}[weights.dtype(EMBEDDING)]
    return float(torch.tensor(weights.shape(EMBEDDING)[1] ** 0.5).to(dtype))


def load_model(checkpoint: Checkpoint) -> Any:
    """The `reference_model` of an opened checkpoint.

    Raises:
        UsageError: as `reference_model`, or a file has changed.
    """
    with checkpoint.weights() as weights:
        return reference_model(weights)


def transformers_config(config: TextConfig) -> Any:
    """The same description as a ``Gemma3TextConfig``."""
    scaling = {"rope_type": "linear", "factor": config.global_rope.factor}
    return Gemma3TextConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        num_key_value_heads=config.num_kv_heads,
        head_dim=config.head_dim,
        max_position_embeddings=config.context_length,
        sliding_window=config.sliding_window,
        layer_types=list(config.layer_kinds),
        rms_norm_eps=config.rms_norm_eps,
        query_pre_attn_scalar=config.query_pre_attn_scalar,
        rope_theta=config.global_rope.theta,
        rope_local_base_freq=config.local_rope.theta,
        rope_scaling=None if config.global_rope.factor == 1.0 else scaling,
        tie_word_embeddings=config.tied,
        eos_token_id=list(config.eos_ids),
    )


def weightless_model(config: TextConfig, vocabulary: int) -> Any:
    """A ``Gemma3ForCausalLM`` of ``config`` but for the size of its vocabulary, whose weights take no memory.

    Each parameter is one zero, spread over its shape; buffers are as they should be.
    """
    settings = transformers_config(config)
    settings.vocab_size = vocabulary
    settings.pad_token_id = 0
    with torch.device("meta"):
        model = Gemma3ForCausalLM(settings)
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = torch.nn.Parameter(no_numbers(parameter.shape), requires_grad=False)
        # Buffers have no memory on the meta device; these two are read.
        if isinstance(module, Gemma3RotaryEmbedding):
            module.inv_freq = module.original_inv_freq = module.rope_init_fn(module.config, torch.device("cpu"))[0]
        elif isinstance(module, Gemma3TextScaledWordEmbedding):
            module.embed_scale = torch.tensor(config.hidden_size**0.5)
    model.tie_weights()
    return model.eval()


def no_numbers(shape: Any) -> Any:
    """A float32 tensor of zeros that takes the memory of one."""
    return torch.zeros(1).expand(shape)


def _fill(parameter: Any, weights: Weights, name: str) -> None:
    rows, *rest = weights.shape(name)
    step = max(1, _BLOCK_NUMBERS // prod(rest))
    with torch.no_grad():
        for start in range(0, rows, step):
            stop = min(start + step, rows)
            parameter[start:stop] = torch.from_numpy(weights.read_rows(name, start, stop))
