"""What a finished graph's weights are: the bytes and numbers of each kind of tensor, for the manifest."""

from __future__ import annotations

import re
from math import prod
from pathlib import Path

import onnx

from ..runtime.manifest import EMBEDDING_PART, HEAD_PART, SHARED_PART, TABLES_PART, WeightPart
from .config import TextConfig
from .names import EMBEDDING, HEAD

_KINDS = (
    (re.compile(re.escape(EMBEDDING)), EMBEDDING_PART),
    (re.compile(re.escape(HEAD)), HEAD_PART),
    (re.compile(r"rotary\."), TABLES_PART),
    (re.compile(r"model\.(layers\.\d+\.)?(\w+\.)?\w*norm\."), "norms"),
    (re.compile(r"model\.layers\.\d+\.self_attn\."), "attention"),
    (re.compile(r"model\.layers\.\d+\.mlp\."), "feed-forward"),
)


def weight_parts(graph: Path, config: TextConfig) -> dict[str, WeightPart]:
    """The parts of the weights file beside ``graph``, in the order of the file.

    Bytes that two tensors share count once; what lies between tensors counts for none.

    Args:
        graph: ``model.onnx``.
        config: of the checkpoint, for how many numbers there are.
    """
    places: dict[str, set[tuple[str, str]]] = {}
    for tensor in onnx.load(graph, load_external_data=False).graph.initializer:
        where = {item.key: item.value for item in tensor.external_data}
        if where:
            places.setdefault(_kind(tensor.name, config), set()).add((where["offset"], where["length"]))
    numbers: dict[str, int] = {}
    for name, shape in config.tensor_shapes.items():
        kind = _kind(name, config)
        numbers[kind] = numbers.get(kind, 0) + prod(shape)
    return {kind: WeightPart(sum(int(size) for _, size in own), numbers.get(kind)) for kind, own in places.items()}


def _kind(name: str, config: TextConfig) -> str:
    kind = next((kind for pattern, kind in _KINDS if pattern.match(name)), "other")
    return SHARED_PART if kind == EMBEDDING_PART and config.tied else kind
