"""``dagger-edge check``: what there is to say about a graph, and about it as an answer to its question."""

from __future__ import annotations

import click
import msgspec

from ..runtime.graph import ExecutionError, check_flags, check_question, execute, read
from ..runtime.graph.parse import MAX_TEXT_BYTES
from .inputs import read_text


@click.command()
@click.argument("path", metavar="GRAPH.json", type=click.Path())
@click.option("--question", help="The question that the graph is to answer.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(path: str, *, question: str | None, as_json: bool) -> None:
    """Check the graph in GRAPH.json; `-` reads it from standard input.

    Says at which level it was read (strict or repaired), each fix, and each warning: flags that contradict the
    graph, and with --question constants that the question does not have, numbers left out, answers that cannot be.
    Warnings are no errors: exit code 0. Exit code 1: there is no graph in it.
    """
    reading = read(read_text(path, MAX_TEXT_BYTES))
    graph = reading.graph
    try:
        result, failure = execute(graph), None
        warnings = result.warnings
    except ExecutionError as error:
        result, failure = None, str(error)
        warnings = check_flags(graph)
    if question is not None:
        warnings = (*warnings, *check_question(graph, question, result))
    if as_json:
        report = {
            "level": reading.level,
            "fixes": reading.fixes,
            "warnings": warnings,
            "answer": None if result is None else result.answer,
            "failure": failure,
        }
        click.echo(msgspec.json.encode(report).decode())
        return
    lines = [f"level: {reading.level}"]
    lines += [f"fix {fix.code}: {fix.node + ': ' if fix.node else ''}{fix.message}" for fix in reading.fixes]
    lines += [f"warning {warning.code}: {warning.message}" for warning in warnings]
    lines.append(f"answer: {result.answer_text}" if result is not None else f"no answer: {failure}")
    click.echo("\n".join(lines))
