"""``dagger-edge bench``: what a bundle does here, against what the machine allows; comparing and planning."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

import click
import msgspec

from ..runtime.errors import UsageError
from .inputs import read_text

if TYPE_CHECKING:
    from ..runtime.bench.rows import BenchResult
    from ..runtime.ort import Provider

Format = Literal["md", "json", "jsonl", "csv"]
FORMATS: tuple[Format, ...] = get_args(Format)
_REPORTS = (".html", ".svg")
# More are a slip of the hand.
_MOST_VALUES, _LARGEST = 64, 1 << 20


def _numbers(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """The whole numbers from 1 on in ``value``, with commas between them."""
    if value is None:
        return None
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isascii() and part.isdigit() and 1 <= int(part[:9]) <= _LARGEST for part in parts):
        raise click.BadParameter(f"{value[:100]!r} is no list of whole numbers from 1 on, such as 1,2,4")
    if len(parts) > _MOST_VALUES:
        raise click.BadParameter(f"{len(parts)} numbers are more than the {_MOST_VALUES} allowed")
    return tuple(map(int, parts))


@click.group("bench", invoke_without_command=True)
@click.option(
    "--bundle",
    "bundles",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Bundle to measure; several times for several.  [default: the demo in the package]",
)
@click.option("--provider", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--threads", callback=_numbers, help="Threads of one operator, e.g. 1,2.  [default: one per core]")
@click.option("--prefill", callback=_numbers, default="64,256,512", show_default=True, help="Lengths of prompts.")
@click.option("--questions", type=click.IntRange(min=1), default=12, show_default=True, help="To ask, 12 at most.")
@click.option("--repeats", type=click.IntRange(1, 1000), default=15, show_default=True, help="Processes of each run.")
@click.option("--samples", callback=_numbers, default="1,4", show_default=True, help="Graphs of a vote.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="Of the result.  [default: md, or --out's ending]")
@click.option("--out", type=click.Path(path_type=Path), help="Write the result there; the table goes to stdout.")
@click.option("--report", type=click.Path(path_type=Path), help="Write a page with plots (.html), or the plots (.svg).")
@click.pass_context
def command(
    ctx: click.Context,
    bundles: tuple[Path, ...],
    provider: str,
    threads: tuple[int, ...] | None,
    prefill: tuple[int, ...],
    questions: int,
    repeats: int,
    samples: tuple[int, ...],
    form: Format | None,
    out: Path | None,
    report: Path | None,
) -> None:
    """Measure what a bundle does on this machine, against what the machine allows.

    Load, prefill, first token, tokens, answers, votes, steps of 1 to 16 tokens, memory and energy; each number is the
    median over processes of its own, with its quartiles. Nothing else should run meanwhile. Several values sweep.
    docs/benchmarks.md says what each row means. Without --out the result is on stdout; where that is not the table,
    the table is on stderr.
    """
    if ctx.invoked_subcommand is not None:
        return
    chosen = _format(form, out)
    _check_folders(out, report)
    _check_report(report)
    from ..runtime.bench.measure import Plan, measure
    from ..runtime.bench.table import markdown
    from ..runtime.solver import demo_bundle

    plan = Plan(
        bundles=bundles or (demo_bundle(),),
        provider=cast("Provider", provider),
        threads=threads or (None,),
        prefill=prefill,
        questions=questions,
        repeats=repeats,
        samples=samples,
    )
    result = measure(plan, lambda line: click.echo(f"bench: {line}", err=True), _command())
    _keep(result)
    text = _render(result, chosen)
    if out is not None:
        _write(out, text)
    if report is not None:
        _write_report(result, report)
    click.echo(text if out is None else markdown(result), nl=False)
    if out is None and chosen != "md":
        click.echo(markdown(result), nl=False, err=True)


def _command() -> str:
    """What was typed, without folders: they are of this machine alone."""
    return shlex.join(["dagger-edge", *(re.sub(r"(^|=)\S*/", r"\1", part) for part in sys.argv[1:])])[:1000]


def _format(form: Format | None, out: Path | None) -> Format:
    """The one that was asked for, or that the ending of --out says."""
    if form is not None or out is None:
        return form or "md"
    ending = out.suffix.removeprefix(".")
    if ending not in FORMATS:
        raise UsageError(f"--out {out}: its ending is none of {', '.join(FORMATS)}: give --format as well")
    return ending


def _check_folders(*paths: Path | None) -> None:
    """Before minutes are spent on it."""
    for path in paths:
        if path is not None and not path.parent.is_dir():
            raise UsageError(f"{path}: there is no folder {path.parent}")


def _check_report(report: Path | None) -> None:
    """Before minutes are spent on it."""
    if report is None:
        return
    if report.suffix not in _REPORTS:
        raise UsageError(f"--report {report}: its ending is none of {', '.join(_REPORTS)}")
    from ..runtime.bench.plots import load_matplotlib

    load_matplotlib()


def _render(result: BenchResult, form: Format) -> str:
    from ..runtime.bench.table import comma_separated, json_lines, markdown

    if form == "json":
        return _json(result)
    return {"md": markdown, "jsonl": json_lines, "csv": comma_separated}[form](result)


def _keep(result: BenchResult) -> None:
    from ..runtime.bench.kept import keep_result

    keep_result(result)


def _write_report(result: BenchResult, path: Path) -> None:
    from ..runtime.bench.report import html_report, svg_report

    _write(path, (html_report if path.suffix == ".html" else svg_report)(result))


def _write(path: Path, text: str) -> None:
    """All of it, or what was there before."""
    from ..runtime.files import write_whole

    try:
        write_whole(path, text)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None


@command.command("report")
@click.argument("result", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Write a page with plots (.html), or the plots (.svg).")
@click.option("--format", "form", type=click.Choice(FORMATS), default="md", show_default=True)
def report_command(result: Path, out: Path | None, form: Format) -> None:
    """Show RESULT, a file of `dagger-edge bench --format json`, of the same form whoever measured it: peers too."""
    _check_folders(out)
    _check_report(out)
    found = _read(result)
    if out is not None:
        _write_report(found, out)
    click.echo(_render(found, form), nl=False)


@command.command("compare")
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option(
    "--threshold",
    type=click.FloatRange(min=0, max=10),
    default=0.05,
    show_default=True,
    help="Changes of less are not told: 0.05 is 5 %.",
)
@click.option(
    "--level",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.0025,
    show_default=True,
    help="Chance that any row is told that did not change.",
)
@click.option("--format", "form", type=click.Choice(["md", "json"]), default="md", show_default=True)
@click.pass_context
def compare_command(ctx: click.Context, before: Path, after: Path, threshold: float, level: float, form: str) -> None:
    """Say what changed beyond noise from BEFORE to AFTER, two results of `dagger-edge bench --format json`.

    Exit code 1: something is worse. docs/benchmarks.md says how that is decided.
    """
    from ..runtime.bench.compare import compare
    from ..runtime.bench.words import comparison_text

    found = compare(_read(before), _read(after), threshold=threshold, level=level)
    click.echo(_json(found) if form == "json" else comparison_text(found), nl=False)
    if found.regressions:
        ctx.exit(1)


@command.command("plan")
@click.option("--cores", type=click.IntRange(1, 4096), required=True, help="That the model may use there.")
@click.option(
    "--bandwidth", type=click.FloatRange(min=0, min_open=True, max=1e6), required=True, help="Of memory, in GB/s."
)
@click.option("--memory", type=click.FloatRange(min=0, min_open=True, max=1e6), required=True, help="In GB.")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    help="Result in JSON.  [default: the last one measured here]",
)
@click.option("--threads", type=click.IntRange(min=1), help="Of the run to predict from.  [default: the fewest]")
@click.option("--format", "form", type=click.Choice(["md", "json"]), default="md", show_default=True)
def plan_command(
    cores: int, bandwidth: float, memory: float, source: Path | None, threads: int | None, form: str
) -> None:
    """Predict what another machine would do, from what was measured on this one.

    Where the result also holds a run with as many threads as --cores, it is shown beside the prediction.
    """
    from ..runtime.bench.kept import known_result
    from ..runtime.bench.plan import Machine, predict
    from ..runtime.bench.words import prediction_text

    result = known_result() if source is None else _read(source)
    if result is None:
        raise UsageError("nothing was measured here yet: run `dagger-edge bench`, or give a result with --from")
    made = predict(result, Machine(cores, bandwidth * 1e9, round(memory * 1e9)), threads=threads)
    click.echo(_json(made) if form == "json" else prediction_text(made), nl=False)


def _read(path: Path) -> BenchResult:
    from ..runtime.bench.rows import MAX_RESULT_BYTES, decode_result

    text = read_text(str(path), MAX_RESULT_BYTES)
    try:
        return decode_result(text.encode())
    except ValueError as error:
        raise UsageError(f"{path}: not a result of `dagger-edge bench --format json`: {error}") from None


def _json(document: msgspec.Struct) -> str:
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"
