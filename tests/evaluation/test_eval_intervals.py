"""Intervals and tests against published values and against counting."""

import math
from fractions import Fraction
from itertools import product

import pytest

from dagger_edge.runtime.evaluation.intervals import mcnemar, paired_difference, percentile, wilson


@pytest.mark.parametrize(
    ("count", "total", "low", "high"), [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)]
)
def test_wilson_is_as_newcombe_tabulates_it(count, total, low, high):
    """A continuity correction, or z of another level. Statistics in Medicine 17, 857 (1998), table I."""
    assert wilson(count, total) == pytest.approx((low, high), abs=5e-5)


def test_the_paired_interval_is_as_newcombe_tabulates_it():
    """Before and after taken for each other. Statistics in Medicine 17, 2635 (1998), table III, method 10."""
    assert paired_difference(36, 12, 2, 0) == pytest.approx((-0.3404, -0.0569), abs=1e-4)
    assert paired_difference(36, 2, 12, 0) == pytest.approx((0.0569, 0.3404), abs=1e-4)


@pytest.mark.parametrize("shares", [(0.6, 0.1, 0.1, 0.2), (0.5, 0.25, 0.05, 0.2), (0.2, 0.1, 0.3, 0.4)])
def test_the_paired_interval_holds_the_truth_as_often_as_it_says(shares):
    """The correlation left out or its sign turned, which makes it too wide or too narrow. All outcomes of 25."""
    total = 25
    covered = 0.0
    truth = shares[2] - shares[1]
    for both, first, second in product(range(total + 1), repeat=3):
        cells = (both, first, second, total - both - first - second)
        if cells[3] < 0:
            continue
        low, high = paired_difference(*cells)
        if low <= truth <= high:
            ways = math.factorial(total) // math.prod(map(math.factorial, cells))
            covered += ways * math.prod(share**count for share, count in zip(shares, cells, strict=True))
    assert 0.93 < covered < 0.975


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (3, 9), (5, 5), (0, 12)])
def test_mcnemar_is_the_share_of_splits_that_are_as_uneven(first, second):
    """A tail counted once, or the middle twice."""
    changed = first + second
    uneven = abs(first - second)
    splits = [sum(coins) for coins in product((0, 1), repeat=changed)]
    as_uneven = sum(abs(2 * heads - changed) >= uneven for heads in splits)
    assert mcnemar(first, second) == pytest.approx(float(Fraction(as_uneven, len(splits))))


def test_mcnemar_holds_out_with_a_million_pairs():
    """An overflow of 2 to the number of pairs."""
    assert mcnemar(2000, 2000) == 1.0
    assert 0 <= mcnemar(0, 3000) < 1e-300


def test_percentiles_are_values_that_were_there():
    """Off by one: the 95th of 20 values is the 19th."""
    values = [float(value) for value in range(20, 0, -1)]
    assert percentile(values, 0.95) == 19
    assert percentile(values, 0.5) == 10
    assert percentile([7.0], 0.95) == 7
    assert percentile([], 0.5) is None


def test_nothing_counted_says_nothing():
    """A division by zero for an empty set."""
    assert wilson(0, 0) == (0.0, 1.0)
    assert not math.isnan(sum(paired_difference(0, 0, 0, 0)))
