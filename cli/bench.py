"""``dagger-edge bench``: what a bundle does on this machine, against what the machine allows; comparing and planning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import click
import msgspec

from ..runtime.errors import UsageError

if TYPE_CHECKING:
    from ..runtime.bench.rows import Result
    from ..runtime.ort import Provider

Format = Literal["md", "json", "jsonl", "csv"]
FORMATS: tuple[Format, ...] = get_args(Format)
_REPORTS = (".html", ".svg")
# A tenth of these is what anybody needs; more are a slip of the hand.
_MOST_VALUES, _LARGEST = 64, 1 << 20


class Numbers(click.ParamType):
    """Whole numbers from 1 on, with commas between them."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """The numbers in the text ``value``."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        if not all(part.isascii() and part.isdigit() and 1 <= int(part[:9]) <= _LARGEST for part in parts):
            self.fail(f"{str(value)[:100]!r} is no list of whole numbers from 1 on, such as 1,2,4", param, ctx)
        if len(parts) > _MOST_VALUES:
            self.fail(f"{len(parts)} numbers are more than the {_MOST_VALUES} allowed", param, ctx)
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
@click.option("--threads", type=Numbers(), help="Threads of one operator, e.g. 1,2.  [default: one per core]")
@click.option("--prefill", type=Numbers(), default="64,256,512", show_default=True, help="Lengths of prompts.")
@click.option("--questions", type=click.IntRange(min=1), default=12, show_default=True, help="To ask, 12 at most.")
@click.option("--repeats", type=click.IntRange(1, 1000), default=10, show_default=True, help="Processes of each run.")
@click.option("--samples", type=Numbers(), default="1,4", show_default=True, help="Graphs of a vote.")
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
    result = measure(plan, lambda line: click.echo(f"bench: {line}", err=True))
    _keep(result)
    text = _render(result, chosen)
    if out is not None:
        out.write_text(text, encoding="utf-8")
    if report is not None:
        _write_report(result, report)
    click.echo(text if out is None else markdown(result), nl=False)
    if out is None and chosen != "md":
        click.echo(markdown(result), nl=False, err=True)


def _format(form: Format | None, out: Path | None) -> Format:
    """The one that was asked for, or that the ending of --out says."""
    if form is not None or out is None:
        return form or "md"
    ending = out.suffix.removeprefix(".")
    if ending not in FORMATS:
        raise UsageError(f"--out {out}: its ending is none of {', '.join(FORMATS)}: give --format as well")
    return cast("Format", ending)


def _check_report(report: Path | None) -> None:
    """Before minutes are spent on it."""
    if report is None:
        return
    if report.suffix not in _REPORTS:
        raise UsageError(f"--report {report}: its ending is none of {', '.join(_REPORTS)}")
    from ..runtime.bench.plots import load_matplotlib

    load_matplotlib()


def _render(result: Result, form: Format) -> str:
    from ..runtime.bench.table import comma_separated, json_lines, markdown

    if form == "json":
        return msgspec.json.format(msgspec.json.encode(result), indent=2).decode() + "\n"
    return {"md": markdown, "jsonl": json_lines, "csv": comma_separated}[form](result)


def _keep(result: Result) -> None:
    from ..runtime.bench.kept import keep_result

    keep_result(result)


def _write_report(result: Result, path: Path) -> None:
    from ..runtime.bench.report import html_report, svg_report

    path.write_text((html_report if path.suffix == ".html" else svg_report)(result), encoding="utf-8")
