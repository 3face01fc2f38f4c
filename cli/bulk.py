"""Many graphs, one a line: what `run`, `check` and `show` share when they read JSON Lines.

One line of output for a line of input, in order and at once; a bad row is a row of the output, never the end.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import PurePath
from typing import Any, get_args

import click
import msgspec
from msgspec import UNSET, Raw, UnsetType

from ..runtime.errors import DaggerEdgeError, UsageError
from ..runtime.graph import ExecutionError, GraphParseError
from ..runtime.graph.errors import printable
from .documents import DocumentT, ErrorCode, ErrorRow, Outcome, ResultRow, RowFailure
from .inputs import Source
from .rows import Fields, Row, RowError, id_text, read_lines, read_row

_SUFFIXES = frozenset({".jsonl", ".ndjson"})

_LINES = click.option(
    "--lines/--no-lines",
    "as_lines",
    default=None,
    help="Read JSON Lines: many graphs, one a line.  [default: for files named .jsonl or .ndjson]",
)
_TEXT = click.option(
    "--field",
    "text_field",
    metavar="PATH",
    help="With --lines: where a row has its text or graph, as in output or choices.0.text.  [default: the usual names]",
)
_ID = click.option(
    "--id-field",
    metavar="PATH",
    help="With --lines: where a row has its id.  [default: custom_id, id or request_id]",
)
_QUESTION = click.option(
    "--question-field",
    metavar="PATH",
    help="With --lines: where a row has its question, which every row must then have.  [default: question, if there]",
)


def bulk_options(*, question: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The options of a command that reads JSON Lines too; ``question`` adds the one of the rows' questions."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        for option in (*([_QUESTION] if question else []), _ID, _TEXT, _LINES):
            function = option(function)
        return function

    return decorate


def row_fields(path: str, *, as_lines: bool | None, **paths: str | None) -> Fields | None:
    """Where the rows of ``path`` have their parts (``paths``, by the names of `Fields`); None for a single graph.

    Raises:
        UsageError: a single graph, and an option that is for rows.
    """
    if as_lines is None:
        as_lines = PurePath(path).suffix.lower() in _SUFFIXES
    if as_lines:
        return Fields(**paths)
    if any(value is not None for value in paths.values()):
        raise UsageError("--field, --id-field and --question-field are for rows: add --lines")
    return None


def process(
    path: str,
    fields: Fields,
    serve: Callable[[int, Row], DocumentT],
    describe: Callable[[DocumentT], str],
    *,
    as_json: bool,
) -> None:
    """Serve every row of ``path`` and print what became of it; a summary on stderr.

    Args:
        path: a file of JSON Lines, or ``-``.
        fields: where a row has its parts.
        serve: the document for a row and its line number; any DaggerEdgeError is the row's own.
        describe: the document as text, to stand behind line, id and outcome where ``as_json`` is not set.
        as_json: print JSON Lines.

    Raises:
        UsageError: the input cannot be read.
        Exit: with code 1, where a row has no result.
    """
    counts: Counter[Outcome] = Counter()
    errors = 0
    encoder = msgspec.json.Encoder()
    with Source(path) as source:
        for number, line in read_lines(source, _flush):
            row_id: Raw | UnsetType = UNSET
            try:
                row = read_row(line, fields)
                row_id = row.id
                document = serve(number, row)
            except DaggerEdgeError as error:
                errors += 1
                failure = row_failure(error)
                outcome, text = _outcome(failure.code), printable(failure.message)
                out: Any = ErrorRow(line=number, id=row_id, error=failure)
            else:
                outcome, text = document.outcome, "" if as_json else describe(document)
                out = ResultRow(line=number, id=row_id, result=document)
            counts[outcome] += 1
            if not as_json:
                _write("\t".join((str(number), printable(id_text(row_id)), outcome, text)))
            else:
                _write(encoder.encode(out).decode())
    _flush()
    told = ", ".join(f"{counts[outcome]} {outcome}" for outcome in get_args(Outcome))
    click.echo(f"{counts.total()} rows: {told}", err=True)
    if errors:
        raise click.exceptions.Exit(1)


def row_failure(error: DaggerEdgeError) -> RowFailure:
    """Why there is no document. Errors of other kinds than of graphs, rows and settings are raised again."""
    node, field = getattr(error, "node", None), getattr(error, "field", None)
    return RowFailure(code=_code(error), node=node, field=field, message=str(error))


def _code(error: DaggerEdgeError) -> ErrorCode:
    match error:
        case RowError():
            return error.code
        case GraphParseError():
            return "no_graph"
        case ExecutionError():
            return "no_value"
        case UsageError():
            return "setting"
    raise error


def _outcome(code: ErrorCode) -> Outcome:
    if code == "no_graph":
        return "rejected"
    return "failed" if code in {"no_value", "setting"} else "unreadable"


def _write(text: str) -> None:
    # Not click.echo, which flushes after every line.
    if sys.stdout is not None:
        sys.stdout.write(f"{text}\n")


def _flush() -> None:
    """Let go of what is written, before the next row is waited for: whoever reads it may be what writes that row."""
    if sys.stdout is not None:
        sys.stdout.flush()
