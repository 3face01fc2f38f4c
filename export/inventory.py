"""What a finished graph's weights are: the bytes and numbers of each kind of tensor, for the manifest."""

from __future__ import annotations

import re
from math import prod
from pathlib import Path

import onnx

from ..runtime.manifest import EMBEDDING_PART, HEAD_PART, SHARED_PART, TABLES_PART, WeightPart
from .config import TextConfig
from .head import HeadCut
from .names import EMBEDDING, HEAD, ROW_OF_ID
from .storage.base import HEAD_SUFFIX

_KINDS = (
    (re.compile(re.escape(EMBEDDING)), EMBEDDING_PART),
    (re.compile(re.escape(HEAD)), HEAD_PART),
    (re.compile(r"rotary\."), TABLES_PART),
    (re.compile(re.escape(ROW_OF_ID)), "rows of ids"),
    (re.compile(r"model\.(layers\.\d+\.)?(\w+\.)?\w*norm\."), "norms"),
    (re.compile(r"model\.layers\.\d+\.self_attn\."), "attention"),
    (re.compile(r"model\.layers\.\d+\.mlp\."), "feed-forward"),
)


def weight_parts(graph: Path, config: TextConfig, cut: HeadCut | None = None) -> dict[str, WeightPart]:
    """The parts of the weights file beside ``graph``, in the order of the file.

    Bytes that two tensors share count once; what lies between tensors counts for none. Where a head that shares the
    embedding is cut, the rows that it does not read are an embedding of their own.

    Args:
        graph: ``model.onnx``.
        config: of the checkpoint, for how many numbers there are.
        cut: the rows that the head keeps; None is all.
    """
    # Where each tensor begins and ends: those of a head that is cut or in pieces lie in a longer one.
    places: dict[str, list[tuple[int, int]]] = {}
    of_cut: list[tuple[int, int]] = []
    for tensor in onnx.load(graph, load_external_data=False).graph.initializer:
        where = {item.key: item.value for item in tensor.external_data}
        if where:
            place = int(where["offset"]), int(where["offset"]) + int(where["length"])
            places.setdefault(_kind(tensor.name, config), []).append(place)
            if tensor.name.startswith(EMBEDDING + HEAD_SUFFIX):
                of_cut.append(place)
    sizes = {kind: _covered(own) for kind, own in places.items()}
    numbers: dict[str, int] = {}
    for name, shape in config.tensor_shapes.items():
        kind = _kind(name, config)
        numbers[kind] = numbers.get(kind, 0) + prod(shape)
    if cut is not None:
        head = SHARED_PART if config.tied else HEAD_PART
        kept = cut.rows * config.hidden_size
        if config.tied and numbers[head] > kept:
            read = _covered(of_cut)
            sizes |= {SHARED_PART: read, EMBEDDING_PART: sizes[head] - read}
            numbers[EMBEDDING_PART] = numbers[head] - kept
        numbers[head] = kept
    return {kind: WeightPart(size, numbers.get(kind)) for kind, size in sizes.items()}


def _covered(places: list[tuple[int, int]]) -> int:
    """How many bytes lie in one of these at least."""
    total = reached = 0
    for begin, end in sorted(places):
        total += max(0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def _kind(name: str, config: TextConfig) -> str:
    kind = next((kind for pattern, kind in _KINDS if pattern.match(name)), "other")
    return SHARED_PART if kind == EMBEDDING_PART and config.tied else kind
