"""The answer of one graph and nothing else: what `execute` gives, without the trace, as fast as Python allows."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial

from .execute import MAX_EXACT_INTEGER, execute
from .node import Number
from .numerals import plain_value
from .ops import OPS
from .program import SINGLE_OPS, STEP_OPS, Program
from .schema import Graph

_StepFunction = Callable[[float, float], float]


def evaluate(graph: Graph) -> Number:
    """The answer of ``graph``: the same number as ``execute(graph).answer``, and the same errors.

    Raises GraphStructureError for a graph that cannot be run in its order, ExecutionError for a node of the answer's
    path without a finite real value.
    """
    value = _quick(graph.program)
    return execute(graph).answer if value is None else plain_value(value)


def _quick(program: Program) -> float | None:
    """The answer, if every value is ordinary; None sends the graph to the executor."""
    values: list[float] = program.constants.copy()
    try:
        for op, first, second in zip(program.ops, program.firsts, program.seconds, strict=True):
            values.append(_STEPS[op](values[first], values[second]))
        # A sum that is small has no large term, no infinity and no NaN in it.
        is_ordinary = sum(map(abs, values)) <= MAX_EXACT_INTEGER
    except (ArithmeticError, ValueError):
        return None
    return values[program.answer] if is_ordinary else None


def _apply(op: str, first: float, second: float) -> float:
    return OPS[op].number((first,) if op in SINGLE_OPS else (first, second))


# The most frequent ones without a detour: what is out of range shows in the value.
_DIRECT: dict[str, _StepFunction] = {"add": operator.add, "sub": operator.sub, "mul": operator.mul}
_STEPS: tuple[_StepFunction, ...] = tuple(_DIRECT.get(op) or partial(_apply, op) for op in STEP_OPS)
