"""Streaming: weights go from the checkpoint into ``model.onnx.data``, one block of rows at a time.

Where everything lies is known before the first weight is read, so the graph is written first, and memory holds
no more than one matrix of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, cast

import onnx
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.external_data_helper import set_external_data

from ..runtime.bundle import WEIGHTS_FILE
from .folded import FoldedWeights
from .storage.base import Part, Storage
from .storage.codes import CodedStorage

# ONNX asks for offsets at pages, so that the file can be mapped into memory; smaller tensors share one.
_PAGE_BYTES, _SMALL_BYTES = 4096, 64
_BLOCK_NUMBERS = 1 << 23


@dataclass(frozen=True, slots=True)
class Slot:
    """A weight's place in the file: its parts, and the offset of each in bytes."""

    weight: str
    storage: Storage
    parts: tuple[Part, ...]
    offsets: tuple[int, ...]

    def initializers(self) -> Iterable[TensorProto]:
        """The tensors of the graph that read the file there."""
        for part, offset in zip(self.parts, self.offsets, strict=True):
            tensor = TensorProto(name=self.weight + part.suffix, data_type=part.onnx_type, dims=part.shape)
            tensor.raw_data = b""  # set_external_data wants the field to be there
            set_external_data(tensor, WEIGHTS_FILE, offset=offset, length=part.nbytes)
            tensor.ClearField("raw_data")
            yield tensor


class Layout:
    """The weights' file, planned: where each tensor lies.

    What steps read where it is mapped lies together, at the beginning: vectors, scales and zeros. Kernels copy the bulk
    of a matrix alone, which is its largest part, and reading a number may map 2 MB of what the system has cached around
    it (docs/start-up.md). Both groups are in the order of ``weights``.

    Args:
        weights: name, shape and storage of each.

    Attributes:
        slots: of the weights, in their order.
        nbytes: the size of the file.
    """

    def __init__(self, weights: Iterable[tuple[str, tuple[int, ...], Storage]]) -> None:
        found = [(name, storage, tuple(storage.parts(shape))) for name, shape, storage in weights]
        read, copied = list[tuple[str, Part]](), list[tuple[str, Part]]()
        for name, _, parts in found:
            own = [part for part in parts if part.same_as is None]
            bulk = max(own, key=lambda part: part.nbytes)
            for part in own:
                (copied if part is bulk and len(part.shape) > 1 else read).append((name, part))
        self.nbytes = 0
        offsets: dict[tuple[str, str], int] = {}
        for name, part in (*read, *copied):
            self.nbytes += -self.nbytes % (_PAGE_BYTES if part.nbytes >= _PAGE_BYTES else _SMALL_BYTES)
            offsets[name, part.suffix] = self.nbytes
            self.nbytes += part.nbytes
        self.slots = [
            Slot(name, storage, parts, tuple(_offset(offsets, name, part) for part in parts))
            for name, storage, parts in found
        ]


def _offset(offsets: Mapping[tuple[str, str], int], name: str, part: Part) -> int:
    """Of a part that has its own place, or reads another's."""
    return offsets[name, part.suffix if part.same_as is None else part.same_as] + part.skipped


def write_graph(model: onnx.ModelProto, path: Path) -> None:
    """Writes the graph, the same bytes for the same model.

    Raises:
        OSError: the disk is full.
    """
    path.write_bytes(model.SerializeToString(deterministic=True))


def write_weights(
    slots: Iterable[Slot], weights: FoldedWeights, path: Path, advance: Callable[[int], None] = lambda _bytes: None
) -> None:
    """Reads, encodes and writes every slot.

    Args:
        slots: from a `Layout`.
        weights: the tensors that the slots name.
        path: the file to make.
        advance: called with the number of bytes after each that were written.

    Raises:
        UsageError: a weight holds NaN or infinity, or a shard was cut short meanwhile.
        BundleError: a number does not fit its storage.
        OSError: the disk is full.
    """
    with path.open("wb") as file:
        for slot in slots:
            own = [offset for part, offset in zip(slot.parts, slot.offsets, strict=True) if part.same_as is None]
            for encoded in _encoded(slot, weights):
                for number, array in enumerate(encoded):
                    file.seek(own[number])
                    file.write(array.data)
                    own[number] += array.nbytes
                advance(sum(array.nbytes for array in encoded))


def _encoded(slot: Slot, weights: FoldedWeights) -> Iterator[Sequence[NDArray[Any]]]:
    """The bytes of the slot's parts, rows after rows."""
    codes = weights.codes(slot.weight)
    if codes is not None:
        yield cast(CodedStorage, slot.storage).pack(codes)
        return
    rows, *rest = weights.shape(slot.weight)
    step = max(1, _BLOCK_NUMBERS // prod(rest)) if slot.storage.by_rows else rows
    for start in range(0, rows, step):
        yield slot.storage.encode(weights.read_rows(slot.weight, start, min(start + step, rows)))
