"""Weights in 4 or 8 bits, in blocks along the input that share a scale: ``MatMulNBits``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import onnx
from numpy.typing import NDArray

from ...runtime.errors import UsageError
from ..fuse.traced import TracedGraph
from .base import HEAD_SUFFIX, TILE, Part
from .codes import Codes, Grid

# Activations become 8-bit integers inside the kernel: the fast road of onnxruntime on every processor.
_INT8_ACTIVATIONS = 4
_UINT8 = np.dtype(np.uint8)
# Numbers a block of onnxruntime's kernels.
_LEAST = 16
# A head is made of products of so many bytes at most: onnxruntime copies each with one thread into its kernel's layout,
# and one that is a quarter of all weights would keep the others waiting (docs/start-up.md).
_PRODUCT_BYTES = 1 << 27


@dataclass(frozen=True, slots=True)
class Blocks:
    """A matrix [out, in] in blocks of ``size`` inputs.

    Attributes:
        bits: 4 or 8.
        size: numbers a block, 16 or more, a power of two.
        zero_points: whether blocks have their own zero; else it is the middle of the range.
        scales: the type of the scales, which must be that of the activations.
    """

    bits: int
    size: int
    zero_points: bool
    scales: np.dtype[Any]
    by_rows: bool = True

    def parts(self, shape: tuple[int, ...]) -> tuple[Part, ...]:
        """Packed numbers, scales and, if any, zero points."""
        rows, blocks = shape[0], -(-shape[1] // self.size)
        packed = Part(".packed", _UINT8, (rows, blocks, self.size * self.bits // 8))
        scales = Part(".scales", self.scales, (rows, blocks))
        zeros = Part(".zeros", _UINT8, (rows, -(-blocks * self.bits // 8)))
        return (packed, scales, zeros) if self.zero_points else (packed, scales)

    def encode(self, rows: NDArray[np.float32]) -> tuple[NDArray[Any], ...]:
        """``rows`` rounded to the nearest of the numbers that their blocks' scales allow."""
        return self.pack((self._affine if self.zero_points else self._symmetric)(self._blocks(rows), rows.shape[1]))

    @property
    def grid(self) -> Grid:
        """As of `CodedStorage`."""
        return Grid(self.bits, self.size, self.zero_points)

    def pack(self, codes: Codes) -> tuple[NDArray[Any], ...]:
        """As of `CodedStorage`; a last block that is not full is filled up with zeros."""
        rows, inputs = codes.numbers.shape
        filled = np.repeat(codes.zeros[:, -1:], -inputs % self.size, axis=1)
        numbers = np.concatenate([codes.numbers, filled], 1).reshape(rows, -1, self.size)
        packed, scales = self._packed(numbers), np.ascontiguousarray(codes.scales.astype(self.scales))
        return (packed, scales, self._packed(codes.zeros)) if self.zero_points else (packed, scales)

    def multiply(self, graph: TracedGraph, product: onnx.NodeProto, weight: str, shape: tuple[int, int]) -> None:
        """A ``MatMulNBits``."""
        suffixes = (".packed", ".scales", ".zeros") if self.zero_points else (".packed", ".scales")
        graph.add(
            "MatMulNBits",
            [product.input[0], *(weight + suffix for suffix in suffixes)],
            list(product.output),
            f"{product.name}NBits",
            N=shape[0],
            K=shape[1],
            bits=self.bits,
            block_size=self.size,
            accuracy_level=_INT8_ACTIVATIONS,
        )

    def _blocks(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        padding = -rows.shape[1] % self.size
        return np.pad(rows, ((0, 0), (0, padding))).reshape(len(rows), -1, self.size)

    def _symmetric(self, blocks: NDArray[np.float32], inputs: int) -> Codes:
        middle = self.grid.middle
        scales = self._rounded_scales(np.abs(blocks).max(-1) / (middle - 1))
        numbers = np.rint(blocks / scales[..., None]).clip(1 - middle, middle - 1) + middle
        return self._codes(numbers, scales, np.full(scales.shape, middle, np.uint8), inputs)

    def _affine(self, blocks: NDArray[np.float32], inputs: int) -> Codes:
        top = self.grid.top
        low, high = np.minimum(blocks.min(-1), 0), np.maximum(blocks.max(-1), 0)
        scales = self._rounded_scales((high - low) / top)
        zeros = np.rint(-low / scales).clip(0, top)
        numbers = (np.rint(blocks / scales[..., None]) + zeros[..., None]).clip(0, top)
        return self._codes(numbers, scales, zeros, inputs)

    @staticmethod
    def _codes(numbers: NDArray[Any], scales: NDArray[np.float32], zeros: NDArray[Any], inputs: int) -> Codes:
        flat = numbers.astype(np.uint8).reshape(len(numbers), -1)[:, :inputs]
        return Codes(flat, scales, zeros.astype(np.uint8))

    def _rounded_scales(self, scales: NDArray[np.float32]) -> NDArray[np.float32]:
        """As they are stored, so that rounding errors are not made twice; 1 for blocks of zeros."""
        stored = scales.astype(self.scales).astype(np.float32)
        return np.where(stored == 0, np.float32(1), stored)

    def _packed(self, numbers: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Two numbers a byte along the last axis in 4 bits, the first in the lower half."""
        if self.bits == 8:
            return np.ascontiguousarray(numbers)
        if numbers.shape[-1] % 2:
            numbers = np.pad(numbers, [(0, 0)] * (numbers.ndim - 1) + [(0, 1)])
        return np.ascontiguousarray(numbers[..., 0::2] | numbers[..., 1::2] << 4)


@dataclass(frozen=True, slots=True)
class SharedBlocks:
    """The embedding in 8 bits, stored once: ``GatherBlockQuantized`` and the head's ``MatMulNBits``, one or several of
    some rows each, read the same bytes as several tensors. Zero is 128 in all. ``head`` are the groups of rows that the
    head reads; None is all rows."""

    scales: np.dtype[Any]
    size: int = 32
    by_rows: bool = True
    head: tuple[range, ...] | None = None

    @property
    def _blocks(self) -> Blocks:
        return Blocks(8, self.size, zero_points=False, scales=self.scales)

    def parts(self, shape: tuple[int, ...]) -> tuple[Part, ...]:
        """The table, its scales, and the same bytes in the head's shape; the head has scales of its own where it reads
        some rows, or is several products.

        Raises:
            UsageError: the width is no multiple of the block's size.
        """
        if shape[1] % self.size:
            raise UsageError(f"an embedding of width {shape[1]} has no blocks of {self.size}; export in fp32 or fp16")
        packed, scales = self._blocks.parts(shape)
        table = Part(".table", _UINT8, (shape[0], shape[1]))
        products = self._products(shape)
        if list(products) == [""]:
            return (table, scales, Part(".packed", packed.dtype, packed.shape, same_as=".table"))
        head = []
        for suffix, rows in products.items():
            of_rows = self._blocks.parts((len(rows), shape[1]))
            for part, whole in zip(of_rows, (table, scales), strict=True):
                skipped = whole.nbytes // shape[0] * rows.start
                head.append(Part(suffix + part.suffix, part.dtype, part.shape, same_as=whole.suffix, skipped=skipped))
        return (table, scales, *head)

    def encode(self, rows: NDArray[np.float32]) -> tuple[NDArray[Any], ...]:
        """``rows`` in blocks."""
        return self._blocks.encode(rows)

    def fitting(self, width: int) -> Self:
        """As of `VocabularyStorage`; unchanged where no blocks do."""
        sizes = [self.size >> halvings for halvings in range(self.size.bit_length()) if self.size >> halvings >= _LEAST]
        return replace(self, size=next((size for size in sizes if width % size == 0), self.size))

    def with_head(self, groups: Sequence[range]) -> Self:
        """As of `VocabularyStorage`."""
        return replace(self, head=tuple(groups))

    def look_up(self, graph: TracedGraph, gather: onnx.NodeProto, weight: str) -> None:
        """A ``GatherBlockQuantized``."""
        graph.add(
            "GatherBlockQuantized",
            [f"{weight}.table", gather.input[1], f"{weight}.scales"],
            list(gather.output),
            f"{gather.name}BlockQuantized",
            bits=8,
            block_size=self.size,
            gather_axis=0,
            quantize_axis=1,
        )

    def multiply(
        self,
        graph: TracedGraph,
        product: onnx.NodeProto,
        weight: str,
        shape: tuple[int, int],
        group: range | None = None,
    ) -> None:
        """A ``MatMulNBits``, or several and what joins them."""
        products, outputs = self._products(shape), list[str]()
        if group is not None:
            products = {suffix: rows for suffix, rows in products.items() if rows.start in group}
        for suffix, rows in products.items():
            part = onnx.NodeProto()
            part.CopyFrom(product)
            if len(products) > 1:
                part.name, part.output[0] = product.name + suffix, product.name + suffix
            self._blocks.multiply(graph, part, weight + suffix, (len(rows), shape[1]))
            outputs += part.output
        if len(products) > 1:
            graph.add("Concat", outputs, list(product.output), f"{product.name}Concat", axis=-1)

    def _products(self, shape: tuple[int, ...]) -> dict[str, range]:
        """The rows of each of the head's products, by the suffix of the tensors that hold them."""
        groups = self.head or (range(shape[0]),)
        products = [rows for group in groups for rows in _pieces(group, shape[1])]
        if len(products) == 1:
            return {"" if self.head is None else HEAD_SUFFIX: products[0]}
        return {f"{HEAD_SUFFIX}.{number}": rows for number, rows in enumerate(products)}


def _pieces(rows: range, row_bytes: int) -> list[range]:
    """``rows`` in whole tiles of about as many bytes each."""
    count = -(-len(rows) * row_bytes // _PRODUCT_BYTES)
    step = -(-len(rows) // count // TILE) * TILE
    return [rows[start : start + step] for start in range(0, len(rows), step)]
