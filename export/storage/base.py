"""What every kind of storage gives: the tensors that it makes of one weight, and their bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol, Self

import numpy as np
import onnx
from numpy.typing import NDArray

from ..fuse.traced import TracedGraph

# Of the names of tensors that are rows of a table, the first of them as a rule.
HEAD_SUFFIX = ".head"
# Kernels take rows by such numbers; products that end elsewhere round otherwise.
TILE = 128


@dataclass(frozen=True, slots=True)
class Part:
    """A tensor of the stored graph: the ``suffix`` of its name after the weight's, its type and its shape.

    ``same_as`` is the suffix of another part whose bytes it reads, all of them or some after the first ``skipped``.
    """

    suffix: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    same_as: str | None = None
    skipped: int = 0

    @property
    def nbytes(self) -> int:
        """Its size in the file."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def onnx_type(self) -> int:
        """Its type as ONNX numbers it."""
        return int(onnx.helper.np_dtype_to_tensor_dtype(self.dtype))


class Storage(Protocol):
    """Stores one weight of any shape."""

    @property
    def by_rows(self) -> bool:
        """Whether `encode` may be given some of the rows at a time; their parts then follow each other."""

    def parts(self, shape: tuple[int, ...]) -> Sequence[Part]:
        """The tensors that a weight of ``shape`` becomes."""

    def encode(self, rows: NDArray[np.float32]) -> Sequence[NDArray[Any]]:
        """The bytes of ``rows``: one contiguous array for every part without ``same_as``, in that order."""


class MatrixStorage(Storage, Protocol):
    """Stores the weight [out, in] of a product, and multiplies by it."""

    def multiply(self, graph: TracedGraph, product: onnx.NodeProto, weight: str, shape: tuple[int, int]) -> None:
        """Replaces the ``MatMul`` ``product`` of its first input with the transposed ``weight``."""


class VocabularyStorage(Storage, Protocol):
    """Stores the embedding [vocab, hidden], looks rows up in it, and multiplies by it where it is the head too."""

    def fitting(self, width: int) -> Self:
        """The same, in the largest blocks, up to its own, that fill a row of ``width``."""

    def with_head(self, groups: Sequence[range]) -> Self:
        """The same, but the head reads these rows only, which are the first ones, each of ``groups`` by itself."""

    def look_up(self, graph: TracedGraph, gather: onnx.NodeProto, weight: str) -> None:
        """Replaces the ``Gather`` of the embedding."""

    def multiply(
        self,
        graph: TracedGraph,
        product: onnx.NodeProto,
        weight: str,
        shape: tuple[int, int],
        group: range | None = None,
    ) -> None:
        """Replaces a ``MatMul`` of a head that shares the embedding's bytes: that of all rows, or of one of the groups
        of `with_head`."""
