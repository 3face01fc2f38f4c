"""A result as text: Markdown for people, and rows with their provenance for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from .rows import OURS, BenchResult, BenchRun, Ceiling, Row

_HEAD = ("", "median", "quartiles", "unit", "n", "ceiling", "reached")


def markdown(result: BenchResult) -> str:
    """Tables: where it comes from, then for each run its ceiling and its rows."""
    lines = ["# Benchmark", "", *(f"- {line}" for line in origin(result))]
    for index, run in enumerate(result.runs):
        lines += ["", f"## {run_title(run)}", "", *ceiling_lines(run), ""]
        lines += table(_HEAD, [cells(row) for row in result.rows if row.run == index])
    return "\n".join(lines) + "\n"


def origin(result: BenchResult) -> list[str]:
    """Where a result comes from, and how it was measured, in lines for people."""
    where = result.provenance
    versions = ", ".join(f"{name} {version}" for name, version in where.versions.items())
    commit = "" if where.commit is None else f", commit {where.commit[:12]}{'+' * where.commit.endswith('+')}"
    load = "" if where.load is None else f", load {where.load} before"
    energy = "not told by this platform" if where.energy is None else where.energy
    return [
        f"dagger-edge {where.dagger_edge}{commit}; {versions}",
        f"{where.processor} ({', '.join(where.instructions) or 'no instructions known'}), {where.cores} cores,"
        f" {where.memory_bytes / 1e9:.1f} GB, {where.system}; {where.created}{load}",
        f"{_done(result)}; medians, lower and upper quartile",
        f"energy: {energy}",
        *([] if where.command is None else [f"command: {where.command}"]),
    ]


def _done(result: BenchResult) -> str:
    if result.task is not None:
        return result.task
    return f"{result.questions} questions in each of {result.repeats} processes, after one that is not counted"


def run_title(run: BenchRun) -> str:
    """A run in a few words."""
    threads = "one thread per core" if run.threads is None else f"threads {run.threads}"
    engine = "" if run.engine == OURS else f"{run.engine}: "
    return f"{engine}{run.bundle}, {run.precision}, {run.provider}, {threads}"


def ceiling_lines(run: BenchRun) -> list[str]:
    """What the machine allows, in sentences."""
    options = (
        [f"Settings: {', '.join(f'{name} {value}' for name, value in run.options.items())}."] if run.options else []
    )
    if run.ceiling is None:
        return [*options, *([f"Ceiling: not measured on {run.provider}."] if run.engine == OURS else [])]
    return [*options, _ceiling(run.ceiling)]


def _ceiling(bound: Ceiling) -> str:
    products = "unknown" if bound.products is None else f"{(bound.products + (bound.head_products or 0)) / 1e6:,.2f} M"
    cached = " (the largest cache holds them)" if bound.cached else ""
    return (
        f"Ceiling: **{bound.tokens_per_s:,.1f} tokens/s** one by one. A step reads {bound.weight_bytes / 1e6:,.1f} MB"
        f" of weights{cached} and, behind {bound.context} tokens, {bound.kv_read_bytes / 1e6:,.2f} MB of keys and"
        f" values ({bound.kv_token_bytes / 1e3:,.1f} kB a token), at {bound.read_bytes_per_s / 1e9:,.1f} GB/s; a token"
        f" takes {products} products, at {bound.products_per_s / 1e9:,.1f} G/s ({bound.kernel})."
    )


def cells(row: Row) -> list[str]:
    """A row of `markdown`'s table."""
    low, high = row.quartiles
    return [
        row_title(row),
        number(row.median),
        f"{number(low)} to {number(high)}",
        row.unit,
        str(len(row.samples)),
        "" if row.ceiling is None else number(row.ceiling),
        "" if row.share is None else f"{row.share:.0%}",
    ]


def row_title(row: Row) -> str:
    """The quantity and its settings."""
    return title(row.what, row.settings)


def title(what: str, settings: dict[str, int | str]) -> str:
    """A quantity and its settings; how many questions there were stands elsewhere."""
    return ", ".join([what, *(_setting(name, value) for name, value in settings.items() if name != "questions")])


def _setting(name: str, value: int | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value} {name.removesuffix('s') if value == 1 else name}"


def number(value: float) -> str:
    """Three digits, and all of those before the point."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of Markdown, its columns of one width each, numbers to the right."""
    # A rule of a column needs a dash and a colon.
    widths = [max(2, *(len(cell) for cell in column)) for column in zip(head, *rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    padded = [
        [cell.ljust(width) if place == 0 else cell.rjust(width) for place, (cell, width) in enumerate(pairs)]
        for pairs in (list(zip(row, widths, strict=True)) for row in (head, *rows))
    ]
    return ["| " + " | ".join(line) + " |" for line in (padded[0], rule, *padded[1:])]


def json_lines(result: BenchResult) -> str:
    """A JSON object a row, each with all of its provenance and its run."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in _records(result))


def comma_separated(result: BenchResult) -> str:
    """CSV with a header; lists are JSON in their cells."""
    records = [dict(_flat(record)) for record in _records(result)]
    # A run may lack what another has.
    names = list(dict.fromkeys(name for record in records for name in record))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


def _records(result: BenchResult) -> Iterator[dict[str, Any]]:
    common = {
        "provenance": msgspec.to_builtins(result.provenance),
        "questions": result.questions,
        "repeats": result.repeats,
    }
    for row in result.rows:
        yield {**msgspec.to_builtins(row), "run": msgspec.to_builtins(result.runs[row.run]), **common}


def _flat(record: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names with points for what is nested. Settings differ from row to row, and stay one cell."""
    for name, value in record.items():
        if isinstance(value, dict) and name != "settings":
            yield from _flat(value, f"{prefix}{name}.")
        elif name == "ceiling" and value is None and prefix == "run.":
            continue
        else:
            yield f"{prefix}{name}", json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
