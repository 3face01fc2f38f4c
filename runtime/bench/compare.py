"""Two results side by side: which rows changed beyond noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import sqrt
from statistics import median
from typing import Literal, NamedTuple

from msgspec import Struct

from ..errors import UsageError
from .rank import Level, Samples, family_levels, ratio_interval
from .rows import OURS, QUANTITIES, BenchResult, BenchRun, Row, Settings
from .table import title

# Of twenty comparisons of results that do not differ, one in which a row is told happens once in twenty times.
THRESHOLD, LEVEL = 0.05, 0.05 / 20
# From so much work of others on, what was measured is theirs as well.
BUSY_CORES = 0.2
# The same: no change beyond noise and threshold. Untold: too few samples for so many rows.
Verdict = Literal["worse", "better", "same", "untold"]

_Key = tuple[str, str, tuple[tuple[str, int | str], ...]]


class Change(Struct, frozen=True):
    """A row of both results.

    Attributes:
        run: its bundle, provider and threads, as far as they tell runs apart.
        what, settings, unit: of the row.
        before, after: medians.
        slower: how many times worse it is by the medians, at the same pace where both tell it and are of one machine;
            below 1 it is better.
        interval: 95 % bootstrap interval of that.
        level: p of the rank test, corrected for all rows; 1 where the row is not tested.
        tested: whether a verdict was asked for; derived rows repeat others.
        verdict: of it.
    """

    run: str
    what: str
    settings: Settings
    unit: str
    before: float
    after: float
    slower: float
    interval: tuple[float, float]
    level: float
    tested: bool
    verdict: Verdict


class Comparison(Struct, frozen=True):
    """What `dagger-edge bench compare --format json` prints.

    Attributes:
        threshold: changes of less are not told.
        level: chance that any row is told that did not change.
        machine: the machine's own rows.
        changes: all others that are in both.
        only_before, only_after: rows that are in one result alone.
        notes: what else differs between the two.
        regressions, improvements: rows that are worse and better.
        untold: rows with too few samples for a verdict.
    """

    threshold: float
    level: float
    machine: tuple[Change, ...]
    changes: tuple[Change, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    notes: tuple[str, ...]
    regressions: int
    improvements: int
    untold: int


class _Pair(NamedTuple):
    """A row of both results, and their samples as they are compared."""

    run: str
    before: Row
    after: Row
    samples: Samples
    paced: bool

    @classmethod
    def of(cls, run: str, before: Row, after: Row, alike: bool) -> _Pair:
        paced = bool(alike and before.paces and after.paces and QUANTITIES[before.what].timed)
        samples = [_at_one_pace(row) if paced else row.samples for row in (before, after)]
        return cls(run, before, after, (samples[0], samples[1]), paced)

    @property
    def slower(self) -> float:
        before, after = (median(samples) for samples in self.samples)
        return _slower(self.before, before, after)


class _Rule(NamedTuple):
    """Threshold, level, and the machine's own changes by run."""

    threshold: float
    level: float
    drift: Mapping[str, tuple[float, float]]


def compare(
    before: BenchResult, after: BenchResult, *, threshold: float = THRESHOLD, level: float = LEVEL
) -> Comparison:
    """Joins both on their settings.

    A row is worse where two things hold: its median is worse by more than ``threshold``, at the same pace of the
    machine (where a result does not tell that: and by more than the machine's own speeds fell); and by a rank test in
    which whole processes are exchanged (`rank.family_levels`), chance would tell any row in fewer than ``level`` of all
    comparisons.

    Raises:
        UsageError: no row is in both.
    """
    pairs, alone = _joined(before, after)
    if not pairs:
        raise UsageError("the two results have no row in common: measure both with the same settings")
    machine = [pair for pair in pairs if pair.before.kind == "machine"]
    others = [pair for pair in pairs if pair.before.kind != "machine"]
    tested = [pair for pair in others if pair.before.kind == "figure"]
    levels = _levels(tested)
    speeds = [pair for pair in machine if QUANTITIES[pair.before.what].timed]
    drift = {pair.run: _drift(pair.run, speeds) for pair in speeds}
    rule = _Rule(threshold, level, drift)
    changes = [_change(pair, levels.get(id(pair)), rule) for pair in others]
    count = {verdict: sum(change.verdict == verdict for change in changes) for verdict in ("worse", "better", "untold")}
    return Comparison(
        threshold=threshold,
        level=level,
        machine=tuple(_change(pair, None, rule) for pair in machine),
        changes=tuple(changes),
        only_before=tuple(alone[0]),
        only_after=tuple(alone[1]),
        notes=tuple(_notes(before, after, rule, any(pair.paced for pair in tested))),
        regressions=count["worse"],
        improvements=count["better"],
        untold=count["untold"],
    )


def _joined(before: BenchResult, after: BenchResult) -> tuple[list[_Pair], tuple[list[str], list[str]]]:
    """Rows of the same run, quantity and settings; and the names of those that stand alone."""
    several = any(len({(run.engine, _bundle(run)) for run in result.runs}) > 1 for result in (before, after))
    first, second = ({_key(result, row, several): row for row in result.rows} for result in (before, after))
    # Which of two machines is quicker is what is asked, not a drift.
    alike = _machine(before) == _machine(after)
    pairs = [_Pair.of(key[0], row, second[key], alike) for key, row in first.items() if key in second]
    alone = [
        [_described(key) for key in rows if key not in others] for rows, others in ((first, second), (second, first))
    ]
    return pairs, (alone[0], alone[1])


def _machine(result: BenchResult) -> tuple[str, int]:
    return result.provenance.processor, result.provenance.cores


def _at_one_pace(row: Row) -> list[float]:
    """The samples as they would be on a machine that does a round of everything in a second."""
    rates = [sqrt(pace.calculating * pace.reading) for pace in row.paces]
    pairs = zip(row.samples, rates, strict=True)
    return [sample * rate if row.better == "lower" else sample / rate for sample, rate in pairs]


def _drift(run: str, machine: Sequence[_Pair]) -> tuple[float, float]:
    """How many times slower the machine was: the least and the most of its speeds."""
    found = [pair.slower for pair in machine if pair.run == run]
    return min(found), max(found)


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


def _levels(pairs: Sequence[_Pair]) -> dict[int, Level]:
    """By the identity of pairs; those of the same run have samples of the same processes."""
    groups: dict[tuple[str | int, ...], list[_Pair]] = {}
    for pair in pairs:
        groups.setdefault((pair.run, *map(len, pair.samples)), []).append(pair)
    found = family_levels([[pair.samples for pair in group] for group in groups.values()])
    pairs_of = zip(groups.values(), found, strict=True)
    return {id(pair): level for group, levels in pairs_of for pair, level in zip(group, levels, strict=True)}


def _slower(row: Row, before: float, after: float) -> float:
    """How many times worse; 1 where both are zero."""
    worse, better = (after, before) if row.better == "lower" else (before, after)
    if worse == better:
        return 1.0
    return worse / better if better else float("inf")


def _change(pair: _Pair, level: Level | None, rule: _Rule) -> Change:
    row, slower = pair.before, pair.slower
    low, high = ratio_interval(*pair.samples)
    if row.better == "higher":
        low, high = (1 / high if high else 1.0), (1 / low if low else 1.0)
    return Change(
        run=pair.run,
        what=row.what,
        settings=row.settings,
        unit=row.unit,
        before=row.median,
        after=pair.after.median,
        slower=slower,
        interval=(low, high),
        level=1.0 if level is None else level.found,
        tested=level is not None,
        verdict="same" if level is None else _verdict(pair, level, rule),
    )


def _verdict(pair: _Pair, level: Level, rule: _Rule) -> Verdict:
    allowed = 1 + rule.threshold
    # The machine's own slowness is not the program's; nor is its quickness.
    follows = QUANTITIES[pair.before.what].timed and not pair.paced
    drift = rule.drift.get(pair.run, (1.0, 1.0)) if follows else (1.0, 1.0)
    beyond = pair.slower > allowed * max(1.0, drift[1]) or pair.slower < min(1.0, drift[0]) / allowed
    if not beyond:
        return "same"
    if level.found > rule.level:
        return "same" if level.least <= rule.level else "untold"
    return "worse" if pair.slower > 1 else "better"


def _notes(before: BenchResult, after: BenchResult, rule: _Rule, paced: bool) -> Iterator[str]:
    """What else differs."""
    first, second = before.provenance, after.provenance
    for name in ("dagger_edge", "commit", "processor", "cores", "system"):
        one, other = getattr(first, name), getattr(second, name)
        if one != other:
            yield f"{name} differs: {one} and {other}"
    for name in sorted({*first.versions, *second.versions}):
        one, other = first.versions.get(name), second.versions.get(name)
        if one != other:
            yield f"{name} differs: {one} and {other}"
    if [run.weights_sha256 for run in before.runs] != [run.weights_sha256 for run in after.runs]:
        yield "the bundles differ: their weights have other digests"
    for name, result in (("first", before), ("second", after)):
        busy = [row.median for row in result.rows if row.what == "other work"]
        if max(busy, default=0.0) > BUSY_CORES:
            yield (
                f"other programs took {max(busy):.1f} cores while the {name} was measured: verdicts on times mean"
                " little, measure again while nothing else runs"
            )
    if paced:
        yield "times are compared at the same pace of the machine, so `worse by` is not just after by before"
    told = "" if paced else "; rows are told that are by even more"
    for run, (least, most) in sorted(rule.drift.items()):
        if most > 1 + rule.threshold:
            yield f"{run}: the machine itself was slower by {most - 1:.0%}{told}"
        if least < 1 / (1 + rule.threshold):
            yield f"{run}: the machine itself was quicker by {1 / least - 1:.0%}{told}"
