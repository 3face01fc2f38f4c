"""Whole numbers that stand for weights: groups of inputs share a scale and a zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Grid:
    """The numbers that a matrix [out, in] may be made of.

    Attributes:
        bits: of each number, 8 at most; they are stored unsigned.
        size: inputs a group; None is a whole row.
        zero_points: whether groups have their own zero; else it is the middle of the range, and the lowest number
            is not used.
        paired: whether the numbers of two neighbouring inputs (2i, 2i + 1), counted from the middle, stay within
            128 together where they have the same sign. Products with uint8 then fit 16 bits: x86 without VNNI adds
            two of them there, and saturates.
    """

    bits: int
    size: int | None
    zero_points: bool
    paired: bool = False

    @property
    def top(self) -> int:
        """The largest number."""
        return (1 << self.bits) - 1

    @property
    def lowest(self) -> int:
        """The smallest number in use."""
        return 0 if self.zero_points else 1

    @property
    def middle(self) -> int:
        """The zero of groups that have none of their own."""
        return 1 << (self.bits - 1)


@dataclass(frozen=True, slots=True)
class Codes:
    """A matrix on a `Grid`: ``(numbers - zeros) * scales``, group by group.

    Attributes:
        numbers: uint8 [out, in].
        scales: float32 [out, groups].
        zeros: uint8 [out, groups].
    """

    numbers: NDArray[np.uint8]
    scales: NDArray[np.float32]
    zeros: NDArray[np.uint8]

    def weights(self, size: int) -> NDArray[np.float32]:
        """What they stand for, float32 [out, in]; groups have ``size`` inputs, the last perhaps fewer."""
        inputs = self.numbers.shape[1]
        scales = np.repeat(self.scales, size, axis=1)[:, :inputs]
        zeros = np.repeat(self.zeros, size, axis=1)[:, :inputs].astype(np.float32)
        return (self.numbers.astype(np.float32) - zeros) * scales


class CodedStorage(Protocol):
    """A storage of numbers on a grid, which others than itself may choose."""

    @property
    def grid(self) -> Grid:
        """The numbers that it can store."""

    def pack(self, codes: Codes) -> tuple[NDArray[np.generic], ...]:
        """The bytes of a matrix, as `Storage.encode` gives them."""
