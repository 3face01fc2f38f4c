"""Weights as floating-point numbers, in fp32 or fp16."""

from __future__ import annotations

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

    ``head_rows`` is how many rows of an embedding the head reads; None is all.
    """

    dtype: np.dtype[Any]
    by_rows: bool = True
    head_rows: int | None = None

    def parts(self, shape: tuple[int, ...]) -> tuple[Part, ...]:
        """One tensor of the same name and shape, and its first rows for a head that is cut."""
        whole = Part("", self.dtype, shape)
        if self.head_rows is None:
            return (whole,)
        return (whole, Part(HEAD_SUFFIX, self.dtype, (self.head_rows, *shape[1:]), same_as=""))

    def encode(self, rows: NDArray[np.float32]) -> tuple[NDArray[Any]]:
        """``rows``, rounded to the type.

        Raises:
            BundleError: a number is beyond the type's range.
        """
        return (_rounded(rows, self.dtype),)

    def fitting(self, width: int) -> Self:
        """As of `VocabularyStorage`: itself."""
        return self

    def with_head(self, rows: int) -> Self:
        """As of `VocabularyStorage`."""
        return replace(self, head_rows=rows)

    def look_up(self, graph: TracedGraph, gather: onnx.NodeProto, weight: str) -> None:
        """Leaves the ``Gather`` as it is."""

    def multiply(self, graph: TracedGraph, product: onnx.NodeProto, weight: str, shape: tuple[int, int]) -> None:
        """Leaves the ``MatMul`` with a ``Transpose`` of the embedding, or makes one of its first rows.

        onnxruntime folds the transposition when it loads the graph. A ``Gemm`` or ``FusedMatMul`` over the matrix
        as it is was no faster, and kept two copies too.
        """
        if self.head_rows is not None:
            turned = f"{product.name}/transposed"
            graph.add("Transpose", [weight + HEAD_SUFFIX], [turned], f"{product.name}/Transpose", perm=[1, 0])
            graph.add("MatMul", [product.input[0], turned], list(product.output), product.name)


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
