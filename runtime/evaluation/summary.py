"""A run in numbers: outcomes, accuracy, distractors, cost; as a whole, by test set and by kind of distractor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from .intervals import percentile, wilson
from .published import KIND_ACCURACY, Benchmark, Published, benchmark_of, kind_name, published_for
from .row_file import Run
from .rows import EvalRow, Header

Interval = tuple[float, float]
_Share = Annotated[float, Meta(ge=0, le=1)]


class Distractors(Struct, frozen=True):
    """How well distractors were found, over the questions with a gold graph.

    Attributes:
        questions: how many those are.
        marked, wanted, found: constants that graphs mark, that gold graphs mark, that both mark.
        precision: share of the marked that are wanted; null where nothing is marked.
        recall: share of the wanted that are marked; null where nothing is wanted.
    """

    questions: int
    marked: int
    wanted: int
    found: int
    precision: float | None
    recall: float | None


class Cost(Struct, frozen=True):
    """What answers took: means of tokens and runs of the model; half, and 95 % of the answers came within so long."""

    questions: int
    tokens: float | None
    steps: float | None
    p50_s: float | None
    p95_s: float | None


class Group(Struct, frozen=True):
    """Some rows together.

    Attributes:
        name: of the group.
        questions: how many rows.
        correct, wrong, failed, rejected: outcomes; their sum is ``questions``.
        strict, repaired: how the texts that are graphs were read; with ``rejected`` they are ``questions`` too.
        accuracy, interval: share of the correct, with its 95 % interval (Wilson).
        valid, valid_interval: share of texts whose graph has an answer, right or wrong.
        distractors: null where no row has a gold graph.
        cost: null where the texts came from elsewhere.
        confidence: mean share of a vote that the answer had; null without votes.
    """

    name: str
    questions: int
    correct: int
    wrong: int
    failed: int
    rejected: int
    strict: int
    repaired: int
    accuracy: _Share
    interval: Interval
    valid: _Share
    valid_interval: Interval
    distractors: Distractors | None
    cost: Cost | None
    confidence: float | None


class SetGroup(Struct, frozen=True):
    """A test set: its rows, how many questions its file has, and what the authors published of it."""

    group: Group
    of: int
    benchmark: Benchmark | None
    published: tuple[Published, ...]


class KindGroup(Struct, frozen=True):
    """Questions with one kind of distractor, over all sets; ``published`` is the accuracy on it of the authors' best
    model, null for other kinds."""

    group: Group
    published: float | None


class Summary(Struct, frozen=True):
    """What `dagger-edge eval --format json` prints.

    Attributes:
        header: what the run was made with.
        complete: whether every question of every set has its row.
        total: all rows.
        sets: by test set.
        kinds: by kind of distractor.
        fixes: how often each kind of repair was needed.
    """

    header: Header
    complete: bool
    total: Group
    sets: tuple[SetGroup, ...]
    kinds: tuple[KindGroup, ...]
    fixes: dict[str, int]


def summarise(run: Run) -> Summary:
    """The numbers of ``run``."""
    header, rows = run
    entries = {entry.name: entry.questions for entry in header.settings.sets}
    kinds = sorted({kind_name(row.kind) for row in rows if row.kind is not None})
    return Summary(
        header=header,
        complete=len(rows) == sum(entries.values()),
        total=group_of("all", rows),
        sets=tuple(_set(name, of, [row for row in rows if row.set == name]) for name, of in entries.items()),
        kinds=tuple(_kind(kind, rows) for kind in kinds),
        fixes=dict(Counter(fix for row in rows for fix in row.fixes).most_common()),
    )


def _set(name: str, of: int, rows: Sequence[EvalRow]) -> SetGroup:
    benchmark = benchmark_of(name, augmented=bool(rows) and all(row.kind is not None for row in rows))
    return SetGroup(group_of(name, rows), of, benchmark, () if benchmark is None else published_for(benchmark))


def _kind(kind: str, rows: Sequence[EvalRow]) -> KindGroup:
    chosen = [row for row in rows if row.kind is not None and kind_name(row.kind) == kind]
    figure = KIND_ACCURACY.get(kind)
    return KindGroup(group_of(kind, chosen), None if figure is None else figure / 100)


def group_of(name: str, rows: Sequence[EvalRow]) -> Group:
    """``rows`` as a group."""
    outcomes = Counter(row.outcome for row in rows)
    levels = Counter(row.level for row in rows)
    total, correct = len(rows), outcomes["correct"]
    valid = correct + outcomes["wrong"]
    return Group(
        name=name,
        questions=total,
        correct=correct,
        wrong=outcomes["wrong"],
        failed=outcomes["failed"],
        rejected=outcomes["rejected"],
        strict=levels["strict"],
        repaired=levels["repaired"],
        accuracy=correct / total if total else 0.0,
        interval=wilson(correct, total),
        valid=valid / total if total else 0.0,
        valid_interval=wilson(valid, total),
        distractors=_distractors(rows),
        cost=_cost(rows),
        confidence=_mean(row.confidence for row in rows),
    )


def _distractors(rows: Iterable[EvalRow]) -> Distractors | None:
    flags = [row.flags for row in rows if row.flags is not None]
    if not flags:
        return None
    marked, wanted, found = (sum(getattr(item, name) for item in flags) for name in ("marked", "wanted", "found"))
    return Distractors(
        questions=len(flags),
        marked=marked,
        wanted=wanted,
        found=found,
        precision=found / marked if marked else None,
        recall=found / wanted if wanted else None,
    )


def _cost(rows: Iterable[EvalRow]) -> Cost | None:
    timed = [row for row in rows if row.seconds is not None]
    if not timed:
        return None
    seconds = [row.seconds for row in timed if row.seconds is not None]
    return Cost(
        questions=len(timed),
        tokens=_mean(row.tokens for row in timed),
        steps=_mean(row.steps for row in timed),
        p50_s=percentile(seconds, 0.5),
        p95_s=percentile(seconds, 0.95),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
