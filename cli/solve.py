"""``dagger-edge solve``: a Bengali word problem in, its graph and answer out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click
import msgspec

from ..runtime.errors import UsageError
from ..runtime.prompt import MAX_QUESTION_CHARS, clean_question
from .inputs import read_text
from .text import render_result

if TYPE_CHECKING:
    from ..runtime.ort import Provider
    from ..runtime.solver import Solution

# A character of Bengali is three bytes in UTF-8; whatever is longer is refused unread.
_MAX_INPUT_BYTES = MAX_QUESTION_CHARS * 4


@click.command()
@click.argument("question", required=False)
@click.option("--file", "path", type=click.Path(), help="Read the question from a UTF-8 text file.")
@click.option("--bundle", type=click.Path(path_type=Path), help="Bundle to use.  [default: the demo in the package]")
@click.option("--provider", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="Threads of one operator.  [default: one per core]")
@click.option(
    "--max-new-tokens",
    type=click.IntRange(1, 8192),
    default=1024,
    show_default=True,
    help="Limit of the output.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--graph", "graph_only", is_flag=True, help="Print the graph alone, as `dagger-edge run` reads it.")
@click.option("--trace/--no-trace", default=True, show_default=True, help="Show every step with its values.")
@click.option("--verify/--no-verify", default=True, help="Compare the bundle's files with its manifest.")
def command(
    question: str | None,
    path: str | None,
    bundle: Path | None,
    provider: str,
    threads: int | None,
    max_new_tokens: int,
    as_json: bool,
    graph_only: bool,
    trace: bool,
    verify: bool,
) -> None:
    """Answer QUESTION, a Bengali word problem; `-` reads it from standard input.

    The answer is what running the model's graph gives, never a number that the model wrote. Exit code 1: the
    model gave no usable graph.
    """
    if as_json and graph_only:
        raise UsageError("--json holds the graph already: give --json or --graph, not both")
    # Before the bundle is read, which may be gigabytes.
    text = clean_question(_read_question(question, path))
    from ..runtime.solver import NoAnswerError, Solver, demo_bundle

    with Solver.open(
        bundle or demo_bundle(), provider=cast("Provider", provider), threads=threads, verify=verify
    ) as solver:
        try:
            solution = solver.solve(text, max_new_tokens=max_new_tokens)
        except NoAnswerError as error:
            click.echo(f"the model wrote:\n{error.text}\n", err=True)
            raise
    for warning in solution.warnings:
        click.echo(f"warning: {warning.message}", err=True)
    click.echo(_render(solution, as_json=as_json, graph_only=graph_only, trace=trace))


def _render(solution: Solution, *, as_json: bool, graph_only: bool, trace: bool) -> str:
    if as_json:
        return msgspec.json.encode(solution).decode()
    if graph_only:
        return solution.graph.to_json()
    return render_result(solution.graph, solution.result, trace=trace)


def _read_question(question: str | None, path: str | None) -> str:
    if question is not None and path is not None:
        raise UsageError("give one question: as an argument or with --file, not both")
    if path is not None:
        return read_text(path, _MAX_INPUT_BYTES)
    if question is None:
        raise UsageError("give one question: as an argument, with --file, or `-` for standard input")
    return read_text("-", _MAX_INPUT_BYTES) if question == "-" else question
