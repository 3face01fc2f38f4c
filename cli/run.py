"""``dagger-edge run``: a graph in, its answer out. Needs no model."""

from __future__ import annotations

from typing import cast

import click
import msgspec

from ..runtime.graph import Graph, execute
from ..runtime.graph.parse import MAX_TEXT_BYTES
from ..runtime.graph.schema import Ties
from .inputs import read_text
from .text import render_result


@click.command()
@click.argument("path", metavar="GRAPH.json", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--exact", is_flag=True, help="Compute on rational numbers, not on doubles.")
@click.option(
    "--ties",
    type=click.Choice(["even", "away"]),
    default="even",
    show_default=True,
    help="How round takes halves: to the even neighbour, or away from zero.",
)
@click.option("--trace/--no-trace", default=True, show_default=True, help="Show every step with its values.")
def command(path: str, *, as_json: bool, exact: bool, ties: str, trace: bool) -> None:
    """Execute the graph in GRAPH.json; `-` reads it from standard input.

    The text is one JSON graph, in a ```json fence or not. Exit code 1: it is no well-formed graph, or it has
    no answer.
    """
    graph = Graph.parse(read_text(path, MAX_TEXT_BYTES))
    result = execute(graph, exact=exact, ties=cast("Ties", ties))
    for warning in result.warnings:
        click.echo(f"warning: {warning.message}", err=True)
    click.echo(msgspec.json.encode(result).decode() if as_json else render_result(graph, result, trace=trace))
