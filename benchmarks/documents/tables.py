"""Tables of results in Markdown, and sentences that say what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from dagger_edge.runtime.bench.rows import OURS, BenchResult, Row, Setting
from dagger_edge.runtime.bench.table import number, row_title, table

from .files import RESULTS, bench, document, sentences

_MISSING = "Not measured yet: `{}`."
# An answer's question is written by people; how long it is counts little beside the graph.
_HOUR_S = 3600


def provenance() -> list[str]:
    """Each result file: when, by which code, on what, by which command."""
    rows = []
    for path in sorted(RESULTS.glob("*.json")):
        told = _origin(document(path.name))
        date, commit, machine, command = map(_first, told, _UNTOLD.get(path.name, told))
        rows.append([f"`{path.name}`", date, commit, machine, f"`{command}`" if command else ""])
    return sentences(("result", "measured", "commit", "machine", "command"), rows)


def _first(told: str, known: str) -> str:
    return told or known


# Of results from before their scripts told it.
_EPYC = "AMD EPYC, 2 cores"
_UNTOLD = {
    "export_4b.json": ("2026-11-25", "", _EPYC, "PYTHONPATH=src python benchmarks/export_4b.py --work DIR"),
    "graph_hostile.json": ("2026-11-24", "", _EPYC, "PYTHONPATH=src python benchmarks/graph_hostile.py --json FILE"),
    "kernels.json": ("2026-11-25", "", _EPYC, "dagger-edge measure --threads 2 --json"),
    "model_steps.json": ("2026-11-25", "", _EPYC, "PYTHONPATH=src python benchmarks/model_steps.py --tokenizer FILE"),
    "start_up.json": (
        "2026-11-26",
        "",
        _EPYC,
        "PYTHONPATH=src python benchmarks/start_up.py --bundle BUNDLE --threads 2 --tokens 256 --runs 5",
    ),
}


def _origin(found: Any) -> tuple[str, str, str, str]:
    """Date, commit, machine and command, as far as a document says them."""
    where = found.get("provenance", found)
    machine = where.get("machine") or next((row["machine"] for row in found.get("results", ()) if "machine" in row), {})
    processor = where.get("processor") or where.get("cpu") or machine.get("processor") or ""
    cores = where.get("cores") or machine.get("cores")
    commit = (where.get("commit") or "")[:10]
    date = (where.get("created") or where.get("date") or "")[:10]
    command = where.get("command") or found.get("note") or ""
    machine_words = ", ".join(filter(None, [processor, f"{cores} cores" if cores else ""]))
    return date, commit, machine_words, command


def rows_of(result: BenchResult, run: int, wanted: Sequence[str]) -> list[list[str]]:
    """Rows of a run by quantity: title, median, quartiles, unit, ceiling, share."""
    made = []
    for row in result.rows:
        if row.run == run and row.what in wanted:
            low, high = row.quartiles
            bound = "" if row.ceiling is None else f"{number(row.ceiling)} ({row.share:.0%} reached)"
            made.append([row_title(row), number(row.median), f"{number(low)} to {number(high)}", row.unit, bound])
    return made


_SHOWN = (
    "load",
    "prefill",
    "first token",
    "plain token",
    "token",
    "answer",
    "answers",
    "steps",
    "vote",
    "vote speed",
    "peak memory",
)


def bundle(name: str, command: str) -> list[str]:
    """A bundle's own rows, a table a run."""
    result = bench(name)
    if result is None:
        return [_MISSING.format(command)]
    lines: list[str] = []
    for index, run in enumerate(result.runs):
        bound = ""
        if run.ceiling is not None:
            bound = f" Ceiling: {number(run.ceiling.tokens_per_s)} tokens/s one by one."
        lines += ["", f"**{run.bundle}, {run.precision}, {_threads(run.threads)}.**{bound}", ""]
        lines += table(("", "median", "quartiles", "unit", "ceiling"), rows_of(result, index, _SHOWN))
    return lines[1:]


def _threads(count: int | None) -> str:
    return "one thread a core" if count is None else f"{count} thread{'s' * (count > 1)}"


# Of a race: quantity and settings of a column, its head, the digits of which are those of its unit.
_COLUMNS: Sequence[tuple[str, str, dict[str, Setting]]] = (
    ("512 tokens read, tokens/s", "prefill", {"tokens": 512}),
    ("first token, cache off, s", "first token", {"start": "whole prompt"}),
    ("cache on, s", "first token", {"start": "prompt cache"}),
    ("a token, ms", "plain token", {}),
    ("under the grammar, ms", "plain token", {"decoding": "grammar"}),
    ("answer, cache off, s", "answer", {"start": "whole prompt", "decoding": "plain"}),
    ("cache on, s", "answer", {"start": "prompt cache", "decoding": "plain"}),
    ("all that we have, s", "answer", {"decoding": "grammar and drafts"}),
    ("memory, GB", "peak memory", {}),
    ("load, s", "load", {}),
)
_SCALES = {"first token": 1e-3, "peak memory": 1e-3}


def race(name: str, command: str) -> list[str]:
    """Engines side by side, and the ratios of the peers to ours."""
    result = bench(name)
    if result is None:
        return [_MISSING.format(command)]
    rows = []
    for index, run in enumerate(result.runs):
        cells = []
        for _, what, settings in _COLUMNS:
            row = _column(result, index, what, settings)
            cells.append("" if row is None else number(row.median * _SCALES.get(what, 1.0)))
        rows.append([f"{run.engine} {run.precision}", *cells])
    head = ("", *(words for words, _, _ in _COLUMNS))
    options = [
        f"{run.engine} {run.precision}: {', '.join(f'{name} {value}' for name, value in run.options.items())}"
        for run in result.runs
    ]
    return [
        *table(*_filled(head, rows)),
        "",
        "How many times as long a peer takes as we do; median of the rounds, and their range:",
        "",
        *table(*_filled(("", *(words for words, *_ in _RATIOS)), _ratio_rows(result))),
        "",
        f"Task: {result.task}. Settings: {'; '.join(options)}.",
    ]


def _filled(head: Sequence[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """The columns that hold anything: not all races measure all."""
    kept = [index for index in range(len(head)) if any(row[index] for row in rows)]
    return [head[index] for index in kept], [[row[index] for index in kept] for row in rows]


def _column(result: BenchResult, run: int, what: str, settings: dict[str, Setting]) -> Row | None:
    row = result.find(run, what, **settings)
    if row is None and settings.get("start") == "prompt cache":
        return result.find(run, what, **{**settings, "start": "snapshot"})
    return row


_PLAIN_OFF: dict[str, Setting] = {"start": "whole prompt", "decoding": "plain"}
_PLAIN_ON: dict[str, Setting] = {"start": "prompt cache", "decoding": "plain"}
_BEST: dict[str, Setting] = {"decoding": "grammar and drafts"}
# What is compared: the peer's quantity and settings, and ours.
_RATIOS: Sequence[tuple[str, str, dict[str, Setting], dict[str, Setting]]] = (
    ("512 tokens read", "prefill", {"tokens": 512}, {"tokens": 512}),
    ("a token", "plain token", {}, {}),
    ("ours under the grammar", "plain token", {}, {"decoding": "grammar"}),
    ("answer, its cache off", "answer", _PLAIN_OFF, _BEST),
    ("answer, its cache on", "answer", _PLAIN_ON, _BEST),
)


def _ratio_rows(result: BenchResult) -> list[list[str]]:
    """A row for each peer; ours is the precision that is quickest at it."""
    own = [index for index, run in enumerate(result.runs) if run.engine == OURS]
    made = []
    for index, run in enumerate(result.runs):
        if run.engine == OURS:
            continue
        cells = []
        for _, what, theirs, ours in _RATIOS:
            peer = result.find(index, what, **theirs)
            mine = [row for place in own if (row := result.find(place, what, **ours)) is not None]
            if peer is None or not mine:
                cells.append("")
                continue
            more = peer.better == "higher"
            best = max(mine, key=lambda row: row.median if row.better == "higher" else -row.median)
            pairs = zip(peer.samples, best.samples, strict=True)
            ratios = [other / one if more else one / other for one, other in pairs]
            cells.append(f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        made.append([f"{run.engine} {run.precision}", *cells])
    return made


def executor(name: str, command: str) -> list[str]:
    """The graph language against plain Python."""
    result = bench(name)
    if result is None:
        return [_MISSING.format(command)]
    rows = []
    for row in result.rows:
        asked = {key: value for key, value in row.settings.items() if key != "how"}
        label = result.runs[0].engine if row.run == 0 else str(row.settings["how"])
        words = ", ".join(f"parse {value}" if key == "parse" else f"{value:,} {key}" for key, value in asked.items())
        faster = ""
        if row.run:
            (peer,) = [other for other in result.rows if other.run == 0 and other.settings == asked]
            ratios = [other / own for other, own in zip(peer.samples, row.samples, strict=True)]
            faster = f"{median(ratios):.3g} ({min(ratios):.3g} to {max(ratios):.3g})"
        rows.append([f"{label}, {words}", number(row.median), faster])
    return table(("", "us a graph", "times as fast as plain Python (range)"), rows)


def scaling(name: str, command: str) -> list[str]:
    """What a site needs, in sentences, one for each number of threads, and one on what is decoded together."""
    result = bench(name)
    if result is None:
        return [_MISSING.format(command)]
    lines, where = [], result.provenance
    for index, run in enumerate(result.runs):
        answers = [(int(row.settings["nodes"]), row.median) for row in result.rows_of(index, "answer")]
        reading = [(int(row.settings["question tokens"]), row.median) for row in result.rows_of(index, "first token")]
        seconds = _between(answers, float(result.settings["mean nodes"]))
        lines.append(
            f"- **{_threads(run.threads).capitalize()} of such a box ({where.processor}, {where.cores} cores) answer"
            f"{'s' * (run.threads == 1)} {_round(_HOUR_S / seconds)} questions an hour with {run.bundle} in"
            f" {run.precision}**, one after the other (graphs of"
            f" {result.settings['mean nodes']} nodes, {number(seconds)} s each). A node more costs"
            f" {_slope(answers)} s, ten tokens of the question {number(10 * _gradient(reading))} ms."
        )
        together = {int(row.settings["rows"]): row.median for row in result.rows_of(index, "batch step")}
        if 1 in together and len(together) > 1:
            most = max(together)
            gain = most * together[1] / together[most]
            lines.append(
                f"  {most} answers that are decoded together read {gain:.1f} times the tokens of one in the same time."
            )
    return lines


def _between(points: Sequence[tuple[int, float]], place: float) -> float:
    """On the line through ``points``, so that the noise of one counts little."""
    gradient = _gradient(points)
    middle = sum(x for x, _ in points) / len(points)
    return sum(y for _, y in points) / len(points) + gradient * (place - middle)


def _gradient(points: Sequence[tuple[int, float]]) -> float:
    middle, height = (sum(axis) / len(points) for axis in zip(*points, strict=True))
    spread = sum((x - middle) ** 2 for x, _ in points)
    return sum((x - middle) * (y - height) for x, y in points) / spread if spread else 0.0


def _slope(points: Sequence[tuple[int, float]]) -> str:
    return number(_gradient(points))


def _round(value: float) -> str:
    """Two digits are all that it is worth."""
    return f"{float(f'{value:.2g}'):,.0f}"


_PLAN = {
    "plain_tokens_per_s": "tokens/s one by one",
    "prefill_tokens_per_s": "prefill",
    "first_token_s": "first token",
    "answer_s": "an answer",
}


def plan(name: str, command: str) -> list[str]:
    """Predicted by measured."""
    found = document(name)
    if found is None:
        return [_MISSING.format(command)]
    rows = [
        [
            f"{row['bundle']} {row['precision']}, {row['from_threads']} to {row['threads']} threads",
            *(f"{row['predicted_by_measured'][key]:.2f}" for key in _PLAN),
        ]
        for row in found["rows"]
    ]
    return table(("predicted / measured", *_PLAN.values()), rows)


def agreement(name: str, command: str) -> list[str]:
    """How often `compare` was right."""
    found = document(name)
    if found is None:
        return [_MISSING.format(command)]
    seconds = median(one["seconds"] for one in found["found"])
    least = min(one["same"]["least_level"] for one in found["found"])
    slower = [value for one in found["found"] for value in one["same"]["slower"].values()]
    return [
        f"{found['tries']} tries ({number(seconds)} s each): identical runs were flagged in {found['same_flagged']},"
        f" runs slowed by a fifth in {found['slowed_flagged']}. The smallest p of all rows of identical runs was"
        f" {least:.2g} (flagged below {found['rule']['level']}); medians of identical rows differed by up to"
        f" {max(max(value, 1 / value) for value in slower) - 1:.0%}.",
    ]
