"""Many graphs at once: laid out over arrays once, run as often as wanted.

Every node of every graph gets a slot. Nodes that stand equally deep and have the same operation and number of
arguments run as one array operation, whichever graphs they belong to. A graph with an odd node (see `arrays`) runs
again alone, through `execute`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import GraphError
from .arrays import Array, Mask, array_function, odd_rows
from .check import check_graph, literal_value
from .execute import execute
from .schema import Graph, Ties

Slots = NDArray[np.int64]
# An operation, the slots that it fills, and its arguments' slots of shape [arguments, filled].
_Group = tuple[str, slice, Slots]


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of many graphs, or of one graph over many inputs.

    Attributes:
        values: float64 of shape ``[n]``, NaN where there is no answer.
        inexact: bool of shape ``[n]``: the answer, or a value it depends on, passed 2^53 or lost exactness.
        errors: by index, why there is no answer.
    """

    values: Array
    inexact: Mask
    errors: dict[int, GraphError]


class GraphBatch:
    """Graphs laid out for `run`. Making one costs about as much as checking the graphs.

    Args:
        graphs: any graphs, of one shape or of many; one that is not well formed costs its own answer only.
    """

    def __init__(self, graphs: Sequence[Graph]) -> None:
        self._graphs = tuple(graphs)
        self._malformed: dict[int, GraphError] = {}
        layout = _Layout()
        for index, graph in enumerate(self._graphs):
            try:
                check_graph(graph)
            except GraphError as error:
                self._malformed[index] = error
                continue
            layout.add(index, graph)
        self._values, self._owners, self._groups, self._finals = layout.finish()
        self._indices = np.array([i for i in range(len(self._graphs)) if i not in self._malformed], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._graphs)

    def run(self, *, ties: Ties = "even") -> Answers:
        """The answer of every graph; ``ties`` as in `execute`."""
        values = self._values.copy()
        with np.errstate(all="ignore"):
            for op, filled, sources in self._groups:
                values[filled] = array_function(op, ties)(values[sources])
        answers = Answers(np.full(len(self), np.nan), np.zeros(len(self), dtype=np.bool_), dict(self._malformed))
        answers.values[self._indices] = values[self._finals]
        for index in np.unique(self._owners[odd_rows(values)]).tolist():
            run_alone(self._graphs[index], index, answers, ties)
        return answers


def execute_many(graphs: Sequence[Graph], *, ties: Ties = "even") -> Answers:
    """The answer of every graph, over arrays: what ``execute(graph).answer`` gives for each, as a double.

    No error is raised for a graph: it is in ``errors``, by the graph's index. To run the same graphs again, keep a
    `GraphBatch`.
    """
    return GraphBatch(graphs).run(ties=ties)


def run_alone(graph: Graph, index: int, answers: Answers, ties: Ties) -> None:
    """Put what `execute` says of ``graph`` into row ``index`` of ``answers``."""
    try:
        result = execute(graph, ties=ties)
    except GraphError as error:
        answers.values[index] = np.nan
        answers.errors[index] = error
        return
    answers.values[index] = float(result.answer)
    answers.inexact[index] = any(w.code == "inexact" and w.node in result.path for w in result.warnings)


class _Layout:
    """Slots for nodes and literals, and which of them run together."""

    def __init__(self) -> None:
        self._values: list[float] = []
        self._owners: list[int] = []
        self._finals: list[int] = []
        self._members: dict[tuple[int, str, int], tuple[list[int], list[list[int]]]] = {}

    def add(self, index: int, graph: Graph) -> None:
        """Give a well-formed graph its slots."""
        slots: dict[str, int] = {}
        depths: dict[int, int] = {}
        ids = {node.id for node in graph.nodes}
        for node in graph.nodes:
            slot = self._slot(index, float(node.val or 0.0))
            if node.args is not None:
                sources = [self._source(index, arg, slots, ids) for arg in node.args]
                depths[slot] = 1 + max(depths.get(source, 0) for source in sources)
                filled, inputs = self._members.setdefault((depths[slot], node.op, len(sources)), ([], []))
                filled.append(slot)
                inputs.append(sources)
            slots[node.id] = slot
        self._finals.append(slots[graph.nodes[-1].id])

    def finish(self) -> tuple[Array, Slots, list[_Group], Slots]:
        """Values and owners by slot, what runs together in an order in which it can, and the answers' slots.

        The slots are renumbered so that what runs together is filled in one stretch.
        """
        called = [slot for _, (filled, _) in sorted(self._members.items()) for slot in filled]
        order = [*sorted(set(range(len(self._values))) - set(called)), *called]
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        groups: list[_Group] = []
        start = len(order) - len(called)
        for (_, op, _), (filled, inputs) in sorted(self._members.items()):
            stop = start + len(filled)
            groups.append((op, slice(start, stop), np.ascontiguousarray(place[np.array(inputs)].T)))
            start = stop
        owners = np.array(self._owners, dtype=np.int64)[order]
        return np.array(self._values)[order], owners, groups, place[self._finals]

    def _slot(self, index: int, value: float) -> int:
        self._values.append(value)
        self._owners.append(index)
        return len(self._values) - 1

    def _source(self, index: int, arg: str | float, slots: dict[str, int], ids: set[str]) -> int:
        literal = None if arg in slots else literal_value(arg, ids)
        return slots[str(arg)] if literal is None else self._slot(index, float(literal))
