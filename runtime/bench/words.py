"""A comparison and a prediction as text for people."""

from __future__ import annotations

from collections.abc import Sequence

from .compare import Change, Comparison, Verdict
from .plan import Figures, Prediction
from .table import number, table, title

_FIGURES = {
    "tokens/s one by one": "plain_tokens_per_s",
    "prefill, tokens/s": "prefill_tokens_per_s",
    "first token, s": "first_token_s",
    "an answer, s": "answer_s",
    "answers an hour": "answers_per_hour",
}
_WORDS: dict[Verdict, str] = {"worse": "**worse**", "better": "better", "same": "", "untold": "too few samples"}


def comparison_text(found: Comparison) -> str:
    """Markdown: the verdict, what else differs, every row."""
    lines = [_verdict(found), "", *(f"- {note}" for note in found.notes)]
    for run in dict.fromkeys(change.run for change in (*found.machine, *found.changes)):
        rows = [change for change in (*found.machine, *found.changes) if change.run == run]
        head = ("", "before", "after", "unit", "worse by", "95 % interval", "p", "verdict")
        lines += ["", f"## {run}", "", *table(head, [_cells(change) for change in rows])]
    for name, alone in (("first", found.only_before), ("second", found.only_after)):
        if alone:
            lines += ["", f"Only in the {name}: {'; '.join(alone)}."]
    return "\n".join(lines) + "\n"


def _verdict(found: Comparison) -> str:
    rows = sum(change.tested for change in found.changes)
    counts = f"{found.regressions} of {rows} rows are worse, {found.improvements} better, beyond noise"
    line = f"{counts} and {found.threshold:.0%}."
    if found.untold:
        line += (
            f" {found.untold} changed by more than that, and have too few samples to tell it from noise: measure with"
            " more --repeats."
        )
    return line


def _cells(change: Change) -> list[str]:
    low, high = change.interval
    return [
        title(change.what, change.settings),
        number(change.before),
        number(change.after),
        change.unit,
        f"{change.slower - 1:+.1%}",
        f"{low - 1:+.1%} to {high - 1:+.1%}",
        f"{change.level:.2g}" if change.tested else "",
        _WORDS[change.verdict],
    ]


def prediction_text(made: Prediction) -> str:
    """Markdown: what the machine would do, beside what was measured."""
    columns = [f"here, {_threads(made.from_threads)}", f"predicted, {_threads(made.cores)}"]
    figures = [made.here, made.predicted]
    if made.measured is not None:
        columns += [f"measured, {_threads(made.cores)}", "predicted / measured"]
        figures.append(made.measured)
    fits = "fits" if made.fits else "does not fit"
    return "\n".join(
        [
            f"{made.bundle}, {made.precision}, on {made.cores} cores, {made.bytes_per_s / 1e9:,.1f} GB/s,"
            f" {made.memory_bytes / 1e9:,.1f} GB: a process takes {made.needed_bytes / 1e9:,.2f} GB and {fits};"
            f" ceiling {made.ceiling_tokens_per_s:,.1f} tokens/s one by one.",
            "",
            *table(["", *columns], _rows(figures)),
            "",
            *(f"- {note}" for note in made.notes),
            "",
        ]
    )


def _rows(figures: Sequence[Figures]) -> list[list[str]]:
    """A row for each figure, and a column for each of ``figures``; of predicted and measured their ratio."""
    rows = []
    for name, field in _FIGURES.items():
        values: list[float] = [getattr(item, field) for item in figures]
        ratio = [f"{values[1] / values[2]:.2f}"] if len(values) > 2 else []
        rows.append([name, *map(number, values), *ratio])
    return rows


def _threads(count: int) -> str:
    return f"{count} thread{'s' * (count > 1)}"
