"""The kernels that a bundle's products may run on: their graphs, as `dagger_edge.export` stores them, and weights.

A graph is a chain of products, hidden to intermediate and back, of different random numbers each: more than a
processor's cache holds. Numbers keep their size on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .protobuf import constant, model, node, weight

KernelName = Literal["dense", "rows", "blocks-8-32", "blocks-4-32", "blocks-4-64", "blocks-4-128"]
KERNELS: tuple[KernelName, ...] = get_args(KernelName)

Weights = dict[str, NDArray[Any]]

# Standard deviations of the whole numbers that are drawn: 4 bits, 8 bits, and rows within 63 of zero.
_SPREAD = {4: 4.61, 8: 73.9}
_ROW_LIMIT, _ROW_SPREAD = 63, 36.7
_ACTIVATION_TOP, _ZERO, _SMALLEST = 127.0, 128, 1e-12
_INT8_ACTIVATIONS = 4
_ROW_CONSTANTS: dict[str, NDArray[Any]] = {
    "top": np.array(_ACTIVATION_TOP, np.float32),
    "smallest": np.array(_SMALLEST, np.float32),
    "one": np.array(1, np.float32),
    "zero": np.array(_ZERO, np.uint8),
    "last_axis": np.array([-1], np.int64),
}


@dataclass(frozen=True, slots=True)
class Kernel:
    """A way to multiply by weights.

    Attributes:
        title: for people.
        precision: of the bundles that use it.
        bits: a weight, scales and zero points included.
        nodes: of a product: weight's name, shape [out, in], input and output.
        fill: random numbers for a weight [out, in].
        constants: that the nodes of all products read.
    """

    title: str
    precision: Literal["fp32", "int8", "int4"]
    bits: float
    nodes: Callable[[str, tuple[int, int], str, str], list[bytes]]
    fill: Callable[[str, tuple[int, int], np.random.Generator], Weights]
    constants: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def graph(self, hidden: int, intermediate: int, pairs: int, random: np.random.Generator) -> tuple[bytes, Weights]:
        """A model from ``x`` float32 [1, tokens, hidden] to ``y`` of the same shape, and its weights.

        Args:
            hidden, intermediate: of the matrices [intermediate, hidden] and [hidden, intermediate].
            pairs: of these, one after the other.
            random: where the weights come from.
        """
        nodes: list[bytes] = []
        weights: Weights = {}
        x = "x"
        for index, shape in enumerate([(intermediate, hidden), (hidden, intermediate)] * pairs):
            name, out = f"w{index}", "y" if index == 2 * pairs - 1 else f"x{index}"
            nodes += self.nodes(name, shape, x, out)
            weights |= self.fill(name, shape, random)
            x = out
        tensors = [constant(key, array) for key, array in self.constants.items()]
        tensors += [weight(key, array.dtype, array.shape) for key, array in weights.items()]
        return model(nodes, tensors, {"x": (1, "tokens", hidden)}, ["y"]), weights


def _dense_nodes(name: str, _shape: tuple[int, int], x: str, out: str) -> list[bytes]:
    return [node("MatMul", [x, name], out)]


def _dense_weights(name: str, shape: tuple[int, int], random: np.random.Generator) -> Weights:
    numbers = random.random(shape[::-1], np.float32)
    numbers -= np.float32(0.5)
    numbers *= np.float32(sqrt(12 / shape[1]))
    return {name: numbers}


def _row_nodes(name: str, _shape: tuple[int, int], x: str, out: str) -> list[bytes]:
    return [
        node("Abs", [x], f"{name}.sizes"),
        node("ReduceMax", [f"{name}.sizes", "last_axis"], f"{name}.largest", keepdims=1),
        node("Max", [f"{name}.largest", "smallest"], f"{name}.reach"),
        node("Div", [f"{name}.reach", "top"], f"{name}.steps"),
        node("Div", [x, f"{name}.steps"], f"{name}.scaled"),
        node("QuantizeLinear", [f"{name}.scaled", "one", "zero"], f"{name}.activations"),
        node("MatMulInteger", [f"{name}.activations", f"{name}.integers", "zero"], f"{name}.sums"),
        node("Cast", [f"{name}.sums"], f"{name}.numbers", to=1),
        node("Mul", [f"{name}.numbers", f"{name}.scales"], f"{name}.columns"),
        node("Mul", [f"{name}.columns", f"{name}.steps"], out),
    ]


def _row_weights(name: str, shape: tuple[int, int], random: np.random.Generator) -> Weights:
    integers = random.integers(-_ROW_LIMIT, _ROW_LIMIT + 1, shape[::-1], np.int8)
    return {f"{name}.integers": integers, f"{name}.scales": _scales(shape[:1], shape[1], _ROW_SPREAD, random)}


def _blocks(bits: int, size: int, zero_points: bool) -> Kernel:
    def suffixes(name: str) -> list[str]:
        return [f"{name}.packed", f"{name}.scales", *([f"{name}.zeros"] if zero_points else [])]

    def nodes(name: str, shape: tuple[int, int], x: str, out: str) -> list[bytes]:
        inputs = [x, *suffixes(name)]
        attributes = {"N": shape[0], "K": shape[1], "bits": bits, "block_size": size}
        level = {"accuracy_level": _INT8_ACTIVATIONS}
        return [node("MatMulNBits", inputs, out, domain="com.microsoft", **attributes, **level)]

    def fill(name: str, shape: tuple[int, int], random: np.random.Generator) -> Weights:
        rows, blocks = shape[0], -(-shape[1] // size)
        arrays: Iterator[NDArray[Any]] = iter(
            (
                random.integers(0, 256, (rows, blocks, size * bits // 8), np.uint8),
                _scales((rows, blocks), shape[1], _SPREAD[bits], random),
                # Zeros of 7 or 8, which are the middle.
                random.integers(7, 9, (rows, -(-blocks * bits // 8)), np.uint8) * np.uint8(17),
            )
        )
        return dict(zip(suffixes(name), arrays, strict=False))

    stored = bits + (32 + bits * zero_points) / size
    return Kernel(f"int{bits}, MatMulNBits, blocks of {size}", "int8" if bits == 8 else "int4", stored, nodes, fill)


def _scales(shape: tuple[int, ...], inputs: int, spread: float, random: np.random.Generator) -> NDArray[np.float32]:
    """Scales that keep the size of numbers, some larger than others."""
    return (random.random(shape, np.float32) * np.float32(0.2) + np.float32(0.9)) / np.float32(spread * sqrt(inputs))


BY_NAME: dict[KernelName, Kernel] = {
    "dense": Kernel("fp32, MatMul", "fp32", 32, _dense_nodes, _dense_weights),
    "rows": Kernel("int8, MatMulInteger, rows", "int8", 8, _row_nodes, _row_weights, _ROW_CONSTANTS),
    "blocks-8-32": _blocks(8, 32, zero_points=False),
    "blocks-4-32": _blocks(4, 32, zero_points=True),
    "blocks-4-64": _blocks(4, 64, zero_points=True),
    "blocks-4-128": _blocks(4, 128, zero_points=True),
}
