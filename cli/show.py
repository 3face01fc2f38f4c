"""``dagger-edge show``: a graph as a picture, a page, a flowchart or a tree."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import click

from ..runtime.graph import ExecutionError, Graph, Result, execute, read
from ..runtime.graph.parse import MAX_TEXT_BYTES
from ..runtime.graph.show import to_html, to_mermaid, to_svg, to_text
from .inputs import read_text


@click.command()
@click.argument("path", metavar="GRAPH.json", type=click.Path())
@click.option(
    "--format",
    "kind",
    type=click.Choice(["text", "mermaid", "svg", "html"]),
    default="text",
    show_default=True,
    help="A tree for the terminal, a Mermaid flowchart, a picture, or a page that needs nothing else.",
)
@click.option("--question", help="The question, to stand above the picture or page.")
def command(path: str, *, kind: str, question: str | None) -> None:
    """Draw the graph in GRAPH.json; `-` reads it from standard input. The drawing is on stdout.

    What the answer depends on, and what is only a distractor, is visibly apart. A graph that has no answer is
    drawn without values, and the reason is on stderr. Exit code 1: there is no graph in it.
    """
    graph = read(read_text(path, MAX_TEXT_BYTES)).graph
    result = None
    try:
        result = execute(graph)
    except ExecutionError as error:
        click.echo(f"warning: no answer: {error}", err=True)
    drawings: dict[str, Callable[[Graph, Result | None], str]] = {
        "text": to_text,
        "mermaid": to_mermaid,
        "svg": partial(to_svg, question=question),
        "html": partial(to_html, question=question),
    }
    click.echo(drawings[kind](graph, result))
