"""Smoothing: scales move from activations into weights, and what makes the activations takes them back, exactly.

SmoothQuant (Xiao et al., 2023, arXiv:2211.10438) for Gemma 3, where every product has a place for them: the norm
before q, k, v and before gate, up; v before o (one scale a value dimension, whichever query head reads it); up
before down; the final norm, and the factor of the embedding, for a head that shares the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

# The products that read one input, by the first of them, in the order of computation.
READERS = {
    "self_attn.q_proj": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attn.o_proj": ("self_attn.o_proj",),
    "mlp.gate_proj": ("mlp.gate_proj", "mlp.up_proj"),
    "mlp.down_proj": ("mlp.down_proj",),
}
# What makes that input: a norm, or a product whose rows they are.
NORMS = {"self_attn.q_proj": "input_layernorm", "mlp.gate_proj": "pre_feedforward_layernorm"}
PRODUCTS = {"self_attn.o_proj": "self_attn.v_proj", "mlp.down_proj": "mlp.up_proj"}
_SMALLEST = 1e-5


@dataclass(frozen=True, slots=True)
class Smoothing:
    """What smoothing changed.

    Attributes:
        inputs: what each input of the readers was divided by, [in].
        rows: what the rows of the product that makes the input were divided by, [out]; None where a norm makes it.
    """

    inputs: torch.Tensor
    rows: torch.Tensor | None


def scales(activations: torch.Tensor, weights: torch.Tensor, strength: float) -> torch.Tensor:
    """What each input's weights are multiplied by, [in]; the activations are divided by it.

    Args:
        activations: the largest absolute value of each input, [in].
        weights: the largest absolute weight of each input, [in].
        strength: 0 evens the weights out, 1 the activations.
    """
    found = activations.clamp(min=_SMALLEST) ** strength / weights.clamp(min=_SMALLEST) ** (1 - strength)
    return found / found.log().mean().exp()


def smooth(
    first: str, parameters: Mapping[str, torch.Tensor], reach: torch.Tensor, strength: float, head_dim: int
) -> Smoothing:
    """Smooths the input that the products `READERS` of ``first`` share, in place.

    Args:
        first: of the products that read it.
        parameters: the layer's tensors by their names in it; norms hold what is added to 1.
        reach: the largest absolute value of each input, [in].
        strength: as of `scales`.
        head_dim: of the attention.
    """
    weights = [parameters[f"{name}.weight"] for name in READERS[first]]
    largest = torch.stack([weight.abs().amax(0) for weight in weights]).amax(0)
    rows: torch.Tensor | None = None
    if first in NORMS:
        inputs = scales(reach, largest, strength)
        norm = parameters[f"{NORMS[first]}.weight"]
        norm.copy_((1 + norm) / inputs - 1)
    else:
        maker = parameters[f"{PRODUCTS[first]}.weight"]
        if first == "mlp.down_proj":
            inputs = rows = scales(reach, largest, strength)
        else:
            heads = len(maker) // head_dim
            rows = scales(_by_value(reach, heads, head_dim), _by_value(largest, heads, head_dim), strength)
            inputs = rows.reshape(heads, 1, head_dim).expand(-1, len(largest) // len(rows), -1).reshape(-1)
        maker.div_(rows[:, None])
    for weight in weights:
        weight.mul_(inputs)
    return Smoothing(inputs, rows)


def _by_value(inputs: torch.Tensor, heads: int, head_dim: int) -> torch.Tensor:
    """The largest of all query heads that read the same value: [heads * head_dim]."""
    return inputs.reshape(heads, -1, head_dim).amax(1).reshape(-1)
