"""``dagger-edge check``: what there is to say about a graph, and about it as an answer to its question."""

from __future__ import annotations

import click
import msgspec

from ..runtime.graph import ExecutionError, check_flags, check_question, execute, read
from ..runtime.graph.parse import MAX_TEXT_BYTES
from .bulk import bulk_options, process, row_fields
from .documents import Check
from .inputs import read_text
from .text import answer_or_failure, check_line


@click.command()
@click.argument("path", metavar="GRAPH.json", type=click.Path())
@click.option("--question", help="The question that the graph, or every row, is to answer.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; with --lines one a line.")
@bulk_options(question=True)
def command(
    path: str,
    *,
    question: str | None,
    as_json: bool,
    as_lines: bool | None,
    text_field: str | None,
    id_field: str | None,
    question_field: str | None,
) -> None:
    """Check the graph in GRAPH.json; `-` reads it from standard input.

    Says at which level it was read (strict or repaired), each fix, and each warning: flags that contradict the
    graph, and with --question constants that the question does not have, numbers left out, answers that cannot be.
    Warnings are no errors: exit code 0. Exit code 1: there is no graph in it.

    With --lines the input is JSON Lines, a text or graph a row, and its question under "question" where it has one.
    """
    fields = row_fields(path, as_lines=as_lines, text=text_field, id=id_field, question=question_field)
    if fields is not None:
        process(
            path,
            fields,
            lambda _, row: _check(row.text(), question if question is not None else row.question()),
            check_line,
            as_json=as_json,
        )
        return
    report = _check(read_text(path, MAX_TEXT_BYTES), question)
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
        return
    lines = [f"level: {report.level}"]
    lines += [f"fix {fix.code}: {fix.node + ': ' if fix.node else ''}{fix.message}" for fix in report.fixes]
    lines += [f"warning {warning.code}: {warning.message}" for warning in report.warnings]
    click.echo("\n".join([*lines, answer_or_failure(report)]))


def _check(text: str | bytes, question: str | None) -> Check:
    """What there is to say about the graph in ``text``. Raises GraphParseError."""
    reading = read(text)
    graph = reading.graph
    try:
        result, failure = execute(graph), None
        warnings = result.warnings
    except ExecutionError as error:
        result, failure = None, str(error)
        warnings = check_flags(graph)
    if question is not None:
        warnings = (*warnings, *check_question(graph, question, result))
    return Check(
        level=reading.level,
        fixes=reading.fixes,
        warnings=warnings,
        answer=None if result is None else result.answer,
        failure=failure,
    )
