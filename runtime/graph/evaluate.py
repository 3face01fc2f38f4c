"""The answer of one graph and nothing else: what `execute` gives, without the trace, as fast as Python allows."""

from __future__ import annotations

import operator
from collections.abc import Callable

from .check import ARITY, MAX_NODES, NUMBER_TYPES
from .execute import MAX_EXACT_INTEGER, execute
from .numerals import plain_value
from .ops import OPS
from .schema import FINAL_ID, Graph, Number

# The most frequent ones, for two arguments: what is out of range shows in the value.
_BINARY: dict[str, Callable[[float, float], float]] = {
    "add": operator.add,
    "sum": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
}


def evaluate(graph: Graph) -> Number:
    """The answer of ``graph``: the same number as ``execute(graph).answer``, and the same errors.

    Raises GraphStructureError for a graph that cannot be run in its order, ExecutionError for a node of the answer's
    path without a finite real value.
    """
    value = _quick(graph)
    return execute(graph).answer if value is None else plain_value(value)


def _quick(graph: Graph) -> float | None:
    """The answer, if the graph is plainly well formed and every value ordinary; None sends it to the executor."""
    nodes = graph.nodes
    values: dict[str | float, float] = {}
    value = 0.0
    try:
        for node in nodes:
            args = node.args
            if args is None:
                if node.op != "const" or type(node.val) not in NUMBER_TYPES:
                    return None
                value = float(node.val)  # type: ignore[arg-type]
            elif node.val is not None:
                return None
            elif len(args) == 2 and node.op in _BINARY:
                value = _BINARY[node.op](values[args[0]], values[args[1]])
            else:
                low, high = ARITY[node.op]
                if not low <= len(args) <= high:
                    return None
                value = OPS[node.op].number([values[arg] for arg in args])
            values[node.id] = value
    except (KeyError, ArithmeticError, ValueError):
        return None
    if len(values) < len(nodes) or not 0 < len(nodes) <= MAX_NODES or nodes[-1].id != FINAL_ID:
        return None
    # A sum that is small has no large term, no infinity and no NaN in it.
    return value if sum(map(abs, values.values())) <= MAX_EXACT_INTEGER else None
