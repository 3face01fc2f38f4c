"""Two results side by side: which rows changed beyond noise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from math import inf, log
from typing import Literal, NamedTuple

from msgspec import Struct

from ..errors import UsageError
from .pairs import Pair, joined
from .rank import Level, family_levels, ratio_interval
from .rows import QUANTITIES, BenchResult, Settings

# Of twenty comparisons of results that do not differ, one in which a row is told happens once in twenty times.
THRESHOLD, LEVEL = 0.05, 0.05 / 20
# From so much work of others on, what was measured is theirs as well.
BUSY_CORES = 0.2
# The same: no change beyond noise and threshold. Untold: too few samples for so many rows.
Verdict = Literal["worse", "better", "same", "untold"]


class Change(Struct, frozen=True):
    """A row of both results.

    Attributes:
        run: its bundle, provider and threads, as far as they tell runs apart.
        what, settings, unit: of the row.
        before, after: medians.
        slower: how many times worse it is by the medians; below 1 it is better. At the same pace where both tell it and
            are of one machine: then the least that it may be.
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
    comparisons. How far a program follows the pace is known between bounds only, so both hold at either of them.

    Raises:
        UsageError: no row is in both.
    """
    pairs, alone = joined(before, after)
    if not pairs:
        raise UsageError("the two results have no row in common: measure both with the same settings")
    machine = [pair for pair in pairs if pair.before.kind == "machine"]
    others = [pair for pair in pairs if pair.before.kind != "machine"]
    tested = [pair for pair in others if pair.before.kind == "figure"]
    levels = _levels(tested)
    speeds = [pair for pair in machine if QUANTITIES[pair.before.what].timed]
    drift = {pair.run: _drift(pair.run, speeds) for pair in speeds}
    rule = _Rule(threshold, level, drift)
    changes = [_change(pair, levels.get(id(pair), []), rule) for pair in others]
    count = {verdict: sum(change.verdict == verdict for change in changes) for verdict in ("worse", "better", "untold")}
    return Comparison(
        threshold=threshold,
        level=level,
        machine=tuple(_change(pair, [], rule) for pair in machine),
        changes=tuple(changes),
        only_before=tuple(alone[0]),
        only_after=tuple(alone[1]),
        notes=tuple(_notes(before, after, rule, any(pair.paced for pair in tested))),
        regressions=count["worse"],
        improvements=count["better"],
        untold=count["untold"],
    )


def _drift(run: str, machine: Sequence[Pair]) -> tuple[float, float]:
    """How many times slower the machine was: the least and the most of its speeds."""
    found = [pair.views[0].slower for pair in machine if pair.run == run]
    return min(found), max(found)


def _levels(pairs: Sequence[Pair]) -> dict[int, list[Level]]:
    """Of each view, by the identity of pairs; those of the same run have samples of the same processes."""
    groups: dict[tuple[str | int, ...], list[Pair]] = {}
    for pair in pairs:
        groups.setdefault((pair.run, *map(len, pair.views[0].samples)), []).append(pair)
    found = defaultdict[int, list[Level]](list)
    for views in zip(*(pair.views for pair in pairs), strict=True):
        samples = {id(pair): view.samples for pair, view in zip(pairs, views, strict=True)}
        levels = family_levels([[samples[id(pair)] for pair in group] for group in groups.values()])
        for pair, level in zip(chain(*groups.values()), chain(*levels), strict=True):
            found[id(pair)].append(level)
    return found


def _change(pair: Pair, levels: Sequence[Level], rule: _Rule) -> Change:
    """What the view tells that tells least."""
    row = pair.before
    view = min(pair.views, key=lambda view: abs(log(view.slower)) if 0 < view.slower < inf else inf)
    low, high = ratio_interval(*view.samples)
    if row.better == "higher":
        low, high = (1 / high if high else 1.0), (1 / low if low else 1.0)
    return Change(
        run=pair.run,
        what=row.what,
        settings=row.settings,
        unit=row.unit,
        before=row.median,
        after=pair.after.median,
        slower=view.slower,
        interval=(low, high),
        level=max((level.found for level in levels), default=1.0),
        tested=bool(levels),
        verdict=_verdict(pair, levels, rule),
    )


def _verdict(pair: Pair, levels: Sequence[Level], rule: _Rule) -> Verdict:
    """What every view says; untold where one would need more samples for it."""
    if not levels:
        return "same"
    # The machine's own slowness is not the program's; nor is its quickness.
    follows = QUANTITIES[pair.before.what].timed and not pair.paced
    drift = rule.drift.get(pair.run, (1.0, 1.0)) if follows else (1.0, 1.0)
    told = {_told(view.slower, level, rule, drift) for view, level in zip(pair.views, levels, strict=True)}
    if len(told) == 1:
        return told.pop()
    return "untold" if "untold" in told and "same" not in told else "same"


def _told(slower: float, level: Level, rule: _Rule, drift: tuple[float, float]) -> Verdict:
    allowed = 1 + rule.threshold
    beyond = slower > allowed * max(1.0, drift[1]) or slower < min(1.0, drift[0]) / allowed
    if not beyond:
        return "same"
    if level.found > rule.level:
        return "same" if level.least <= rule.level else "untold"
    return "worse" if slower > 1 else "better"


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
