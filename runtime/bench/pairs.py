"""Rows of two results that are of the same thing, as they are compared."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import median
from typing import NamedTuple

from .rank import Samples
from .rows import OURS, QUANTITIES, BenchResult, BenchRun, Pace, Row
from .table import title

# How far a program follows the machine's pace, as a power: not known exactly, and less for prompts than for single
# steps. A change counts that is there at both of these bounds, which docs/benchmarks.md gives the reason for.
_FOLLOWS = (0.85, 0.6)

_Key = tuple[str, str, tuple[tuple[str, int | str], ...]]


class View(NamedTuple):
    """Samples before and after, and how many times worse the medians of the second are."""

    samples: Samples
    slower: float


class Pair(NamedTuple):
    """A row of both results.

    Attributes:
        run: bundle, provider and threads, as far as they tell runs apart.
        before, after: the rows.
        views: the samples as they would be at one pace of the machine, by the most and the least that programs follow
            it; where that is not known, as they are.
        paced: whether it is known.
    """

    run: str
    before: Row
    after: Row
    views: Sequence[View]
    paced: bool


def joined(before: BenchResult, after: BenchResult) -> tuple[list[Pair], tuple[list[str], list[str]]]:
    """Rows of the same run, quantity and settings; and the names of those that stand alone in either."""
    several = any(len({(run.engine, _bundle(run)) for run in result.runs}) > 1 for result in (before, after))
    first, second = ({_key(result, row, several): row for row in result.rows} for result in (before, after))
    # Which of two machines is quicker is what is asked, not a drift.
    alike = _machine(before) == _machine(after)
    pairs = [_pair(key[0], row, second[key], alike) for key, row in first.items() if key in second]
    alone = [
        [_described(key) for key in rows if key not in others] for rows, others in ((first, second), (second, first))
    ]
    return pairs, (alone[0], alone[1])


def _pair(run: str, before: Row, after: Row, alike: bool) -> Pair:
    paced = bool(alike and before.paces and after.paces and QUANTITIES[before.what].timed)
    views = [
        (_at_one_pace(before, follows), _at_one_pace(after, follows)) if paced else (before.samples, after.samples)
        for follows in _FOLLOWS
    ]
    return Pair(run, before, after, [View(samples, _slower(before, *map(median, samples))) for samples in views], paced)


def _at_one_pace(row: Row, follows: float) -> Sequence[float]:
    """The samples as they would be on a machine that does a round of everything in a second."""
    rates = [_rate(pace) ** follows for pace in row.paces]
    pairs = zip(row.samples, rates, strict=True)
    return [sample * rate if row.better == "lower" else sample / rate for sample, rate in pairs]


def _rate(pace: Pace) -> float:
    return sqrt(pace.calculating * pace.reading)


def _slower(row: Row, before: float, after: float) -> float:
    """How many times worse; 1 where both are zero."""
    worse, better = (after, before) if row.better == "lower" else (before, after)
    if worse == better:
        return 1.0
    return worse / better if better else float("inf")


def _machine(result: BenchResult) -> tuple[str, int]:
    return result.provenance.processor, result.provenance.cores


def _bundle(run: BenchRun) -> str:
    return f"{run.bundle}, {run.precision}"


def _key(result: BenchResult, row: Row, several: bool) -> _Key:
    """What rows are joined on. One bundle may be compared with another; where there are several, they have to match."""
    run = result.runs[row.run]
    threads = "one thread per core" if run.threads is None else f"threads {run.threads}"
    engine = [] if run.engine == OURS else [run.engine]
    name = ", ".join([*engine, *([_bundle(run)] if several else []), run.provider, threads])
    return name, row.what, tuple(sorted(row.settings.items()))


def _described(key: _Key) -> str:
    return f"{key[0]}: {title(key[1], dict(key[2]))}"
