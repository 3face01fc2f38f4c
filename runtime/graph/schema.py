"""The data types of the graph language: what a model writes and what a run returns. All JSON encodable."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from msgspec import Struct

from .node import Node
from .parse import parse_nodes
from .program import Program, compile_nodes

Level = Literal["strict", "repaired"]


class Graph(Struct, frozen=True, dict=True):
    """A computational graph (arXiv 2601.06853; the language is in docs/graph.md).

    One that a caller builds is not checked before it is run.

    Attributes:
        nodes: at most 256, in topological order, the last one with the id ``final_result``.
    """

    nodes: tuple[Node, ...]

    @classmethod
    def parse(cls, text: str | bytes) -> Graph:
        """The graph that ``text`` is, read strictly and checked.

        Args:
            text: at most 64 KiB of UTF-8; white space and one ```json fence may stand around the graph.

        Raises:
            GraphParseError: the text is not a graph, with node, field and reason (GraphStructureError: its nodes can
                be read and form none).
        """
        nodes, program = parse_nodes(text)
        graph = cls(nodes)
        # Where cached_property keeps it.
        graph.__dict__["program"] = program
        return graph

    @cached_property
    def program(self) -> Program:
        """The graph as numbered steps, made once. Raises GraphStructureError where it cannot be run in its order."""
        return compile_nodes(self.nodes)

    def to_json(self, *, fenced: bool = False) -> str:
        """The graph in the style of the DAGGER prompt: two-space list, a node a line.

        ``fenced`` adds the fence, closed on a line of its own as in the text that DAGGER was trained on.
        """
        lines = ",\n".join(f"    {node.to_json()}" for node in self.nodes)
        text = f'{{\n  "nodes": [\n{lines}\n  ]\n}}'
        return f"```json\n{text}\n```" if fenced else text


class Fix(Struct, frozen=True):
    """One lossless change that a repair made. ``code`` is stable, ``message`` is for people.

    ``node`` is the id of the node in the repaired graph, or empty where the fix concerns the text. Codes of the
    text: ``prose``, ``fence``, ``single_quotes``, ``trailing_comma``, ``missing_comma``, ``python_literal``,
    ``node_list``. Codes of nodes: ``op_name``, ``number_text``, ``empty_field``, ``inline_node``,
    ``duplicate_node``, ``order``, ``final_result``.
    """

    code: str
    node: str
    message: str


class Reading(Struct, frozen=True):
    """What reading a text gave: the graph, and how far from the language the text was.

    Attributes:
        graph: in topological order, and ready to be run.
        level: ``strict`` (nothing was mended) or ``repaired``.
        fixes: every change of a repair, none of which changed a number, dropped a node or invented one.
    """

    graph: Graph
    level: Level
    fixes: tuple[Fix, ...] = ()


class GraphWarning(Struct, frozen=True):
    """Something that a caller should know, not an error. ``code`` is stable, ``message`` is for people.

    Codes: ``distractor_used``, ``unused_unmarked``, ``unused_failed``, ``inexact``, ``truncated``,
    ``ratio_split``. Only the nodes off the answer's path can be ``unused_*``. Against a question:
    ``const_not_in_question``, ``number_not_in_graph`` (``node`` is empty), ``impossible_answer``,
    ``duplicate_label``; see `question_check.check_question`.
    """

    code: str
    node: str
    message: str


class Step(Struct, frozen=True):
    """One node of a run.

    Attributes:
        id, op, label: the node's.
        expression: the operation with values in place of ids, such as ``122195 × 45.6``.
        value: an int where it is integral; None (null in JSON) where the node failed.
        text: the value in ASCII digits, empty where the node failed.
    """

    id: str
    op: str
    label: str
    expression: str
    value: int | float | None
    text: str


class Result(Struct, frozen=True, kw_only=True):
    """What a run returns.

    Attributes:
        answer: an int where it is integral, else a double; in exact mode the nearest one.
        answer_text, answer_text_bn: the same number in ASCII and in Bengali digits; exact in exact mode (``1/3``).
        exact: whether it was computed on rational numbers.
        values: of every node, by id; None (null in JSON) where it is off the path and failed.
        order: all ids, in the order in which they were run.
        path: the ids that the answer depends on, itself included, in order.
        distractors: the ids that the graph marks as such.
        warnings: what a caller should know.
        trace: one step a node, in order.
        level, fixes: those of the reading, where the graph came from a text; see `Reading`.
    """

    answer: int | float
    answer_text: str
    answer_text_bn: str
    exact: bool
    values: dict[str, int | float | None]
    order: tuple[str, ...]
    path: tuple[str, ...]
    distractors: tuple[str, ...]
    warnings: tuple[GraphWarning, ...]
    trace: tuple[Step, ...]
    level: Level = "strict"
    fixes: tuple[Fix, ...] = ()
