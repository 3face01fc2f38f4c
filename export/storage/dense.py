"""Weights as floating-point numbers, in fp32 or fp16."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import onnx
from numpy.typing import NDArray

from ...runtime.errors import BundleError
from ..fuse.traced import TracedGraph
from .base import HEAD_SUFFIX, Part


@dataclass(frozen=True, slots=True)
class Dense:
    """Numbers in the order of the checkpoint: vectors, tables, and the embedding.

    ``head`` are the groups of rows of an embedding that the head reads; None is all rows.
    """

    dtype: np.dtype[Any]
    by_rows: bool = True
    head: tuple[range, ...] | None = None

    def parts(self, shape: tuple[int, ...]) -> tuple[Part, ...]:
        """One tensor of the same name and shape, and rows of it for a head that is cut."""
        whole = Part("", self.dtype, shape)
        row_bytes = whole.nbytes // shape[0]
        return (
            whole,
            *(
                Part(
                    self._suffix(rows), self.dtype, (len(rows), *shape[1:]), same_as="", skipped=row_bytes * rows.start
                )
                for rows in self.head or ()
            ),
        )

    def encode(self, rows: NDArray[np.float32]) -> tuple[NDArray[Any]]:
        """``rows``, rounded to the type.

        Raises:
            BundleError: a number is beyond the type's range.
        """
        return (_rounded(rows, self.dtype),)

    def fitting(self, width: int) -> Self:
        """As of `VocabularyStorage`: itself."""
        return self

    def with_head(self, groups: Sequence[range]) -> Self:
        """As of `VocabularyStorage`."""
        return replace(self, head=tuple(groups))

    def look_up(self, graph: TracedGraph, gather: onnx.NodeProto, weight: str) -> None:
        """Leaves the ``Gather`` as it is."""

    def multiply(
        self,
        graph: TracedGraph,
        product: onnx.NodeProto,
        weight: str,
        shape: tuple[int, int],
        group: range | None = None,
    ) -> None:
        """Leaves the ``MatMul`` with a ``Transpose`` of the embedding, or makes one of a group of rows.

        onnxruntime folds the transposition when it loads the graph. A ``Gemm`` or ``FusedMatMul`` over the matrix
        as it is was no faster, and kept two copies too.
        """
        if group is not None:
            turned = f"{product.name}/transposed"
            graph.add("Transpose", [weight + self._suffix(group)], [turned], f"{product.name}/Transpose", perm=[1, 0])
            graph.add("MatMul", [product.input[0], turned], list(product.output), product.name)

    def _suffix(self, rows: range) -> str:
        return HEAD_SUFFIX if self.head == (rows,) else f"{HEAD_SUFFIX}.{rows.start}"


@dataclass(frozen=True, slots=True)
class DenseProduct:
    """A matrix [out, in] stored transposed, as ``MatMul`` reads it."""

    dtype: np.dtype[Any]
    by_rows: bool = False

    def parts(self, shape: tuple[int, ...]) -> tuple[Part]:
        """One tensor of the same name, [in, out]."""
        return (Part("", self.dtype, shape[::-1]),)

    def encode(self, rows: NDArray[np.float32]) -> tuple[NDArray[Any]]:
        """The whole matrix, transposed and rounded to the type.

        Raises:
            BundleError: a number is beyond the type's range.
        """
        return (np.ascontiguousarray(_rounded(rows, self.dtype).T),)

    def multiply(self, graph: TracedGraph, product: onnx.NodeProto, weight: str, shape: tuple[int, int]) -> None:
        """A ``MatMul`` with the stored matrix."""
        graph.add("MatMul", [product.input[0], weight], list(product.output), product.name)


def _rounded(numbers: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        rounded = numbers.astype(dtype, copy=False)
    if not np.isfinite(rounded).all():
        raise BundleError(f"a weight of {np.abs(numbers).max():.3g} is beyond {dtype}; export in fp32")
    return rounded
