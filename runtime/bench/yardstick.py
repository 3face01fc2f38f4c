"""How fast the machine is just now, beside every measurement.

A shared machine is a third slower for a minute, and quicker in the next one. A sample that knows how fast the machine
calculated and read while it was taken can be compared with one of another minute.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ..kernels.machine import usable_cores
from .rows import Pace

# Numbers of float32 that each thread calculates with, which its own cache holds, and reads, which only larger ones do.
_CALCULATED, _READ = 1 << 15, 1 << 20
_CALCULATIONS, _READS = 40, 8


class Yardstick:
    """Rounds of the same work, timed: little of it, so that it can be done between any two measurements.

    Args:
        threads: that work at once; None for as many as this process may use.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads or usable_cores()
        self._pool = ThreadPoolExecutor(self._threads)
        self._numbers = [np.linspace(0, 1, _CALCULATED, dtype=np.float32) for _ in range(self._threads)]
        self._results = [np.empty_like(numbers) for numbers in self._numbers]
        self._shares = [np.ones(_READ, np.float32) for _ in range(self._threads)]
        self._taken: list[tuple[float, float]] = []
        self.take()
        self._taken.clear()

    def take(self) -> None:
        """A round, some five milliseconds long."""
        self._taken.append((self._timed(self._calculate), self._timed(self._read)))

    def pace(self) -> Pace:
        """Rounds a second of calculating and of reading, over all that were taken since this was asked last."""
        rates = [len(self._taken) / sum(times) for times in zip(*self._taken, strict=True)]
        self._taken.clear()
        return Pace(*(float(f"{rate:.5g}") for rate in rates))

    def _timed(self, work: Callable[[int], None]) -> float:
        started = time.perf_counter()
        list(self._pool.map(work, range(self._threads)))
        return time.perf_counter() - started

    def _calculate(self, index: int) -> None:
        numbers: NDArray[np.float32] = self._numbers[index]
        for _ in range(_CALCULATIONS):
            np.exp(numbers, out=self._results[index])

    def _read(self, index: int) -> None:
        for _ in range(_READS):
            self._shares[index].max()
