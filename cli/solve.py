"""``dagger-edge solve``: a Bengali word problem in, its graph and answer out."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
import msgspec

from ..runtime.errors import UsageError
from ..runtime.prompt import MAX_QUESTION_CHARS, clean_question
from .decoding import decode_options, decoding_options, model_options
from .inputs import read_text
from .text import render_result, render_vote, step_line

if TYPE_CHECKING:
    from ..runtime.options import DecodeOptions
    from ..runtime.ort import Provider
    from ..runtime.solution import Solution
    from ..runtime.solver import Solver
    from ..runtime.vote import Vote

# A character of Bengali is three bytes in UTF-8; whatever is longer is refused unread.
_MAX_INPUT_BYTES = MAX_QUESTION_CHARS * 4


@click.command()
@click.argument("question", required=False)
@click.option("--file", "path", type=click.Path(), help="Read the question from a UTF-8 text file.")
@model_options
@decoding_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--graph", "graph_only", is_flag=True, help="Print the graph alone, as `dagger-edge run` reads it.")
@click.option("--trace/--no-trace", default=True, show_default=True, help="Show every step with its values.")
@click.option(
    "--stream/--no-stream", default=None, help="Show nodes on stderr as they close.  [default: on a terminal]"
)
def command(
    question: str | None,
    path: str | None,
    bundle: Path | None,
    provider: str,
    threads: int | None,
    samples: int | None,
    *,
    as_json: bool,
    graph_only: bool,
    trace: bool,
    stream: bool | None,
    verify: bool,
    **decoding: Any,
) -> None:
    """Answer QUESTION, a Bengali word problem; `-` reads it from standard input.

    The answer is what running the model's graph gives, never a number that the model wrote. The output is held to the
    grammar of graphs, unless --free. Exit code 1: the graph has no answer, or with --free there is no graph.
    """
    if as_json and graph_only:
        raise UsageError("--json holds the graph already: give --json or --graph, not both")
    # Before the bundle is read, which may be gigabytes.
    text = clean_question(_read_question(question, path))
    options = decode_options(decoding, several=samples is not None)
    from ..runtime.solution import NoAnswerError
    from ..runtime.solver import Solver, demo_bundle

    shows = sys.stderr.isatty() if stream is None else stream
    output = _Output(as_json=as_json, graph_only=graph_only, trace=trace and not (shows and sys.stdout.isatty()))
    with Solver.open(
        bundle or demo_bundle(), provider=cast("Provider", provider), threads=threads, verify=verify
    ) as solver:
        try:
            if samples is None:
                output.print_solution(_solve(solver, text, options, shows=shows))
            else:
                output.print_vote(solver.vote(text, samples, options))
        except NoAnswerError as error:
            click.echo(f"the model wrote:\n{error.text}\n", err=True)
            raise


def _solve(solver: Solver, question: str, options: DecodeOptions, *, shows: bool) -> Solution:
    """The solution; with ``shows``, nodes are printed on stderr as they close."""
    from ..runtime.events import NodeClosed, Solved

    for event in solver.stream(question, options):
        if isinstance(event, Solved):
            return event.solution
        if shows and isinstance(event, NodeClosed):
            click.echo(step_line(event.step, distractor=event.node.distractor), err=True)
    raise AssertionError("a stream ends with its solution")


@dataclass(frozen=True, slots=True)
class _Output:
    """What goes to stdout."""

    as_json: bool
    graph_only: bool
    trace: bool

    def print_solution(self, solution: Solution) -> None:
        self._warn(solution)
        if self.as_json:
            click.echo(msgspec.json.encode(solution).decode())
        elif self.graph_only:
            click.echo(solution.graph.to_json())
        else:
            click.echo(render_result(solution.graph, solution.result, trace=self.trace))

    def print_vote(self, vote: Vote) -> None:
        for failure in vote.failures:
            click.echo(f"warning: a sample has no answer: {failure}", err=True)
        self._warn(vote.solution)
        if self.as_json:
            click.echo(msgspec.json.encode(vote).decode())
        elif self.graph_only:
            click.echo(vote.solution.graph.to_json())
        else:
            click.echo(render_vote(vote, trace=self.trace))

    def _warn(self, solution: Solution) -> None:
        for fix in solution.result.fixes:
            click.echo(f"repaired: {fix.message}", err=True)
        for warning in solution.warnings:
            click.echo(f"warning: {warning.message}", err=True)


def _read_question(question: str | None, path: str | None) -> str:
    if question is not None and path is not None:
        raise UsageError("give one question: as an argument or with --file, not both")
    if path is not None:
        return read_text(path, _MAX_INPUT_BYTES)
    if question is None:
        raise UsageError("give one question: as an argument, with --file, or `-` for standard input")
    return read_text("-", _MAX_INPUT_BYTES) if question == "-" else question
