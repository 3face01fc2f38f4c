"""How far counts can be trusted: intervals of shares and of their differences, and the test for pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence

_Z = 1.959964


def wilson(count: int, total: int) -> tuple[float, float]:
    """The 95 % interval of the share ``count`` of ``total`` (Wilson, 1927); 0 to 1 where there is nothing to count."""
    if total == 0:
        return 0.0, 1.0
    share = count / total
    centre = share + _Z * _Z / (2 * total)
    spread = _Z * math.sqrt(share * (1 - share) / total + _Z * _Z / (4 * total * total))
    scale = 1 + _Z * _Z / total
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def paired_difference(both: int, first: int, second: int, neither: int) -> tuple[float, float]:
    """The 95 % interval of the second share less the first, of the same things counted twice.

    Newcombe's method of squares of Wilson's limits with his correction of the correlation (Statistics in Medicine 17,
    2635-2650, 1998, method 10).

    Args:
        both, first, second, neither: how many were counted both times, the first time alone, the second alone, never.
    """
    total = both + first + second + neither
    if total == 0:
        return -1.0, 1.0
    before, after = (both + first) / total, (both + second) / total
    low_before, high_before = wilson(both + first, total)
    low_after, high_after = wilson(both + second, total)
    phi = _correlation(both, first, second, neither)
    below = (
        (after - low_after) ** 2 - 2 * phi * (after - low_after) * (high_before - before) + (high_before - before) ** 2
    )
    above = (
        (high_after - after) ** 2 - 2 * phi * (high_after - after) * (before - low_before) + (before - low_before) ** 2
    )
    difference = after - before
    return max(-1.0, difference - math.sqrt(max(0.0, below))), min(1.0, difference + math.sqrt(max(0.0, above)))


def _correlation(both: int, first: int, second: int, neither: int) -> float:
    """Of the two counts; a positive one is made smaller by half a unit, as Newcombe does."""
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    if margins == 0:
        return 0.0
    product = both * neither - first * second
    total = both + first + second + neither
    corrected = max(product - total / 2, 0.0) if product > 0 else float(product)
    return corrected / math.sqrt(margins)


def mcnemar(first: int, second: int) -> float:
    """The exact two-sided p of McNemar's test (1947): how often pairs that changed would split as unevenly by chance.

    Args:
        first, second: how many were right the first time alone, and the second time alone.
    """
    changed = first + second
    tail = sum(math.comb(changed, count) for count in range(min(first, second) + 1))
    # Whole numbers over each other: a power of two may be beyond a double.
    return min(1.0, 2 * tail / (1 << changed))


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least ``share`` of ``values`` do not exceed (nearest rank); None of none."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
