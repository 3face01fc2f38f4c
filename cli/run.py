"""``dagger-edge run``: a graph in, its answer out. Needs no model."""

from __future__ import annotations

from typing import cast

import click
import msgspec

from ..runtime.errors import UsageError
from ..runtime.graph import Graph, Reading, execute, read, sensitivity, with_values
from ..runtime.graph.node import Number, Ties
from ..runtime.graph.numerals import decimal_value, read_written_number
from ..runtime.graph.parse import MAX_TEXT_BYTES
from .inputs import read_text
from .text import render_influences, render_result


@click.command()
@click.argument("path", metavar="GRAPH.json", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
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
) -> None:
    """Execute the graph in GRAPH.json; `-` reads it from standard input.

    The text is a JSON graph as a model wrote it: what can be repaired without a guess is, and each fix is told on
    stderr. Exit code 1: there is no graph in it, or the graph has no answer.
    """
    text = read_text(path, MAX_TEXT_BYTES)
    reading = Reading(Graph.parse(text), "strict") if strict else read(text)
    graph = with_values(reading.graph, dict(map(_setting, settings)))
    rounding = cast("Ties", ties)
    result = execute(graph, exact=exact, ties=rounding)
    result = msgspec.structs.replace(result, level=reading.level, fixes=reading.fixes)
    influences = sensitivity(graph, ties=rounding) if with_influences else None
    for fix in reading.fixes:
        click.echo(f"repaired: {fix.node + ': ' if fix.node else ''}{fix.message}", err=True)
    for warning in result.warnings:
        click.echo(f"warning: {warning.message}", err=True)
    if as_json:
        document = msgspec.to_builtins(result)
        if influences is not None:
            document["sensitivity"] = msgspec.to_builtins(influences)
        click.echo(msgspec.json.encode(document).decode())
        return
    click.echo(render_result(graph, result, trace=trace))
    if influences is not None:
        click.echo(render_influences(influences))


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
