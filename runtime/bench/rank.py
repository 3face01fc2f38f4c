"""Whether the rows of two results differ: a permutation test of ranks, for all rows at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_RESAMPLES = 2000
# Exchanges that are drawn: fewer where rows are many, so that memory stays below 100 MB.
_DRAWS, _LEAST_DRAWS, _MOST_STATISTICS = 20_000, 2000, 4_000_000
# Statistics that are equal but for rounding.
_EQUAL = 1e-5

# Samples of a row before and after, process by process.
Samples = tuple[Sequence[float], Sequence[float]]
_Numbers = NDArray[np.float32]


class Level(NamedTuple):
    """What chance makes of a row.

    Attributes:
        found: how often some row of results that do not differ looks as different as this one.
        least: the smallest that could be found for it, with so few samples among so many rows.
    """

    found: float
    least: float


def family_levels(groups: Sequence[Sequence[Samples]]) -> list[list[Level]]:
    """The level of every row, corrected for all of them, by exchanging whole processes.

    A process has its own luck for all of its life (where its memory lies), and all of its rows share that. So the
    processes of a group, before and after, are what is exchanged, and rows that move together count as little more
    than one: the step-down maximum of Westfall and Young (1993), over Mann-Whitney's statistic. Below 0.05, the
    chance that any row without a difference is among them is 5 % at most, however rows depend on each other.

    Args:
        groups: rows of the same processes; in each group all rows have as many samples before, and as many after.
    """
    if not any(groups):
        return [[] for _ in groups]
    draws = min(_DRAWS, max(_LEAST_DRAWS, _MOST_STATISTICS // sum(map(len, groups))))
    statistics = [_statistics(group, draws) for group in groups if group]
    drawn, found, most = (np.concatenate(parts) for parts in zip(*statistics, strict=True))
    # The row that looks least different first: of every draw, the largest among each row and those before it.
    order = np.argsort(found, kind="stable")
    largest = np.maximum.accumulate(drawn[order], axis=0)
    levels = np.maximum.accumulate(_share(largest, found[order])[::-1])[::-1]
    least = _share(largest[-1:], most)
    rows = iter([Level(float(levels[place]), float(least[row])) for row, place in enumerate(np.argsort(order))])
    return [[next(rows) for _ in group] for group in groups]


def _statistics(group: Sequence[Samples], draws: int) -> tuple[_Numbers, _Numbers, _Numbers]:
    """Of each row the statistic [rows, draws] where processes are exchanged, that found [rows], the largest [rows]."""
    first, second = len(group[0][0]), len(group[0][1])
    ranks = np.stack([_ranks(np.array([*before, *after], np.float64)) for before, after in group])
    before = _exchanges(first, second, draws)
    ordered = np.sort(ranks, axis=1)
    most = np.maximum(np.abs(ordered[:, :first].sum(1)), np.abs(ordered[:, second:].sum(1)))
    drawn = ranks @ before
    return np.abs(drawn, out=drawn), np.abs(ranks[:, :first].sum(1)), most


# Groups of a comparison have mostly the same sizes.
@lru_cache(maxsize=4)
def _exchanges(first: int, second: int, draws: int) -> _Numbers:
    """Which processes count as the first ones [processes, draws]: 1 for these, 0 for the others."""
    before = np.zeros((draws, first + second), np.float32)
    before[:, :first] = 1
    return np.ascontiguousarray(np.random.default_rng(0).permuted(before, axis=1).T)


def _ranks(values: NDArray[np.float64]) -> _Numbers:
    """Ranks around zero, equal ones in the middle of theirs, scaled so that sums of them compare between rows."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[where] - (len(values) + 1) / 2
    spread = float(np.sqrt((ranks**2).sum()))
    return (ranks / spread if spread else ranks).astype(np.float32)


def _share(largest: _Numbers, found: _Numbers) -> NDArray[np.float64]:
    """How often draws [rows or 1, draws] reach what was found [rows], which is counted as one itself."""
    counts = np.count_nonzero(largest >= found[:, None] - np.float32(_EQUAL), axis=1)
    shares: NDArray[np.float64] = (1.0 + counts) / (1.0 + largest.shape[1])
    return shares


def ratio_interval(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    """A 95 % bootstrap interval of the ratio of medians, after to before; the same for the same samples."""
    random = np.random.default_rng(0)

    def medians(values: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        drawn = random.choice(np.asarray(values, np.float64), (_RESAMPLES, len(values)))
        return np.median(drawn, axis=1)  # type: ignore[no-any-return]

    bottom, top = medians(before), medians(after)
    # Zeros have no ratio: nothing is said of them.
    ratios = np.divide(top, bottom, out=np.ones_like(top), where=bottom > 0)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(low), float(high)
