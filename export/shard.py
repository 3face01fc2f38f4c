"""One safetensors file, read piece by piece.

The header is judged by the safetensors library, which refuses overlaps, holes and offsets outside the file. The
data is read rather than mapped, since mapped pages would count as memory of this process.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import prod
from typing import Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from ..runtime.errors import UsageError
from .folder import InputFolder

FLOAT_BYTES = {"F32": 4, "F16": 2, "BF16": 2}

_OTHER_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3"), 1),
    **dict.fromkeys(("U16", "I16"), 2),
    **dict.fromkeys(("U32", "I32"), 4),
    **dict.fromkeys(("U64", "I64", "F64"), 8),
}
_LENGTH_BYTES = 8
# Numbers widened at a time: small enough for the cache, large enough for the disk.
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one tensor lies: its type as stored, its shape, and the offset of its first byte in the file."""

    dtype: str
    shape: tuple[int, ...]
    offset: int

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return prod(self.shape)


class Shard:
    """An open safetensors file.

    Attributes:
        name: the file's name.
        entries: its tensors by name, in the order in which they lie in the file.

    Args:
        folder: where the file is.
        name: its name.

    Raises:
        UsageError: the file is missing, cut short or damaged.
    """

    def __init__(self, folder: InputFolder, name: str) -> None:
        self.name = name
        self._folder = folder
        path = folder.file(name)
        try:
            self._descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise folder.error(f"{name} cannot be read: {error.strerror}") from error
        try:
            self.entries = self._read_entries(str(path))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        os.close(self._descriptor)

    def error(self, what: str) -> UsageError:
        """The error that says ``what`` is wrong with this file."""
        return self._folder.error(f"{self.name}{what}")

    def read(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """The numbers ``start`` to ``stop`` of tensor ``name`` in row-major order, exactly widened to float32 [n].

        Raises:
            UsageError: the tensor holds NaN or infinity, or the file became shorter since it was opened.
        """
        entry = self.entries[name]
        width = FLOAT_BYTES[entry.dtype]
        numbers = np.empty(stop - start, np.float32)
        buffer = np.empty(min(_BLOCK, len(numbers)) * width, np.uint8)
        for begin in range(0, len(numbers), _BLOCK):
            block = numbers[begin : begin + _BLOCK]
            raw = buffer[: len(block) * width]
            self._fill(raw, entry.offset + (start + begin) * width)
            _widen(raw, entry.dtype, block)
            if not np.isfinite(block).all():
                raise self.error(f": {name} holds NaN or infinity; the training or a conversion went wrong")
        return numbers

    def _fill(self, raw: NDArray[np.uint8], offset: int) -> None:
        filled = 0
        while filled < len(raw):
            try:
                count = os.preadv(self._descriptor, [raw[filled:].data], offset + filled)
            except OSError as error:
                raise self.error(f" cannot be read: {error.strerror}") from error
            if count == 0:
                raise self.error(" became shorter while it was read; download it again")
            filled += count

    def _read_entries(self, path: str) -> dict[str, Entry]:
        entries = {}
        try:
            length = int.from_bytes(os.pread(self._descriptor, _LENGTH_BYTES, 0), "little")
            with safe_open(path, framework="numpy") as tensors:
                # The library has proved that tensors lie one behind the other: sizes give the offsets.
                offset = _LENGTH_BYTES + length
                for name in tensors.offset_keys():
                    item = tensors.get_slice(name)
                    entry = Entry(str(item.get_dtype()), tuple(item.get_shape()), offset)
                    entries[name] = entry
                    offset += entry.size * self._width(name, entry.dtype)
        except (SafetensorError, OSError) as error:
            raise self.error(f" is cut short or damaged ({error}); download it again") from None
        if offset != os.fstat(self._descriptor).st_size:
            raise self.error(" is cut short or damaged (its size is not what its header says); download it again")
        return entries

    def _width(self, name: str, dtype: str) -> int:
        width = FLOAT_BYTES.get(dtype) or _OTHER_BYTES.get(dtype)
        if width is None:
            raise self.error(f": {name} is {dtype}; only F32, F16 and BF16 can be exported")
        return width


def _widen(raw: NDArray[np.uint8], dtype: str, out: NDArray[np.float32]) -> None:
    """Writes the little-endian numbers in ``raw`` into ``out``."""
    if dtype == "BF16":  # the upper half of a float32
        np.left_shift(raw.view("<u2"), 16, out=out.view(np.uint32), dtype=np.uint32)
    elif dtype == "F16":
        out[:] = raw.view("<f2")
    else:
        out[:] = raw.view("<f4")
