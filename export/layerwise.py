"""The checkpoint in torch with one layer in memory at a time: the reference of models of any size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from .names import EMBEDDING, HEAD
from .reference import embedding_scale, no_numbers, weightless_model
from .weights import Weights

# Told of every module of the layers: its name (``model.layers.0.mlp.up_proj``), its input (None where it is passed
# by keyword) and its output.
Observer = Callable[[str, torch.Tensor | None, torch.Tensor], None]

_BLOCK_NUMBERS = 1 << 24
_UNUSED_VOCABULARY = 1


class LayerwiseReference:
    """transformers' own forward pass in fp32 on the CPU; each layer's weights are read when it is their turn.

    Memory: the weights of one layer, and the activations.

    Args:
        weights: of the checkpoint, open as long as this is used.
    """

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._scale = embedding_scale(weights)
        self._model = weightless_model(weights.config, _UNUSED_VOCABULARY).model
        self._model.norm.weight.data = torch.from_numpy(weights.read("model.norm.weight"))
        for index, layer in enumerate(self._model.layers):
            layer.register_forward_pre_hook(partial(self._load, f"model.layers.{index}"))
            layer.register_forward_hook(_drop)

    def hidden(self, sequences: Sequence[Sequence[int]], observer: Observer | None = None) -> list[torch.Tensor]:
        """Hidden states float32 [length, hidden] after the final norm, of each of ``sequences``; one pass for all.

        Args:
            sequences: token ids. Shorter ones are padded on the right, where no token before sees it.
            observer: told what all modules of the layers are given and make, padding included.

        Raises:
            UsageError: a weight holds NaN or infinity, or a shard was cut short meanwhile.
        """
        longest = max(map(len, sequences))
        ids = np.array([[*sequence, *[sequence[-1]] * (longest - len(sequence))] for sequence in sequences])
        with torch.no_grad():
            handles = [] if observer is None else self._observe(observer)
            try:
                states = self._model(inputs_embeds=self._embed(ids), use_cache=False).last_hidden_state
            finally:
                for handle in handles:
                    handle.remove()
        return [state[: len(sequence)] for state, sequence in zip(states, sequences, strict=True)]

    def state(self, ids: Sequence[int]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Of every layer, keys after rotation and values of ``ids``: float32 [1, kv_heads, len(ids), head_dim].

        Raises:
            UsageError: as `hidden`.
        """
        # Without a configuration it keeps whole layers; with one, the last window of those that slide.
        cache = DynamicCache()
        with torch.no_grad():
            self._model(inputs_embeds=self._embed(np.array([ids])), past_key_values=cache, use_cache=True)
        return [(layer.keys, layer.values) for layer in cache.layers]

    def logits(self, hidden: torch.Tensor) -> NDArray[np.float32]:
        """Logits float32 [n, vocab] of ``hidden`` [n, hidden], from blocks of rows of the head."""
        name = EMBEDDING if self._weights.config.tied else HEAD
        rows, width = self._weights.shape(name)
        logits = np.empty((len(hidden), rows), np.float32)
        step = max(1, _BLOCK_NUMBERS // width)
        for start in range(0, rows, step):
            block = torch.from_numpy(self._weights.read_rows(name, start, min(start + step, rows)))
            logits[:, start : start + step] = (hidden @ block.T).numpy()
        return logits

    def _embed(self, ids: NDArray[np.int64]) -> torch.Tensor:
        distinct, places = np.unique(ids, return_inverse=True)
        rows = np.concatenate([self._weights.read_rows(EMBEDDING, index, index + 1) for index in distinct.tolist()])
        return torch.from_numpy(rows)[torch.from_numpy(places.reshape(ids.shape))] * self._scale

    def _load(self, prefix: str, layer: Any, _inputs: Any) -> None:
        for name, parameter in layer.named_parameters():
            parameter.data = torch.from_numpy(self._weights.read(f"{prefix}.{name}"))

    def _observe(self, observer: Observer) -> list[Any]:
        def tell(name: str, _module: Any, inputs: Any, output: Any) -> None:
            observer(name, inputs[0] if inputs else None, output[0] if isinstance(output, tuple) else output)

        modules = {name: module for name, module in self._model.named_modules(prefix="model") if ".layers." in name}
        return [module.register_forward_hook(partial(tell, name)) for name, module in modules.items()]


def _drop(layer: Any, _inputs: Any, _output: Any) -> None:
    for parameter in layer.parameters():
        parameter.data = no_numbers(parameter.shape)
