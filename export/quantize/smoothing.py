"""Smoothing: scales move from activations into weights, and what makes the activations takes them back, exactly.

SmoothQuant (Xiao et al., 2023, arXiv:2211.10438) for Gemma 3, where every product has a place for them: the norm
before q, k, v and before gate, up; v before o (one scale a value dimension, whichever query head reads it); up
before down; the final norm, and the factor of the embedding, for a head that shares the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

NORMS = {"self_attn.q_proj": "input_layernorm", "mlp.gate_proj": "pre_feedforward_layernorm"}
# The products that read one input, by the first of them.
READERS = {
    "self_attn.q_proj": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attn.o_proj": ("self_attn.o_proj",),
    "mlp.gate_proj": ("mlp.gate_proj", "mlp.up_proj"),
    "mlp.down_proj": ("mlp.down_proj",),
}
_SMALLEST = 1e-5


def scales(activations: torch.Tensor, weights: torch.Tensor, strength: float) -> torch.Tensor:
    """What each input's weights are multiplied by, [in]; the activations are divided by it.

    Args:
        activations: the largest absolute value of each input, [in].
        weights: the largest absolute weight of each input, [in].
        strength: 0 evens the weights out, 1 the activations.
    """
    found = activations.clamp(min=_SMALLEST) ** strength / weights.clamp(min=_SMALLEST) ** (1 - strength)
    return found / found.log().mean().exp()


def smooth_layer(
    parameters: Mapping[str, torch.Tensor], reach: Mapping[str, torch.Tensor], strength: float, head_dim: int
) -> None:
    """Smooths the inputs of all products of a layer, in place.

    Args:
        parameters: the layer's tensors by their names in it; norms hold what is added to 1.
        reach: the largest absolute value of each input of the first products of `READERS`, [in].
        strength: as of `scales`.
        head_dim: of the attention.
    """
    largest: Callable[[torch.Tensor], torch.Tensor] = lambda weight: weight.abs().amax(0)  # noqa: E731
    for first, names in READERS.items():
        weights = [parameters[f"{name}.weight"] for name in names]
        inputs = torch.stack([largest(weight) for weight in weights]).amax(0)
        if first in NORMS:
            found = scales(reach[first], inputs, strength)
            norm = parameters[f"{NORMS[first]}.weight"]
            norm.copy_((1 + norm) / found - 1)
        elif first == "mlp.down_proj":
            found = scales(reach[first], inputs, strength)
            parameters["mlp.up_proj.weight"].div_(found[:, None])
        else:
            values = parameters["self_attn.v_proj.weight"]
            heads = len(values) // head_dim
            shared = scales(_by_value(reach[first], heads, head_dim), _by_value(inputs, heads, head_dim), strength)
            values.div_(shared[:, None])
            found = shared.reshape(heads, 1, head_dim).expand(-1, len(inputs) // len(shared), -1).reshape(-1)
        for weight in weights:
            weight.mul_(found)


def _by_value(inputs: torch.Tensor, heads: int, head_dim: int) -> torch.Tensor:
    """The largest of all query heads that read the same value: [heads * head_dim]."""
    return inputs.reshape(heads, -1, head_dim).amax(1).reshape(-1)
