"""A run as text for people: the answer in both scripts, the steps, the distractors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..runtime.graph import Graph, Influence, Result, Step, format_number, to_bengali_digits
from ..runtime.graph.errors import printable
from .documents import Check, Run, Show

if TYPE_CHECKING:
    from ..runtime.vote import Vote


def render_result(graph: Graph, result: Result, *, trace: bool = True) -> str:
    """``result`` of ``graph`` as lines without a final newline; ``trace`` adds a line for every step.

    Labels and ids are what a model wrote: control characters in them are shown escaped.
    """
    lines = [f"answer: {_both_scripts(result.answer_text)}"]
    if trace:
        lines += ["", "steps:", *(_step_line(step) for step in result.trace)]
    marked = {node.id for node in graph.nodes if node.distractor}
    if not marked:
        return "\n".join([*lines, "", "distractors: none"])
    lines += ["", "distractors:", *(_distractor_line(step) for step in result.trace if step.id in marked)]
    return "\n".join(lines)


def render_vote(vote: Vote, *, trace: bool = True) -> str:
    """``vote`` as lines: its answer with the graph that gave it first, then how the others voted."""
    solution = vote.solution
    lines = [render_result(solution.graph, solution.result, trace=trace), "", "votes:"]
    for candidate in vote.candidates:
        lines.append(f"  {_both_scripts(format_number(candidate.answer))}: {candidate.votes} of {vote.samples}")
    if vote.failures:
        lines.append(f"  no answer: {len(vote.failures)} of {vote.samples}")
    tied = " (a tie: the answer that was drawn first)" if vote.tie else ""
    return "\n".join([*lines, f"confidence: {vote.confidence:.0%}{tied}"])


def step_line(step: Step, *, distractor: bool) -> str:
    """One step as a line of its own, while a graph is being written."""
    return _step_line(step) + (" (distractor)" if distractor else "")


def render_influences(influences: Sequence[Influence]) -> str:
    """A line for every constant: what the answer does when it changes."""
    return "\n".join(["", "sensitivity:", *(_influence_line(influence) for influence in influences)])


def run_line(run: Run) -> str:
    """A run as the rest of a row's line: the answer, then the codes of fixes and warnings."""
    return "\t".join(filter(None, [_both_scripts(run.answer_text), _codes(run)]))


def check_line(check: Check) -> str:
    """A check as the rest of a row's line: the answer or why there is none, then the codes of fixes and warnings."""
    return "\t".join(filter(None, [answer_or_failure(check), _codes(check)]))


def answer_or_failure(document: Check | Show) -> str:
    """The answer in ASCII digits, or why there is none."""
    if document.answer is None:
        return f"no answer: {document.failure}"
    return f"answer: {format_number(document.answer)}"


def _codes(document: Run | Check) -> str:
    fixed = ", ".join(dict.fromkeys(fix.code for fix in document.fixes))
    warned = ", ".join(dict.fromkeys(warning.code for warning in document.warnings))
    return "; ".join(filter(None, [fixed and f"fixed: {fixed}", warned and f"warnings: {warned}"]))


def _influence_line(influence: Influence) -> str:
    name = printable(f"{influence.node}, {influence.label}" if influence.label else influence.node)
    if not influence.on_path:
        effect = "none: the answer does not depend on it"
    elif not influence.moves:
        effect = "none near its value"
    else:
        effect = "moves the answer" if influence.slope is None else f"{influence.slope:+.6g} in the answer for +1"
    marked = " (marked as a distractor)" if influence.distractor else ""
    return f"  {name}: {effect}{marked}"


def _both_scripts(text: str) -> str:
    return f"{text} ({to_bengali_digits(text)})"


def _step_line(step: Step) -> str:
    value = step.text or "no value"
    # A constant or identity is its own expression.
    shown = value if step.expression == step.text else f"{step.expression} = {value}"
    return f"  {_named(step)}: {shown}"


def _distractor_line(step: Step) -> str:
    return f"  {_named(step)}: {_both_scripts(step.text) if step.text else 'no value'}"


def _named(step: Step) -> str:
    return printable(f"{step.id}, {step.label}" if step.label else step.id)
