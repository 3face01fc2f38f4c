"""FP16 without overflow: Gemma 3 scaled by powers of two, which changes nothing but the size of activations.

Every block of Gemma 3 ends in a norm, and begins with one. So the residual stream can be scaled (embedding, and
what the norms after the blocks add to it), and so can values and the products inside the MLP (weights of v and
up), if the epsilons of the norms that read them are scaled by the square. On the real 270M the stream reaches
103,800, where fp16 ends at 65,504.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from onnx import numpy_helper

from ..runtime.errors import UsageError
from .config import TextConfig
from .fuse.ends import EMBEDDING_SCALE
from .fuse.model import FusedModel
from .layerwise import LayerwiseReference

_LIMIT = float(np.finfo(np.float16).max)
# No activation of the calibration may come nearer to the limit than this factor; scales are chosen for twice it.
HEADROOM = 4.0
_ROOM_CHOSEN = 8.0

# What each scale changes, and what none does; inputs of modules begin with a ">".
_STREAM = (
    ">input_layernorm",
    ">pre_feedforward_layernorm",
    "post_attention_layernorm",
    "post_feedforward_layernorm",
)
_VALUES = ("self_attn.v_proj", ">self_attn.o_proj", "self_attn.o_proj")
_INNER = ("mlp.up_proj", ">mlp.down_proj", "mlp.down_proj")
_NOT_SCALED = (
    "input_layernorm",
    "pre_feedforward_layernorm",
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.q_norm",
    "self_attn.k_norm",
    "mlp.gate_proj",
)


@dataclass(frozen=True, slots=True)
class Rescaling:
    """Powers of two, 1 or less: of the residual stream, and by layer of the values and of the MLP."""

    stream: float
    values: tuple[float, ...]
    inner: tuple[float, ...]

    def factors(self) -> dict[str, float]:
        """What the folded weights are multiplied by, by their names."""
        found = {}
        for index, (values, inner) in enumerate(zip(self.values, self.inner, strict=True)):
            layer = f"model.layers.{index}"
            found[f"{layer}.self_attn.v_proj.weight"] = values
            found[f"{layer}.mlp.up_proj.weight"] = inner
            for norm in ("post_attention_layernorm", "post_feedforward_layernorm"):
                found[f"{layer}.{norm}.weight"] = self.stream
        return {name: factor for name, factor in found.items() if factor != 1}

    def describe(self) -> dict[str, str | float]:
        """The same for the manifest; layers that are not scaled are left out."""
        found: dict[str, str | float] = {"stream_scale": self.stream}
        for name, scales in (("values_scale", self.values), ("inner_scale", self.inner)):
            changed = [f"{index}: {scale:g}" for index, scale in enumerate(scales) if scale != 1]
            found[name] = ", ".join(changed)[:1000] or "1 in all layers"
        return found

    def apply(self, fused: FusedModel) -> None:
        """Scales the embedding and the epsilons of ``fused`` accordingly."""
        graph = fused.graph
        scale = numpy_helper.to_array(graph.initializers[EMBEDDING_SCALE])
        graph.constant(EMBEDDING_SCALE, np.asarray(scale * np.float32(self.stream)))
        epsilons = self._epsilon_scales()
        for node in graph.live_nodes():
            weight = next((name for name in node.input if name in epsilons), None)
            if weight is None or not node.op_type.endswith("SimplifiedLayerNormalization"):
                continue
            for attribute in node.attribute:
                if attribute.name == "epsilon":
                    attribute.f *= epsilons[weight] ** 2

    def _epsilon_scales(self) -> Mapping[str, float]:
        scales = {"model.norm.weight": self.stream}
        for index, (values, inner) in enumerate(zip(self.values, self.inner, strict=True)):
            layer = f"model.layers.{index}"
            scales[f"{layer}.input_layernorm.weight"] = self.stream
            scales[f"{layer}.pre_feedforward_layernorm.weight"] = self.stream
            scales[f"{layer}.post_attention_layernorm.weight"] = values
            scales[f"{layer}.post_feedforward_layernorm.weight"] = inner
        return scales


class Ranges:
    """The largest absolute input and output of every module; an observer of `LayerwiseReference`."""

    def __init__(self) -> None:
        self._inputs: dict[str, float] = {}
        self._outputs: dict[str, float] = {}

    def __call__(self, name: str, given: torch.Tensor | None, made: torch.Tensor) -> None:
        """Notes what module ``name`` was ``given`` and has ``made``."""
        self._outputs[name] = max(self._outputs.get(name, 0.0), float(made.abs().max()))
        if given is not None:
            self._inputs[name] = max(self._inputs.get(name, 0.0), float(given.abs().max()))

    def of(self, layer: int, *names: str) -> float:
        """The largest of ``names`` in ``layer``: outputs of modules, or, after a ``>``, their inputs."""
        prefix = f"model.layers.{layer}."
        return max(
            self._inputs[prefix + name[1:]] if name.startswith(">") else self._outputs[prefix + name] for name in names
        )


def choose_rescaling(
    reference: LayerwiseReference, config: TextConfig, sequences: Sequence[Sequence[int]]
) -> Rescaling:
    """The scales that ``sequences`` ask for: the largest powers of two that leave room enough.

    Raises:
        UsageError: an activation that no scale can help comes within a factor of `HEADROOM` of fp16's limit.
    """
    ranges = Ranges()
    reference.hidden(sequences, ranges)
    layers = range(config.num_layers)
    for index in layers:
        reach = ranges.of(index, *_NOT_SCALED)
        if reach * HEADROOM > _LIMIT:
            raise UsageError(
                f"activations of layer {index} reach {reach:.3g}, which is too near to the limit of fp16,"
                f" {_LIMIT:g}; export in another precision"
            )
    return Rescaling(
        stream=_power(max(ranges.of(index, *_STREAM) for index in layers)),
        values=tuple(_power(ranges.of(index, *_VALUES)) for index in layers),
        inner=tuple(_power(ranges.of(index, *_INNER)) for index in layers),
    )


def _power(reach: float) -> float:
    """The largest power of two, 1 or less, that brings ``reach`` to an eighth of fp16's limit."""
    return min(1.0, 2.0 ** math.floor(math.log2(_LIMIT / _ROOM_CHOSEN / reach))) if reach else 1.0
