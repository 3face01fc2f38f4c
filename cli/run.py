"""``dagger-edge run``: a graph in, its answer out; or many graphs, one a line. Needs no model."""

from __future__ import annotations

from typing import cast

import click
import msgspec

from ..runtime.errors import UsageError
from ..runtime.graph.node import Number, Ties
from ..runtime.graph.numerals import decimal_value, read_written_number
from ..runtime.graph.parse import MAX_TEXT_BYTES
from .bulk import bulk_options, process, row_fields
from .inputs import read_text
from .runner import Runner
from .text import render_influences, render_result, run_line


@click.command()
@click.argument("path", metavar="GRAPH.json", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; with --lines one a line.")
@click.option("--exact", is_flag=True, help="Compute on rational numbers, not on doubles.")
@click.option("--strict", is_flag=True, help="Take no text that needs a repair.")
@click.option(
    "--ties",
    type=click.Choice(["even", "away"]),
    default="even",
    show_default=True,
    help="How round takes halves: to the even neighbour, or away from zero.",
)
@click.option("--set", "settings", metavar="ID=NUMBER", multiple=True, help="What if this constant were that number?")
@click.option("--sensitivity", "with_influences", is_flag=True, help="Show which constants move the answer.")
@click.option("--trace/--no-trace", default=True, show_default=True, help="Show every step with its values.")
@bulk_options(question=False)
def command(
    path: str,
    *,
    as_json: bool,
    exact: bool,
    strict: bool,
    ties: str,
    settings: tuple[str, ...],
    with_influences: bool,
    trace: bool,
    as_lines: bool | None,
    text_field: str | None,
    id_field: str | None,
) -> None:
    """Execute the graph in GRAPH.json; `-` reads it from standard input.

    The text is a JSON graph as a model wrote it: what can be repaired without a guess is, and each fix is told on
    stderr. Exit code 1: there is no graph in it, or the graph has no answer.

    With --lines the input is JSON Lines, a text or graph a row, and so is the output with --json: a row for every
    row, in order, with its line, its id, and either the result or the error. Exit code 1: some row has no answer.
    """
    runner = Runner(exact, strict, cast("Ties", ties), dict(map(_setting, settings)), with_influences)
    fields = row_fields(path, as_lines=as_lines, text=text_field, id=id_field)
    if fields is not None:
        if with_influences and not as_json:
            raise UsageError("--sensitivity of many graphs is for --json")
        process(path, fields, lambda _, row: runner.run(row.text())[1], run_line, as_json=as_json)
        return
    graph, document = runner.run(read_text(path, MAX_TEXT_BYTES))
    for fix in document.fixes:
        click.echo(f"repaired: {fix.node + ': ' if fix.node else ''}{fix.message}", err=True)
    for warning in document.warnings:
        click.echo(f"warning: {warning.message}", err=True)
    if as_json:
        click.echo(msgspec.json.encode(document).decode())
        return
    click.echo(render_result(graph, document, trace=trace))
    if document.sensitivity:
        click.echo(render_influences(document.sensitivity))


def _setting(text: str) -> tuple[str, Number]:
    """``n1=12``: a node's id and the number it is to have. Raises UsageError."""
    name, sign, number = text.rpartition("=")
    if not sign or not name:
        raise UsageError(f'--set "{text}": write the id of a constant, an equals sign and a number, as in n1=12')
    try:
        value = decimal_value(read_written_number(number))
    except ValueError as error:
        raise UsageError(f'--set "{text}": {error}') from None
    if value is None:
        raise UsageError(f'--set "{text}": no double is exactly that number')
    return name, value
