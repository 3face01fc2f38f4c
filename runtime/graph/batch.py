"""Many graphs at once: laid out over arrays once, run as often as wanted.

The records of the graphs' programs stand one behind the other in one array of 8-byte words: constants are in their
slots from the beginning, and a step's word is replaced by its result. Steps that have the same place in their graphs
and the same operation run as one array operation. A graph with an odd value (see `arrays`) runs again alone, through
`execute`.
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
from .execute import execute
from .node import Ties
from .program import OP_BITS, SINGLE_OPS, SLOT_BITS, STEP_OPS
from .schema import Graph

WORD_BYTES = 8

Slots = NDArray[np.int64]
Words = NDArray[np.uint64]
# An operation, the slots that it fills, and those of its first and second arguments, each of shape [steps].
_Group = tuple[str, Slots, Slots, Slots]

_OP_MASK = 2**OP_BITS - 1
_SLOT_MASK = 2**SLOT_BITS - 1
# One constant that is NaN, for a graph without a record: it is odd, and runs alone.
_ODD_RECORD = struct.pack("=dQ", float("nan"), 1 << SLOT_BITS)


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
    """Graphs laid out for `run`. Making one costs little for graphs that were parsed or have been run before.

    Args:
        graphs: any graphs, of one shape or of many; one that is not well formed costs its own answer only.
    """

    def __init__(self, graphs: Sequence[Graph]) -> None:
        self._graphs = tuple(graphs)
        records = _records(self._graphs)
        words = np.frombuffer(b"".join(records), dtype=np.uint64)
        ends = np.cumsum(np.fromiter(map(len, records), np.int64, len(records)) // WORD_BYTES)
        self._starts = np.concatenate(([0], ends[:-1])) if len(records) else ends
        last = words[ends - 1].astype(np.int64)
        self._answers = self._starts + (last & _SLOT_MASK)
        self._values = words.view(np.float64)
        self._groups = _group_steps(words, self._starts, self._starts + (last >> SLOT_BITS), ends - 1)

    def __len__(self) -> int:
        return len(self._graphs)

    def run(self, *, ties: Ties = "even") -> Answers:
        """The answer of every graph; ``ties`` as in `execute`."""
        values = self._values.copy()
        with np.errstate(all="ignore"):
            for op, filled, first, second in self._groups:
                args = (values[first],) if op in SINGLE_OPS else (values[first], values[second])
                values[filled] = array_function(op, ties)(args)
        answers = Answers(values[self._answers], np.zeros(len(self), dtype=np.bool_), {})
        odd = np.flatnonzero(odd_rows(values))
        for index in np.unique(np.searchsorted(self._starts, odd, side="right") - 1).tolist():
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


def _records(graphs: Sequence[Graph]) -> list[bytes]:
    """The record of each graph's program."""
    try:
        records = [graph.program.record for graph in graphs]
    except GraphError:
        records = [_record(graph) for graph in graphs]
    return [record or _ODD_RECORD for record in records]


def _record(graph: Graph) -> bytes | None:
    try:
        return graph.program.record
    except GraphError:
        return None


def _group_steps(words: Words, starts: Slots, firsts: Slots, ends: Slots) -> list[_Group]:
    """The steps of all graphs, those together that have the same place in their graph and the same operation.

    Graph ``i`` begins at word ``starts[i]``; its steps are the words from ``firsts[i]`` to ``ends[i]``.
    """
    counts = ends - firsts
    before = np.cumsum(counts) - counts
    filled = np.arange(counts.sum()) + np.repeat(firsts - before, counts)
    steps = words[filled].view(np.uint16).reshape(-1, WORD_BYTES // 2)
    order = np.argsort(steps[:, 0], kind="stable")
    kinds, first, second, _ = steps[order].T
    filled, base = filled[order], np.repeat(starts, counts)[order]
    edges = [0, *(np.flatnonzero(np.diff(kinds)) + 1).tolist(), len(filled)]
    return [
        (STEP_OPS[kinds[a] & _OP_MASK], filled[a:b], base[a:b] + first[a:b], base[a:b] + second[a:b])
        for a, b in pairwise(edges)
        if a < b
    ]
