"""``dagger-edge measure``: what products cost on this machine, kernel by kernel, and which precision suits it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
import msgspec

from ..runtime.errors import UsageError

if TYPE_CHECKING:
    from ..runtime.kernels.report import MachineReport

_LABEL = 11


@click.command("measure")
@click.option(
    "--shape",
    default="4b",
    show_default=True,
    help="Of the matrices: a model (270m, 4b, 12b), or its width and the one inside its layers (2560x10240).",
)
@click.option("--threads", type=click.IntRange(min=1), help="Threads of one operator.  [default: one per core]")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, max=3600),
    default=30.0,
    show_default=True,
    help="After which no further round begins; three are made in any case.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for `dagger-edge export --for`.")
def command(shape: str, threads: int | None, seconds: float, as_json: bool) -> None:
    """Measure what a step of 1 to 256 tokens costs here, by every kernel that a bundle can be made for.

    Needs no bundle and no export extra. Nothing else should run meanwhile: it takes about a minute, and every core.
    The result is kept in the user's cache, and `dagger-edge inspect` repeats its verdict.
    """
    from ..runtime.kernels.kept import keep_report
    from ..runtime.kernels.measurement import measure_machine
    from ..runtime.kernels.report import model_shape

    try:
        chosen = model_shape(shape)
    except ValueError as error:
        raise UsageError(f"--shape: {error}") from None
    report = measure_machine(
        chosen, threads=threads, seconds=seconds, progress=lambda line: click.echo(f"measure: {line}", err=True)
    )
    keep_report(report)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
        return
    for line in _lines(report):
        click.echo(line)


def _lines(report: MachineReport) -> list[str]:
    shape = report.shape
    layers = "a layer" if shape.layers == 1 else f"each of {shape.layers} layers"
    facts = {
        "processor": f"{report.processor} ({', '.join(report.instructions) or 'no instructions known'})",
        "threads": f"{report.threads or 'one per core'}, {report.cores} cores; onnxruntime {report.onnxruntime}",
        "memory": f"{report.memory_bytes / 1e9:.1f} GB, {report.available_bytes / 1e9:.1f} GB available;"
        f" read at {report.bandwidth_bytes_per_s / 1e9:.1f} GB/s",
        "shape": f"{shape.name}: {shape.layer_weights / 1e6:.1f} million weights in {layers}",
    }
    return [
        *(f"{label:<{_LABEL}} {value}" for label, value in facts.items()),
        "",
        "milliseconds of a step of so many tokens through the products of one layer, median ± half of the middle half",
        *_table(_step_rows(report)),
        "",
        f"seconds for a model of {shape.layers} such layers{' and its head' if shape.vocabulary else ''}, without"
        " attention",
        *_table(_estimate_rows(report)),
        "",
        verdict(report),
    ]


def _step_rows(report: MachineReport) -> list[list[str]]:
    """A row for each kernel, below the numbers of tokens."""
    counts = [step.tokens for step in next(iter(report.kernels.values())).steps]
    rows = [["kernel", *map(str, counts)]]
    for cost in report.kernels.values():
        share = report.shape.layer_weights / cost.weights
        cells = [f"{_number(step.ms * share, 3)} ±{_number(step.spread_ms * share / 2, 1)}" for step in cost.steps]
        rows.append([cost.title, *cells])
    return rows


def _estimate_rows(report: MachineReport) -> list[list[str]]:
    rows = [["kernel", "question (60)", "60 steps of 6", "300 steps of 1", "weights", "fits"]]
    for name, item in report.estimates.items():
        seconds = [f"{ms / 1e3:.3g}" for ms in (item.question_ms, item.drafted_ms, item.plain_ms)]
        size = f"{item.size_bytes / 1e9:.3g} GB"
        rows.append([report.kernels[name].title, *seconds, size, "yes" if item.fits else "no"])
    return rows


def _number(value: float, digits: int) -> str:
    """So many digits, and all of those before the point."""
    return f"{value:.{digits}g}" if value < 10**digits else f"{value:.0f}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of one width each, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) if index == 0 else cell.rjust(width) for index, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in rows)
    ]


def verdict(report: MachineReport) -> str:
    """Which kernel suits the machine, in a line."""
    if report.best is None:
        return "best: none, the weights do not fit into memory by any kernel"
    cost, item = report.kernels[report.best], report.estimates[report.best]
    return f"best: {cost.title}: question and drafted answer in {item.answer_ms / 1e3:.3g} s"
