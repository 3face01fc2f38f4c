"""Weights in whole numbers with a scale a row, for integer products: ``MatMulInteger``.

Activations are quantised in the graph, with a scale a token, once for all products that read them: on processors
without special instructions the fastest product of onnxruntime for more than a few tokens (docs/export.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from ..fuse.traced import TracedGraph
from .base import Part
from .codes import Codes, Grid

_TOP, _ZERO = 127.0, 128
_TOP_NAME, _ZERO_NAME, _LAST_AXIS, _SMALLEST = (
    f"/integers/{name}" for name in ("top", "zero", "last_axis", "smallest")
)


@dataclass(frozen=True, slots=True)
class IntegerRows:
    """A matrix [out, in] as whole numbers, one scale for each output.

    Attributes:
        bits: 7 or 8. x86 without VNNI adds two products in 16 bits, and saturates: u8 activations leave 7 bits to
            signed weights. With 8 bits the weights are unsigned, which kernels widen first.
    """

    bits: int
    by_rows: bool = False

    @property
    def grid(self) -> Grid:
        """As of `CodedStorage`."""
        return Grid(self.bits, None, zero_points=False)

    @property
    def _signed(self) -> bool:
        return self.bits < 8

    def parts(self, shape: tuple[int, ...]) -> tuple[Part, Part]:
        """Whole numbers [in, out], scales [out]."""
        dtype = np.dtype(np.int8 if self._signed else np.uint8)
        return Part(".integers", dtype, shape[::-1]), Part(".scales", np.dtype(np.float32), shape[:1])

    def encode(self, rows: NDArray[np.float32]) -> tuple[NDArray[Any], ...]:
        """``rows`` rounded to the nearest of the numbers that their scales allow."""
        middle = self.grid.middle
        scales = np.abs(rows).max(-1) / np.float32(middle - 1)
        scales = np.where(scales == 0, np.float32(1), scales)
        numbers = np.rint(rows / scales[:, None]).clip(1 - middle, middle - 1) + middle
        return self.pack(Codes(numbers.astype(np.uint8), scales[:, None], np.full((len(rows), 1), middle, np.uint8)))

    def pack(self, codes: Codes) -> tuple[NDArray[Any], ...]:
        """As of `CodedStorage`."""
        numbers = codes.numbers.T
        if self._signed:
            numbers = (numbers.astype(np.int16) - self.grid.middle).astype(np.int8)
        return np.ascontiguousarray(numbers), np.ascontiguousarray(codes.scales[:, 0])

    def multiply(self, graph: TracedGraph, product: onnx.NodeProto, weight: str, shape: tuple[int, int]) -> None:
        """A ``MatMulInteger`` of whole numbers, and its scales."""
        x, name = product.input[0], product.name
        integers, steps = _quantised(graph, x)
        inputs = [integers, f"{weight}.integers", _ZERO_NAME]
        if not self._signed:
            inputs.append(_ZERO_NAME)
        graph.add("MatMulInteger", inputs, [f"{name}/sums"], f"{name}/MatMulInteger")
        graph.add("Cast", [f"{name}/sums"], [f"{name}/numbers"], f"{name}/Cast", to=TensorProto.FLOAT)
        graph.add("Mul", [f"{name}/numbers", f"{weight}.scales"], [f"{name}/columns"], f"{name}/Columns")
        graph.add("Mul", [f"{name}/columns", steps], list(product.output), f"{name}/Rows")


def _quantised(graph: TracedGraph, x: str) -> tuple[str, str]:
    """Whole numbers uint8 of ``x`` [..., in] around 128, and what one is worth in each row [..., 1]."""
    integers, steps = f"{x}/integers", f"{x}/steps"
    if graph.producer(integers) is None:
        graph.constant(_TOP_NAME, np.array(_TOP, np.float32))
        graph.constant(_SMALLEST, np.array(1e-12, np.float32))
        graph.constant(_ZERO_NAME, np.array(_ZERO, np.uint8))
        graph.constant(_LAST_AXIS, np.array([-1], np.int64))
        graph.constant("/integers/shift", np.array(_ZERO, np.float32))
        graph.add("Abs", [x], [f"{x}/sizes"], f"{x}/Abs")
        graph.add("ReduceMax", [f"{x}/sizes", _LAST_AXIS], [f"{x}/largest"], f"{x}/ReduceMax", keepdims=1)
        graph.add("Max", [f"{x}/largest", _SMALLEST], [f"{x}/reach"], f"{x}/Max")
        graph.add("Div", [f"{x}/reach", _TOP_NAME], [steps], f"{x}/Steps")
        graph.add("Div", [x, steps], [f"{x}/scaled"], f"{x}/Div")
        graph.add("Round", [f"{x}/scaled"], [f"{x}/rounded"], f"{x}/Round")
        graph.add("Add", [f"{x}/rounded", "/integers/shift"], [f"{x}/shifted"], f"{x}/Add")
        graph.add("Cast", [f"{x}/shifted"], [integers], f"{x}/Cast", to=TensorProto.UINT8)
    return integers, steps
