"""What a step of several tokens costs on this machine: how much is worth guessing follows from it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from msgspec import Struct

from .logits import LAST, Logits, Positions, last

# Steps of so many tokens are measured; what lies between is interpolated.
SIZES = (1, 2, 4, 8, 16)
_ROUNDS = 3
# Any token will do: what a step costs does not depend on it.
_TOKEN = 0


class StepCost(Struct, frozen=True):
    """Seconds of a step, by how many tokens it reads, with the logits of all of them.

    That decoding asks for fewer is left out: reckoned with, it changed drafts by a token in fifty, and time by nothing
    (docs/decoding.md).

    Attributes:
        sizes: numbers of tokens, increasing.
        seconds: of each, not decreasing.
    """

    sizes: tuple[int, ...]
    seconds: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuses, with ValueError, what is no curve."""
        sizes, seconds = self.sizes, self.seconds
        if not sizes or len(sizes) != len(seconds) or list(sizes) != sorted(set(sizes)) or min(seconds) <= 0:
            raise ValueError(f"sizes {sizes} and seconds {seconds} are no cost of steps")

    def of(self, tokens: float) -> float:
        """Seconds of a step of so many tokens; straight on past the largest that was measured."""
        first, last = self.sizes[0], self.sizes[-1]
        if tokens > last > first:
            slope = (self.seconds[-1] - self.seconds[0]) / (last - first)
            return self.seconds[-1] + slope * (tokens - last)
        return float(np.interp(tokens, self.sizes, self.seconds))


# Before anything was measured: block kernels of 4 bits on two cores with AVX2. Only the ratios count.
DEFAULT = StepCost((1, 16), (0.141, 0.756))


class Cache(Protocol):
    """What measuring needs of a `context.Context`."""

    @property
    def length(self) -> int:
        """How many ids were read."""

    def feed(self, ids: Sequence[int], at: Positions = LAST) -> Logits:
        """Reads ``ids``; logits [len(at), vocab] after those of them that are ``at`` these positions."""

    def rewind(self, length: int) -> None:
        """Forgets all but the first ``length`` ids."""


def measure_steps(context: Cache) -> StepCost:
    """Times steps of `SIZES` tokens behind what ``context`` has read, and leaves it as it was.

    Sizes take turns, so that a busy moment of the machine falls on all of them; medians of 3 rounds after one that is
    not counted. It takes about as long as 50 single tokens.
    """
    begin = context.length
    times: dict[int, list[float]] = {size: [] for size in SIZES}
    for turn in range(_ROUNDS + 1):
        for size in SIZES:
            started = time.perf_counter()
            context.feed([_TOKEN] * size, last(size))
            if turn:
                times[size].append(time.perf_counter() - started)
            context.rewind(begin)
    medians = [statistics.median(times[size]) for size in SIZES]
    return StepCost(SIZES, tuple(float(second) for second in np.maximum.accumulate(medians)))
