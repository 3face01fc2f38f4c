"""A set of row numbers, at a bit a row: a million rows are 125 kB."""

from __future__ import annotations


class RowSet:
    """Row numbers, from 0 on; as large as the highest of them asks for."""

    def __init__(self) -> None:
        self._bits = bytearray()
        self._count = 0

    def add(self, number: int) -> bool:
        """Whether ``number`` is new in the set, in which it is from now on."""
        place, bit = number >> 3, 1 << (number & 7)
        if place >= len(self._bits):
            # By more than is needed, or every row would copy them all.
            self._bits.extend(bytes(place + 1 - len(self._bits) + len(self._bits) // 2))
        if self._bits[place] & bit:
            return False
        self._bits[place] |= bit
        self._count += 1
        return True

    def __contains__(self, number: int) -> bool:
        place = number >> 3
        return place < len(self._bits) and bool(self._bits[place] & (1 << (number & 7)))

    def __len__(self) -> int:
        return self._count
