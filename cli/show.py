"""``dagger-edge show``: a graph as a picture, a page, a flowchart or a tree; or many graphs, a drawing each."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import click
import msgspec

from ..runtime.errors import UsageError
from ..runtime.graph import ExecutionError, Graph, Result, execute, read
from ..runtime.graph.parse import MAX_TEXT_BYTES
from ..runtime.graph.show import to_html, to_mermaid, to_svg, to_text
from .bulk import bulk_options, process, row_fields
from .documents import FORMATS, Format, Show
from .inputs import read_text
from .rows import Row, id_text
from .text import answer_or_failure

_SUFFIXES: dict[Format, str] = {"text": "txt", "mermaid": "mmd", "svg": "svg", "html": "html"}
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_MAX_ID_CHARS = 80


@click.command()
@click.argument("path", metavar="GRAPH.json", type=click.Path())
@click.option(
    "--format",
    "kind",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="A tree for the terminal, a Mermaid flowchart, a picture, or a page that needs nothing else.",
)
@click.option("--question", help="The question, to stand above the picture or page, or above every row's.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; with --lines one a line.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="With --lines: write a file a row into this new or empty folder, named by line and id.",
)
@bulk_options(question=True)
def command(
    path: str,
    *,
    kind: str,
    question: str | None,
    as_json: bool,
    out: Path | None,
    as_lines: bool | None,
    text_field: str | None,
    id_field: str | None,
    question_field: str | None,
) -> None:
    """Draw the graph in GRAPH.json; `-` reads it from standard input. The drawing is on stdout.

    What the answer depends on, and what is only a distractor, is visibly apart. A graph that has no answer is
    drawn without values, and the reason is on stderr. Exit code 1: there is no graph in it.

    With --lines the input is JSON Lines, a text or graph a row. The drawings go into the files of --out, into the
    rows of --json, or, as trees, to stdout.
    """
    style = cast("Format", kind)
    fields = row_fields(path, as_lines=as_lines, text=text_field, id=id_field, question=question_field)
    if fields is None:
        if out is not None:
            raise UsageError("--out is for many graphs: add --lines, or redirect the output to a file")
        _show_one(path, style, question, as_json=as_json)
        return
    if out is None and not as_json and style != "text":
        raise UsageError(f"many drawings as {style} on one output: add --out FOLDER or --json")
    if out is not None:
        _make_folder(out)

    def serve(line: int, row: Row) -> Show:
        drawn = draw(row.text(), style, question if question is not None else row.question())
        return drawn if out is None else _store(drawn, out, line, id_text(row.id))

    process(path, fields, serve, _describe, as_json=as_json)


def draw(text: str | bytes, style: Format, question: str | None) -> Show:
    """The graph in ``text`` as a drawing, without values where it has no answer. Raises GraphParseError."""
    reading = read(text)
    result, failure = None, None
    try:
        result = execute(reading.graph)
    except ExecutionError as error:
        failure = str(error)
    return Show(
        format=style,
        level=reading.level,
        answer=None if result is None else result.answer,
        failure=failure,
        drawing=_drawing(reading.graph, result, style, question),
    )


def _drawing(graph: Graph, result: Result | None, style: Format, question: str | None) -> str:
    drawings: dict[Format, Callable[[Graph, Result | None], str]] = {
        "text": to_text,
        "mermaid": to_mermaid,
        "svg": partial(to_svg, question=question),
        "html": partial(to_html, question=question),
    }
    return drawings[style](graph, result)


def _show_one(path: str, style: Format, question: str | None, *, as_json: bool) -> None:
    shown = draw(read_text(path, MAX_TEXT_BYTES), style, question)
    if shown.failure is not None:
        click.echo(f"warning: no answer: {shown.failure}", err=True)
    click.echo(msgspec.json.encode(shown).decode() if as_json else shown.drawing)


def _make_folder(out: Path) -> None:
    """Make ``out``, unless it is an empty folder: no file of anybody's is ever overwritten. Raises UsageError."""
    try:
        out.mkdir(exist_ok=True)
        taken = next(out.iterdir(), None) is not None
    except OSError as error:
        raise UsageError(f"--out {click.format_filename(out)}: {error.strerror}") from None
    if taken:
        raise UsageError(f"--out {click.format_filename(out)}: it is not empty: name a new folder")


def _store(shown: Show, out: Path, line: int, row_id: str) -> Show:
    """Write the drawing into ``out``: what is returned names the file instead."""
    # The line makes it unique; of the id only what cannot lead anywhere.
    parts = [f"{line:06d}", _UNSAFE.sub("_", row_id).strip("_")[:_MAX_ID_CHARS]]
    path = out / f"{'-'.join(filter(None, parts))}.{_SUFFIXES[shown.format]}"
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(f"{shown.drawing}\n")
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return msgspec.structs.replace(shown, drawing=msgspec.UNSET, file=path.name)


def _describe(shown: Show) -> str:
    told = answer_or_failure(shown)
    return f"{told}\t{shown.file}" if shown.file else f"{told}\n{shown.drawing}\n"
