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
_TOP_NAME, _ZERO_NAME, _ONE_NAME, _LAST_AXIS, _SMALLEST = (
    f"/integers/{name}" for name in ("top", "zero", "one", "last_axis", "smallest")
)


@dataclass(frozen=True, slots=True)
class IntegerRows:
    """A matrix [out, in] as whole numbers in 8 bits, one scale for each output.

    Neighbours are kept small enough together (`Grid.paired`) that no processor saturates.
    """

    by_rows: bool = False

    @property
    def grid(self) -> Grid:
        """As of `CodedStorage`."""
        return Grid(8, None, zero_points=False, paired=True)

    def parts(self, shape: tuple[int, ...]) -> tuple[Part, Part]:
        """Whole numbers [in, out], scales [out]."""
        return Part(".integers", np.dtype(np.int8), shape[::-1]), Part(".scales", np.dtype(np.float32), shape[:1])

    def encode(self, rows: NDArray[np.float32]) -> tuple[NDArray[Any], ...]:
        """``rows`` rounded to the nearest of the numbers that their scales allow; no pair is too large."""
        limit = np.float32(self.grid.middle - 1)
        even = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2)))
        pairs = [np.add(part[:, 0::2], part[:, 1::2]) for part in (even.clip(min=0), -even.clip(max=0))]
        scales = np.maximum(*pairs).max(-1) / limit
        scales = np.where(scales == 0, np.float32(1), scales)
        numbers = np.rint(rows / scales[:, None])
        codes = (numbers + self.grid.middle).astype(np.uint8)
        return self.pack(Codes(codes, scales[:, None], np.full((len(rows), 1), self.grid.middle, np.uint8)))

    def pack(self, codes: Codes) -> tuple[NDArray[Any], ...]:
        """As of `CodedStorage`."""
        numbers = (codes.numbers.T.astype(np.int16) - self.grid.middle).astype(np.int8)
        return np.ascontiguousarray(numbers), np.ascontiguousarray(codes.scales[:, 0])

    def multiply(self, graph: TracedGraph, product: onnx.NodeProto, weight: str, shape: tuple[int, int]) -> None:
        """A ``MatMulInteger`` of whole numbers, and its scales."""
        x, name = product.input[0], product.name
        integers, steps = _quantised(graph, x)
        inputs = [integers, f"{weight}.integers", _ZERO_NAME]
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
        graph.constant(_ONE_NAME, np.array(1, np.float32))
        graph.add("Abs", [x], [f"{x}/sizes"], f"{x}/Abs")
        graph.add("ReduceMax", [f"{x}/sizes", _LAST_AXIS], [f"{x}/largest"], f"{x}/ReduceMax", keepdims=1)
        graph.add("Max", [f"{x}/largest", _SMALLEST], [f"{x}/reach"], f"{x}/Max")
        graph.add("Div", [f"{x}/reach", _TOP_NAME], [steps], f"{x}/Steps")
        graph.add("Div", [x, steps], [f"{x}/scaled"], f"{x}/Div")
        # Rounds, shifts and casts at once; with a scale a row it would need blocks, which opset 18 does not have.
        graph.add("QuantizeLinear", [f"{x}/scaled", _ONE_NAME, _ZERO_NAME], [integers], f"{x}/QuantizeLinear")
    return integers, steps
