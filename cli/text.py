"""A run as text for people: the answer in both scripts, the steps, the distractors."""

from __future__ import annotations

from ..runtime.graph import Graph, Result, Step, to_bengali_digits
from ..runtime.graph.errors import printable


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
