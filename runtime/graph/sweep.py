"""One graph over many inputs, and what that tells: which constants move the answer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import ArrayLike

from ..errors import UsageError
from .arrays import Array, array_function, odd_rows
from .batch import Answers, run_alone
from .check import answer_path, check_graph
from .errors import quote
from .execute import check_ties, execute
from .node import Node, Number, Ties
from .schema import Graph
from .structure import literal_value

# Rows that run together: their arrays stay in a core's cache.
BLOCK_ROWS = 8192

# A constant is tried at its value times these, and at its value plus or minus one.
_FACTORS = (0.5, 0.9, 0.99, 1.01, 1.1, 2.0)
_RELATIVE_STEP = 1e-3


class Influence(Struct, frozen=True):
    """What a constant does to the answer.

    Attributes:
        node: the id of the ``const`` node.
        label: the node's.
        value: the constant, as in the graph.
        distractor: whether the graph marks it as one.
        on_path: the answer depends on it as the graph is drawn; a constant that is not on the path cannot move it,
            one that is may still not (times zero, the larger of two).
        moves: some other value near it gave another answer, or none.
        slope: the change of the answer for a change of 1 in the constant, around its value; None where a run on
            either side fails.
    """

    node: str
    label: str
    value: int | float
    distractor: bool
    on_path: bool
    moves: bool
    slope: float | None


def sweep(graph: Graph, inputs: Mapping[str, ArrayLike], *, ties: Ties = "even") -> Answers:
    """The answers of ``graph`` with other numbers in place of some constants, a row an input.

    Row ``i`` is what ``execute`` answers with the ``i``-th numbers; rows that cannot be computed are in ``errors``.
    Rows out of the ordinary (an error, a value past 2^53) cost as much as ``execute``.

    Args:
        graph: in topological order, as `read` and ``Graph.parse`` give it.
        inputs: ids of ``const`` nodes, each with an array of shape ``[n]`` (or one number, for every row), taken as
            float64.
        ties: how ``round`` takes halves, as in `execute`.

    Raises:
        GraphStructureError: the graph is not well formed.
        UsageError: an id is no constant, a number not finite, the arrays are of other shapes, or another ``ties``.
    """
    check_ties(ties)
    check_graph(graph)
    columns = _columns(graph, inputs)
    rows = max((len(column) for column in columns.values()), default=1)
    answers = Answers(np.empty(rows), np.zeros(rows, dtype=np.bool_), {})
    for start in range(0, rows, BLOCK_ROWS):
        block = {name: column[start : start + BLOCK_ROWS] for name, column in columns.items()}
        _run_block(graph, block, start, answers, ties)
    return answers


def sensitivity(graph: Graph, *, ties: Ties = "even") -> tuple[Influence, ...]:
    """What each constant does to the answer, in the graph's order: the proof that a distractor is one.

    Each constant is varied alone (times 0.5 to 2, plus and minus one), while all others stay as they are.

    Args:
        graph: in topological order.
        ties: how ``round`` takes halves, as in `execute`.

    Raises:
        GraphStructureError: the graph is not well formed.
        ExecutionError: the graph has no answer to begin with.
    """
    answer = execute(graph, ties=ties).answer
    path = set(answer_path(graph))
    return tuple(
        _influence(graph, node, node.val, answer, node.id in path, ties) for node in graph.nodes if node.val is not None
    )


def with_values(graph: Graph, values: Mapping[str, Number]) -> Graph:
    """``graph`` with other numbers in the ``const`` nodes that ``values`` names. Raises UsageError for another id."""
    _check_constants(graph, values)
    return Graph(tuple(replace(node, val=values[node.id]) if node.id in values else node for node in graph.nodes))


def _check_constants(graph: Graph, names: Iterable[str]) -> None:
    constants = [node.id for node in graph.nodes if node.op == "const"]
    for name in names:
        if name not in constants:
            known = ", ".join(map(quote, constants)) or "none"
            raise UsageError(f"{quote(name)} is no constant of this graph; its constants: {known}")


def _columns(graph: Graph, inputs: Mapping[str, ArrayLike]) -> dict[str, Array]:
    """``inputs`` as float64 arrays of one length."""
    _check_constants(graph, inputs)
    columns = {}
    for name, given in inputs.items():
        try:
            column = np.atleast_1d(np.asarray(given, dtype=np.float64))
        except (TypeError, ValueError):
            raise UsageError(f"the inputs of {quote(name)} are not numbers") from None
        if column.ndim != 1 or not np.isfinite(column).all():
            raise UsageError(f"the inputs of {quote(name)} must be one row of finite numbers")
        columns[name] = column
    lengths = {len(column) for column in columns.values()} - {1}
    if len(lengths) > 1 or 0 in lengths:
        raise UsageError(f"the inputs must be equally long, not {' and '.join(map(str, sorted(lengths)))}")
    rows = max(lengths, default=1)
    return {name: np.broadcast_to(column, rows) for name, column in columns.items()}


def _run_block(graph: Graph, block: Mapping[str, Array], start: int, answers: Answers, ties: Ties) -> None:
    """Fill the rows of ``answers`` from ``start`` on with what ``block`` gives."""
    ids = {node.id for node in graph.nodes}
    path = set(answer_path(graph))
    values: dict[str, Array] = {}
    odd = np.zeros(min(BLOCK_ROWS, len(answers.values) - start), dtype=np.bool_)
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            if node.id not in path:
                continue
            if node.args is None:
                value = np.asarray(block.get(node.id, node.val), dtype=np.float64)
            else:
                value = array_function(node.op, ties)([_argument(arg, ids, values) for arg in node.args])
            odd |= odd_rows(value)
            values[node.id] = value
    answers.values[start : start + len(odd)] = values[graph.nodes[-1].id]
    for row in np.flatnonzero(odd).tolist():
        numbers = {name: float(column[row]) for name, column in block.items()}
        run_alone(with_values(graph, numbers), start + row, answers, ties)


def _argument(arg: str | Number, ids: set[str], values: Mapping[str, Array]) -> Array:
    literal = literal_value(arg, ids)
    return values[str(arg)] if literal is None else np.asarray(literal, dtype=np.float64)


def _influence(graph: Graph, node: Node, value: Number, answer: Number, on_path: bool, ties: Ties) -> Influence:
    step = _RELATIVE_STEP * abs(value) or _RELATIVE_STEP
    tried = [value - step, value + step, value - 1, value + 1, *(value * factor for factor in _FACTORS)]
    largest = np.finfo(np.float64).max
    answers = sweep(graph, {node.id: np.clip(tried, -largest, largest)}, ties=ties)
    moves = bool(answers.errors) or bool((answers.values != float(answer)).any())
    # Python's floats, which overflow to infinity without a warning.
    below, above = answers.values[:2].tolist()
    slope = (above - below) / (2 * step)
    return Influence(
        node=node.id,
        label=node.label,
        value=value,
        distractor=node.distractor,
        on_path=on_path,
        moves=moves,
        slope=slope if math.isfinite(slope) else None,
    )
