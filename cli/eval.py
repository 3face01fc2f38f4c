"""``dagger-edge eval``: how often answers to test sets are right, a bundle's or others', and what changes."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import click
import msgspec

from ..runtime.errors import UsageError
from .decoding import decode_options, decoding_options, model_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..runtime.evaluation.questions import Fields, QuestionSet
    from ..runtime.evaluation.row_file import Run
    from ..runtime.evaluation.rows import EvalRow, Header
    from ..runtime.evaluation.run import Answer
    from ..runtime.manifest import PromptId
    from ..runtime.ort import Provider

Format = Literal["md", "json"]
FORMATS: tuple[Format, ...] = get_args(Format)
PROMPTS = ("card", "paper", "question")
_NAMED = re.compile(r"\A([A-Za-z0-9][A-Za-z0-9 ._+-]{0,63})=(.+)\Z", re.DOTALL)

_RANGE = re.compile(r"\A([0-9]{1,9})(?:-([0-9]{1,9}))?\Z")


def _range(_ctx: click.Context, _param: click.Parameter, value: str | None) -> slice:
    """The rows from the first to the second number, both included and counted from 1; or one row."""
    if value is None:
        return slice(None)
    found = _RANGE.match(value)
    first, last = (0, 0) if found is None else (int(found[1]), int(found[2] or found[1]))
    if not 1 <= first <= last:
        raise click.BadParameter(f"{value[:40]!r} is no range of rows such as 1-100")
    return slice(first - 1, last)


_FORMAT = click.option("--format", "form", type=click.Choice(FORMATS), default="md", show_default=True)


@click.group("eval", invoke_without_command=True)
@click.option(
    "--data",
    multiple=True,
    metavar="[NAME=]FILE",
    help="Test set: tsv, csv, or JSON Lines; several times for several.",
)
@click.option("--out", type=click.Path(path_type=Path), help="File of rows; one that is there is gone on with.")
@click.option("--rows", "asked", callback=_range, metavar="A-B", help="Ask these rows of each set.  [default: all]")
@click.option("--outputs", type=click.Path(), help="Score these texts, JSON Lines, in place of a model's.")
@click.option("--output-field", metavar="PATH", help="Where a row of --outputs has its text.  [default: usual names]")
@click.option(
    "--match",
    type=click.Choice(["order", "id"]),
    default="order",
    show_default=True,
    help="How rows of --outputs belong to questions.",
)
@click.option("--question-field", metavar="NAME", help="Of the sets.  [default: the published names]")
@click.option("--answer-field", metavar="NAME", help="Of the sets.  [default: the published names]")
@click.option("--kind-field", metavar="NAME", help="Kind of distractor.  [default: augmentation_type]")
@click.option("--gold-field", metavar="NAME", help="Gold graph.  [default: graph]")
@click.option("--id-field", metavar="NAME", help="The row's own name.  [default: custom_id or id]")
@model_options
@click.option("--prompt", type=click.Choice(PROMPTS), help="Another template than the bundle's own.")
@decoding_options
@_FORMAT
@click.pass_context
def command(
    ctx: click.Context,
    /,
    data: tuple[str, ...],
    out: Path | None,
    asked: slice,
    outputs: str | None,
    output_field: str | None,
    match: str,
    question_field: str | None,
    answer_field: str | None,
    kind_field: str | None,
    gold_field: str | None,
    id_field: str | None,
    form: Format,
    **model: Any,
) -> None:
    """Answer test sets, compare with the gold answers, and say how often that is right.

    Every question is a row of --out before the next is asked; after an interruption the same command goes on. The
    summary is on stdout. docs/evaluation.md says what is counted.
    """
    if ctx.invoked_subcommand is not None:
        return
    if not data or out is None:
        raise UsageError("give a test set with --data, and a file for the rows with --out")
    if outputs is None and (output_field is not None or match != "order"):
        raise UsageError("--output-field and --match are for --outputs")
    if outputs is not None and (model["bundle"] is not None or model["samples"] is not None):
        raise UsageError("--outputs scores texts that are there: leave out --bundle and --samples")
    from ..runtime.evaluation.questions import Fields
    from ..runtime.evaluation.run import check_sets

    fields = Fields(question_field, answer_field, kind_field, gold_field, id_field)
    sets = [_read_set(item, fields) for item in data]
    check_sets(sets)
    if outputs is None:
        _ask(sets, out, asked, **model)
    else:
        _score(sets, out, asked, outputs, output_field, by_id=match == "id")
    _print_summary(out, form)


def _read_set(item: str, fields: Fields) -> QuestionSet:
    from ..runtime.evaluation.questions import read_questions

    named = None if Path(item).exists() else _NAMED.match(item)
    name, path = (None, item) if named is None else (named[1], named[2])
    return read_questions(Path(path), fields, name=name)


def _ask(
    sets: Sequence[QuestionSet],
    out: Path,
    asked: slice,
    *,
    bundle: Path | None,
    provider: str,
    threads: int | None,
    verify: bool,
    prompt: PromptId | None,
    samples: int | None,
    **decoding: Any,
) -> None:
    """Lets a model answer."""
    options = decode_options(decoding, several=samples is not None)
    from ..runtime.bench.provenance import provenance
    from ..runtime.bundle import Bundle, template_text
    from ..runtime.evaluation.run import make_header, model_answers, model_settings
    from ..runtime.solver import Solver, demo_bundle

    opened = Bundle.open(bundle or demo_bundle(), verify=verify, remember=True)
    if prompt is not None:
        opened = replace(opened, prompt_template=template_text(prompt))
    with Solver.open(opened, provider=cast("Provider", provider), threads=threads) as solver:
        settings = model_settings(
            solver,
            sets,
            options,
            samples,
            prompt=prompt or opened.manifest.prompt,
            provider=provider,
            threads=threads,
        )
        header = make_header(settings, provenance())
        _fill(sets, out, asked, header, model_answers(solver, options, samples))


def _score(sets: Sequence[QuestionSet], out: Path, asked: slice, path: str, field: str | None, *, by_id: bool) -> None:
    """Takes the texts of a file for the answers. Needs no model and no onnxruntime."""
    from ..runtime.evaluation.rows import Settings
    from ..runtime.evaluation.run import make_header, set_entries
    from ..runtime.files import sha256_of
    from .outputs import given_answers, read_outputs

    answers = given_answers(sets, read_outputs(path, field), path, by_id=by_id)
    try:
        digest = sha256_of(Path(path))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; --outputs takes a file") from None
    _fill(sets, out, asked, make_header(Settings(sets=set_entries(sets), outputs_sha256=digest)), answers)


def _fill(sets: Sequence[QuestionSet], out: Path, asked: slice, header: Header, answer: Answer) -> None:
    """Answers what is not in the file yet. An interruption loses the question that is being answered, no more."""
    from ..runtime.evaluation.row_file import RowFile
    from ..runtime.evaluation.run import evaluate, missing

    questions = [question for item in sets for question in item.questions[asked]]
    try:
        with RowFile(out, header) as file:
            left = missing(questions, file)
            with _progress(len(file.rows), len(left)) as advance:
                for row in evaluate(left, answer, file):
                    advance(row)
    except KeyboardInterrupt:
        click.echo(f"eval: stopped; {out} has all rows so far, and the same command goes on from there", err=True)
        raise


@contextmanager
def _progress(there: int, left: int) -> Iterator[Callable[[EvalRow], None]]:
    """A bar on stderr over the rows that are ``left``, with the time that they take; none where it is no terminal."""
    if there and left:
        click.echo(f"eval: {there:,} rows are there already, {left:,} are left", err=True)
    if not sys.stderr.isatty():
        yield lambda _row: None
        return
    right = [0, 0]
    bar: click._termui_impl.ProgressBar[EvalRow] = click.progressbar(
        length=left, file=sys.stderr, item_show_func=lambda _row: f"{right[0]} of {right[1]} right"
    )
    with bar as shown:

        def advance(row: EvalRow) -> None:
            right[0] += row.outcome == "correct"
            right[1] += 1
            shown.update(1, row)

        yield advance


def _print_summary(path: Path, form: Format) -> None:
    from ..runtime.evaluation.row_file import read_run
    from ..runtime.evaluation.summary import summarise
    from ..runtime.evaluation.words import summary_text

    found = summarise(read_run(path))
    click.echo(_json(found) if form == "json" else summary_text(found), nl=False)


@command.command("summary")
@click.argument("rows", type=click.Path(path_type=Path))
@_FORMAT
def summary_command(rows: Path, form: Format) -> None:
    """Print the summary of ROWS, a file that `dagger-edge eval --out` wrote, complete or not."""
    _print_summary(rows, form)


@command.command("compare")
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option("--report", type=click.Path(path_type=Path), help="Write a page (.html) with the graphs that changed.")
@_FORMAT
def compare_command(before: Path, after: Path, report: Path | None, form: Format) -> None:
    """Compare BEFORE and AFTER, the rows of two runs over the same test sets, question by question.

    docs/evaluation.md says what the figures are.
    """
    if report is not None and report.suffix != ".html":
        raise UsageError(f"--report {report}: a page's name ends with .html")
    from ..runtime.evaluation.compare import compare
    from ..runtime.evaluation.row_file import read_run
    from ..runtime.evaluation.words import comparison_text

    runs: tuple[Run, Run] = (read_run(before), read_run(after))
    found = compare(*runs)
    if report is not None:
        from ..runtime.evaluation.page import comparison_page

        report.write_text(comparison_page(*runs), encoding="utf-8")
    click.echo(_json(found) if form == "json" else comparison_text(found), nl=False)


def _json(document: msgspec.Struct) -> str:
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"
