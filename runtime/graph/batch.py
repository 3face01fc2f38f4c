"""Many graphs at once: laid out over arrays once, run as often as wanted.

The graphs' programs (see `program`) stand one behind the other in one array of doubles: constants are in their slots
from the beginning, and results go there. Steps that have the same place in their graphs and the same operation run as
one array operation. A graph with an odd value (see `arrays`) runs again alone, through `execute`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..errors import GraphError
from .arrays import Array, Mask, array_function, odd_rows
from .execute import check_ties, execute
from .node import Ties
from .program import END, FIELDS, OP_BITS, SINGLE_OPS, STEP_OPS
from .schema import Graph

Slots = NDArray[np.int64]
Words = NDArray[np.uint64]
# An operation, the slots that it fills, and those of its first and second arguments, each of shape [steps].
_Group = tuple[str, Slots, Slots, Slots]

_OP_MASK = 2**OP_BITS - 1
# One slot with NaN in it, for a graph without a program: it is odd, and runs alone.
_ODD_PROGRAM = struct.pack("=d4H", float("nan"), 1, 0, 0, END)


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
    """Graphs laid out for `run`. No error is raised for a graph: it is in the answers, by the graph's index.

    Args:
        graphs: any graphs, of one shape or of many; one that is not well formed costs its own answer only.
    """

    def __init__(self, graphs: Sequence[Graph]) -> None:
        self._graphs = tuple(graphs)
        programs = _programs(self._graphs)
        words = np.frombuffer(b"".join(programs), dtype=np.uint64)
        ends = np.flatnonzero(words.view(np.uint16)[FIELDS - 1 :: FIELDS] == END)
        self._starts = np.concatenate(([0], ends + 1))[:-1]
        _, steps, answers, _ = words[ends].view(np.uint16).reshape(-1, FIELDS).T
        self._answers = self._starts + answers
        self._values = words.view(np.float64).copy()
        self._values[ends] = 0.0
        self._groups = _group_steps(words, self._starts, ends, steps.astype(np.int64))

    def __len__(self) -> int:
        return len(self._graphs)

    def run(self, *, ties: Ties = "even") -> Answers:
        """The answers of the graphs, in their order.

        Args:
            ties: how ``round`` takes halves, as in `execute`.

        Raises:
            UsageError: another ``ties``.
        """
        check_ties(ties)
        values = self._values.copy()
        with np.errstate(all="ignore"):
            for op, filled, first, second in self._groups:
                args = (values[first],) if op in SINGLE_OPS else (values[first], values[second])
                values[filled] = array_function(op, ties)(args)
        answers = Answers(values[self._answers], np.zeros(len(self), dtype=np.bool_), {})
        odd = np.flatnonzero(odd_rows(values))
        for index in sorted(set((np.searchsorted(self._starts, odd, side="right") - 1).tolist())):
            run_alone(self._graphs[index], index, answers, ties)
        return answers


def execute_many(graphs: Sequence[Graph], *, ties: Ties = "even") -> Answers:
    """The answer of every graph, over arrays: what ``execute(graph).answer`` gives for each, as a double.

    To run the same graphs again, keep a `GraphBatch`.

    Args:
        graphs: any graphs, of one shape or of many. No error is raised for one: it is in ``errors``, by its index.
        ties: how ``round`` takes halves, as in `execute`.

    Returns:
        Answers: ``values`` is float64 of shape ``[len(graphs)]``.

    Raises:
        UsageError: another ``ties``.
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


def _programs(graphs: Sequence[Graph]) -> list[bytes]:
    """The program of each graph; of one without it, a program that is odd."""
    try:
        return [graph.program.packed or _ODD_PROGRAM for graph in graphs]
    except GraphError:
        return [_program(graph) for graph in graphs]


def _program(graph: Graph) -> bytes:
    try:
        return graph.program.packed or _ODD_PROGRAM
    except GraphError:
        return _ODD_PROGRAM


def _group_steps(words: Words, starts: Slots, ends: Slots, counts: Slots) -> list[_Group]:
    """The steps of all graphs, those together that have the same place in their graph and the same operation.

    Args:
        words: all programs, one behind the other.
        starts: for each graph, its first word, which is its first slot.
        ends: for each graph, its last word, which is the one behind its steps.
        counts: for each graph, how many steps it has.
    """
    before = np.cumsum(counts)
    steps = words[np.arange(counts.sum()) + np.repeat(ends - before, counts)]
    order = np.argsort(steps.view(np.uint16)[::FIELDS], kind="stable")
    kinds, *slots = steps[order].view(np.uint16).reshape(-1, FIELDS).T
    base = np.repeat(starts, counts)[order]
    filled, first, second = (base + slot for slot in slots)
    edges = [0, *(np.flatnonzero(kinds[1:] != kinds[:-1]) + 1).tolist(), len(kinds)]
    ops = (kinds[edges[:-1]] & _OP_MASK).tolist() if len(kinds) else []
    return [
        (STEP_OPS[op], filled[a:b], first[a:b], second[a:b]) for op, (a, b) in zip(ops, pairwise(edges), strict=False)
    ]
