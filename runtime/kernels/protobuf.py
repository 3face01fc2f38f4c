"""As much of ONNX's file format as the graphs of kernels need, since the runtime has no onnx package.

Fields are numbered as in onnx.proto3; types of tensors as in its ``TensorProto.DataType``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

_TYPES = {np.dtype(np.float32): 1, np.dtype(np.uint8): 2, np.dtype(np.int8): 3, np.dtype(np.int64): 7}
_EXTERNAL, _INT = 1, 2
_IR_VERSION, _OPSET = 8, 18

Shape = tuple[int, ...]


def model(
    nodes: Sequence[bytes], tensors: Sequence[bytes], inputs: Mapping[str, Sequence[str | int]], outputs: Sequence[str]
) -> bytes:
    """A model of float32 inputs and outputs.

    Args:
        nodes: of `node`, in an order in which they can run.
        tensors: of `constant` and `weight`.
        inputs: name and dimensions of each, numbers or names.
        outputs: names.
    """
    graph = b"".join(
        [
            *(_field(1, item) for item in nodes),
            _field(2, "kernel"),
            *(_field(5, item) for item in tensors),
            *(_field(11, _value(name, shape)) for name, shape in inputs.items()),
            *(_field(12, _value(name, None)) for name in outputs),
        ]
    )
    opsets = [_field(2, _OPSET), _field(1, "com.microsoft") + _field(2, 1)]
    return _field(1, _IR_VERSION) + _field(7, graph) + b"".join(_field(8, item) for item in opsets)


def node(kind: str, inputs: Sequence[str], output: str, *, domain: str = "", **attributes: int) -> bytes:
    """One operation with one output."""
    return b"".join(
        [
            *(_field(1, name) for name in inputs),
            _field(2, output),
            _field(4, kind),
            *(_field(5, _field(1, key) + _field(3, value) + _field(20, _INT)) for key, value in attributes.items()),
            _field(7, domain),
        ]
    )


def constant(name: str, array: NDArray[np.generic]) -> bytes:
    """A small tensor with its numbers."""
    dims = b"".join(_field(1, size) for size in array.shape)
    return dims + _field(2, _TYPES[array.dtype]) + _field(8, name) + _field(9, array.tobytes())


def weight(name: str, dtype: np.dtype[np.generic], shape: Shape) -> bytes:
    """A tensor whose numbers the session is given."""
    size = prod(shape) * dtype.itemsize
    places = {"location": "weights", "offset": "0", "length": str(size)}
    return b"".join(
        [
            *(_field(1, length) for length in shape),
            _field(2, _TYPES[dtype]),
            _field(8, name),
            *(_field(13, _field(1, key) + _field(2, value)) for key, value in places.items()),
            _field(14, _EXTERNAL),
        ]
    )


def _value(name: str, shape: Sequence[str | int] | None) -> bytes:
    """Name and type of an input or output; None is any shape."""
    tensor = _field(1, _TYPES[np.dtype(np.float32)])
    if shape is not None:
        dims = [_field(2, size) if isinstance(size, str) else _field(1, size) for size in shape]
        tensor += _field(2, b"".join(_field(1, item) for item in dims))
    return _field(1, name) + _field(2, _field(1, tensor))


def _field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value & (1 << 64) - 1)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
