"""A summary and a comparison as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ..bench.table import table
from .compare import Comparison, Paired
from .published import KIND_MODEL, SOURCE
from .rows import Header
from .summary import Cost, Group, Summary

RULE = "An answer is right within a relative 1e-6 of the gold one, as the authors compare; intervals are of 95 %."
_OUTCOMES = ("", "questions", "correct", "95 %", "wrong", "failed", "rejected", "strict", "repaired", "with an answer")
_FLAGS = ("distractors", "questions", "marked", "wanted", "found", "precision", "recall")
_COST = ("cost", "questions", "tokens", "model steps", "p50 s", "p95 s")


def summary_text(found: Summary) -> str:
    """Markdown: how the run was made, outcomes, distractors, cost, and what the authors published."""
    groups = summary_groups(found)
    lines = ["# Evaluation", "", *(f"- {line}" for line in origin(found.header)), f"- {RULE}"]
    if not found.complete:
        lines.append(f"- **Not complete**: {_missing(found)}.")
    lines += ["", *table(_OUTCOMES, [outcome_cells(group) for group in groups])]
    flagged = [cells for group in groups if (cells := flag_cells(group)) is not None]
    costs = [cells for group in groups if (cells := cost_cells(group)) is not None]
    if flagged:
        lines += ["", *table(_FLAGS, flagged)]
    if costs:
        lines += ["", *table(_COST, costs)]
    if found.total.confidence is not None:
        lines += ["", f"Votes: on average {found.total.confidence:.1%} of the graphs had the answer."]
    if found.kinds:
        head = ("kind of distractor", "questions", "correct", "95 %", f"{KIND_MODEL}, published")
        lines += ["", *table(head, [_kind_cells(item.group, item.published) for item in found.kinds])]
    if found.fixes:
        lines += ["", "Repairs: " + ", ".join(f"{code} {count}" for code, count in found.fixes.items()) + "."]
    lines += _published(found)
    return "\n".join(lines) + "\n"


def summary_groups(found: Summary) -> list[Group]:
    """The groups of its tables: the sets, and all rows where there are several."""
    groups = [item.group for item in found.sets if item.group.questions]
    return [*groups, found.total] if len(groups) > 1 else groups


def origin(header: Header) -> list[str]:
    """What a run was made with, in lines for people."""
    where, made = header.settings, header.provenance
    lines = [where.title, f"dagger-edge {header.dagger_edge}, begun {header.created}"]
    if where.weights_sha256 is not None:
        threads = "one thread per core" if where.threads is None else f"threads {where.threads}"
        lines.append(f"weights {where.weights_sha256[:16]}…, prompt {where.prompt}, {where.provider}, {threads}")
    if made is not None:
        lines.append(f"{made.processor}, {made.cores} cores; onnxruntime {made.versions.get('onnxruntime', 'unknown')}")
    return lines


def outcome_cells(group: Group) -> list[str]:
    """A row of the table of outcomes."""
    return [
        group.name,
        f"{group.questions:,}",
        percent(group.accuracy),
        interval(group.interval),
        *(f"{count:,}" for count in (group.wrong, group.failed, group.rejected, group.strict, group.repaired)),
        f"{percent(group.valid)} ({interval(group.valid_interval)})",
    ]


def flag_cells(group: Group) -> list[str] | None:
    """A row of the table of distractors; None where no row has a gold graph."""
    found = group.distractors
    if found is None:
        return None
    counts = (found.questions, found.marked, found.wanted, found.found)
    shares = (found.precision, found.recall)
    return [group.name, *(f"{count:,}" for count in counts), *("" if s is None else percent(s) for s in shares)]


def cost_cells(group: Group) -> list[str] | None:
    """A row of the table of costs; None where no model was run."""
    cost = group.cost
    return None if cost is None else [group.name, f"{cost.questions:,}", *_costs(cost)]


def _costs(cost: Cost) -> list[str]:
    counts = ["" if value is None else f"{value:.1f}" for value in (cost.tokens, cost.steps)]
    return [*counts, *("" if value is None else f"{value:.3g}" for value in (cost.p50_s, cost.p95_s))]


def _kind_cells(group: Group, published: float | None) -> list[str]:
    told = "" if published is None else percent(published)
    return [group.name, f"{group.questions:,}", percent(group.accuracy), interval(group.interval), told]


def _missing(found: Summary) -> str:
    short = [f"{item.group.questions:,} of {item.of:,} of {item.group.name}" for item in found.sets]
    return ", ".join(short)


def _published(found: Summary) -> list[str]:
    lines: list[str] = []
    for item in found.sets:
        if item.benchmark is None or not item.group.questions:
            continue
        rows = [[figure.model, f"{figure.questions:,}", percent(figure.accuracy)] for figure in item.published]
        here = [f"this run, {item.group.name}", f"{item.group.questions:,}", percent(item.group.accuracy)]
        head = (f"{item.benchmark}, published", "questions", "correct")
        lines += ["", *table(head, [*rows, here])]
    return [*lines, "", f"Rows of models: {SOURCE}."] if lines else []


def comparison_text(found: Comparison) -> str:
    """Markdown: the verdict, the paired table, the questions that changed."""
    lines = ["# Two runs, question by question", "", f"- before: {found.before.settings.title}"]
    lines += [f"- after: {found.after.settings.title}", *(f"- {line}" for line in found.differing), f"- {RULE}"]
    if any(found.alone):
        lines.append(f"- left out: {found.alone[0]:,} rows of the first and {found.alone[1]:,} of the second run alone")
    lines += ["", verdict(found.total), "", *table(("", *_names(found)), paired_rows(found))]
    if found.changed:
        lines += ["", f"{len(found.changed):,} questions with another answer or outcome:", "", *_changes(found)]
    return "\n".join(lines) + "\n"


def _names(found: Comparison) -> list[str]:
    return [item.before.name for item in groups_of(found)]


def groups_of(found: Comparison) -> list[Paired]:
    """The groups of its table: all, and the sets where there are several."""
    return [found.total, *found.sets]


def paired_rows(found: Comparison) -> list[list[str]]:
    """The paired table: a row for each figure, a column for each group."""
    groups = groups_of(found)
    return [[title, *(cell(group) for group in groups)] for title, cell in _PAIRED.items()]


def verdict(group: Paired) -> str:
    """What the pairs say, in a sentence."""
    low, high = group.interval
    told = (
        f"Accuracy {percent(group.before.accuracy)} before and {percent(group.after.accuracy)} after:"
        f" {_points(group.difference)} points ({_points(low)} to {_points(high)}); {group.only_before} became wrong,"
        f" {group.only_after} right, McNemar p = {group.p:.2g}."
    )
    if group.p < 0.05:
        return f"{told} Chance alone would rarely do as much."
    return f"{told} Chance alone would do as much; any difference within the interval is possible."


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"


def _of(count: int, total: int) -> str:
    return f"{count:,} ({percent(count / total)})" if total else "0"


_PAIRED: dict[str, Callable[[Paired], str]] = {
    "questions": lambda group: f"{group.before.questions:,}",
    "correct before": lambda group: _of(group.before.correct, group.before.questions),
    "correct after": lambda group: _of(group.after.correct, group.after.questions),
    "difference, points": lambda group: _points(group.difference),
    "95 %": lambda group: f"{_points(group.interval[0])} to {_points(group.interval[1])}",
    "became wrong": lambda group: f"{group.only_before:,}",
    "became right": lambda group: f"{group.only_after:,}",
    "McNemar p": lambda group: f"{group.p:.2g}",
    "same answer": lambda group: _of(group.same_answer, group.before.questions),
    "same graph": lambda group: _of(group.same_graph, group.before.questions),
    "same graph but for labels": lambda group: _of(group.same_but_labels, group.before.questions),
    "no answer before": lambda group: f"{group.before.failed + group.before.rejected:,}",
    "no answer after": lambda group: f"{group.after.failed + group.after.rejected:,}",
    "p50 before, s": lambda group: _seconds(group.before),
    "p50 after, s": lambda group: _seconds(group.after),
}


def _seconds(group: Group) -> str:
    return "" if group.cost is None or group.cost.p50_s is None else f"{group.cost.p50_s:.3g}"


def _changes(found: Comparison) -> Iterable[str]:
    rows = [
        [f"{item.set} {item.row}", number(item.gold), *map(_side, item.outcomes, item.answers)]
        for item in found.changed
    ]
    return table(("question", "gold", "before", "after"), rows)


def _side(outcome: str, answer: float | None) -> str:
    return outcome if answer is None else f"{outcome} {number(answer)}"


def number(value: float) -> str:
    """An answer, in ten digits at most."""
    return f"{value:.10g}"


def percent(share: float) -> str:
    """A share in percent."""
    return f"{share:.1%}"


def interval(limits: Sequence[float]) -> str:
    """An interval of shares in percent."""
    return f"{limits[0]:.1%} to {limits[1]:.1%}"
