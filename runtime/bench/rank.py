"""Whether two samples differ: an exact rank test, and Holm's correction for many of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import comb

import numpy as np

# Beyond so many the exact count takes long. Larger samples are thinned to so many of their quantiles, which errs on the
# side of no difference: fewer values would scatter more than these do.
_MOST = 30
_RESAMPLES = 2000


def rank_test(one: Sequence[float], other: Sequence[float]) -> float:
    """The two-sided p of the Mann-Whitney test: how often samples that do not differ look as different as these.

    Exact where no two values are equal; ties count half and round towards no difference. It needs no assumption on how
    values are spread, and has no p below 2 / C(n + m, n): few samples tell nothing.
    """
    first, second = _thinned(one), _thinned(other)
    n, m = len(first), len(second)
    wins = sum(a > b for a in first for b in second)
    ties = sum(a == b for a in first for b in second)
    # The statistic nearer to its end; halves are rounded to the middle.
    least = min(2 * wins + ties, 2 * (n * m - wins) - ties)
    below = sum(_arrangements(n, m, rank) for rank in range(-(-least // 2) + 1))
    return min(1.0, 2 * below / comb(n + m, n))


def holm(levels: Sequence[float]) -> list[float]:
    """Each p as it stands when all are looked at (Holm 1979): below 0.05, the chance that any of those without a
    difference is among them is 5 % at most."""
    order = sorted(range(len(levels)), key=levels.__getitem__)
    adjusted, largest = [1.0] * len(levels), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(levels) - place) * levels[index]))
        adjusted[index] = largest
    return adjusted


def least_level(n: int, m: int) -> float:
    """The smallest p that `rank_test` can give."""
    return min(1.0, 2 / comb(min(n, _MOST) + min(m, _MOST), min(n, _MOST)))


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


def _thinned(values: Sequence[float]) -> list[float]:
    if len(values) <= _MOST:
        return list(values)
    return [float(value) for value in np.quantile(values, np.linspace(0, 1, _MOST))]


@cache
def _arrangements(n: int, m: int, rank: int) -> int:
    """Orders of ``n`` and ``m`` values in which exactly ``rank`` pairs have the first larger than the second."""
    if rank < 0:
        return 0
    if n == 0 or m == 0:
        return int(rank == 0)
    # The largest of all is of the first kind, and above all m of the second; or of the second.
    return _arrangements(n - 1, m, rank - m) + _arrangements(n, m - 1, rank)
