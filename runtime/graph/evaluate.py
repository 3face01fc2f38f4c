"""The answer of one graph and nothing else: what `execute` gives, without the trace, as fast as Python allows."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial

from .execute import execute
from .node import Number
from .numerals import plain_value
from .ops import MAX_EXACT_INTEGER, NEAR_ZERO, OPS
from .program import OP_BITS, SINGLE_OPS, STEP_OPS, Program
from .schema import Graph

_StepFunction = Callable[[float, float], float]

_OP_MASK = 2**OP_BITS - 1
_LEAST, _MOST = float(-MAX_EXACT_INTEGER), float(MAX_EXACT_INTEGER)


def evaluate(graph: Graph) -> Number:
    """The answer of ``graph``, without a trace: the same as ``execute(graph).answer``, and the same errors.

    Args:
        graph: any graph; one that was parsed has been checked.

    Returns:
        An int where it is integral, else a double.

    Raises:
        GraphStructureError: the graph cannot be run in its order.
        ExecutionError: a node of the answer's path has no finite real value.
    """
    value = _quick(graph.program)
    return execute(graph).answer if value is None else plain_value(value)


def _quick(program: Program) -> float | None:
    """The answer, if every value is ordinary; None sends the graph to the executor."""
    if program.has_huge:
        return None
    values = program.values.copy()
    fields = iter(program.fields)
    try:
        for kind, filled, first, second in zip(fields, fields, fields, fields, strict=False):
            value = _STEPS[kind & _OP_MASK](values[first], values[second])
            # False for NaN too.
            if not _LEAST < value < _MOST:
                return None
            values[filled] = value
    except (ArithmeticError, ValueError):
        return None
    return values[program.answer]


def _apply(op: str, first: float, second: float) -> float:
    # A double always, for integers would grow without limit.
    return float(OPS[op].number((first,) if op in SINGLE_OPS else (first, second)))


def _divide(dividend: float, divisor: float) -> float:
    if abs(divisor) < NEAR_ZERO:
        raise ZeroDivisionError
    return dividend / divisor


# The most frequent ones without a detour: what is out of range shows in the value.
_DIRECT: dict[str, _StepFunction] = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": _divide}
_STEPS: tuple[_StepFunction, ...] = tuple(_DIRECT.get(op) or partial(_apply, op) for op in STEP_OPS)
