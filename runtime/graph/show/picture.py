"""What there is to show of a graph: one item a node, safe to print, and how the answer uses it.

Any ``Graph`` can be shown, also one that ``check_graph`` refuses, for that is when somebody wants to look. An
argument that is no earlier node is text, not an edge, so that there is never a cycle to draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..check import check_flags
from ..errors import GraphStructureError, printable
from ..node import FINAL_ID, Node
from ..numerals import format_number, to_bengali_digits
from ..ops import OPS
from ..schema import Graph, Result, Step
from ..structure import MAX_NODES

Role = Literal["answer", "path", "distractor", "unused"]

MAX_TEXT = 400
NO_VALUE = "no value"
ASIDE_TITLE = "Not used for the answer"

_MAX_SHOWN_ARGUMENTS = 12


@dataclass(frozen=True, slots=True)
class Item:
    """One node. Texts are single lines, printable and at most 400 characters long.

    ``sources`` are the indexes of the nodes that it takes, each once. ``expression`` has values where the
    graph was run and ids where it was not, and is empty for a constant. ``value`` is empty where it is not
    known. ``marked`` is the graph's own distractor flag; ``role`` is what the answer makes of the node.
    """

    index: int
    id: str
    op: str
    label: str
    expression: str
    value: str
    sources: tuple[int, ...]
    role: Role
    marked: bool

    @property
    def aside(self) -> bool:
        """Whether the answer does not depend on it."""
        return self.role in ("distractor", "unused")

    @property
    def value_bn(self) -> str:
        """The value in Bengali digits."""
        return to_bengali_digits(self.value)

    @property
    def note(self) -> str:
        """What is to be said of the node besides its value; mostly nothing."""
        if self.aside:
            return "distractor" if self.marked else "unused, not marked as a distractor"
        return "marked as a distractor, but used" if self.marked else ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A graph to be shown. ``answer`` is the index of the final result, None where there is none."""

    items: tuple[Item, ...]
    answer: int | None
    ran: bool
    warnings: tuple[str, ...]

    @property
    def main(self) -> tuple[Item, ...]:
        """What the answer depends on, the final result included."""
        return tuple(item for item in self.items if not item.aside)

    @property
    def aside(self) -> tuple[Item, ...]:
        """The rest: distractors and unused nodes."""
        return tuple(item for item in self.items if item.aside)

    @property
    def answer_item(self) -> Item | None:
        """The final result, or None."""
        return None if self.answer is None else self.items[self.answer]

    def steps_text(self, item: Item) -> str:
        """The calculation of ``item`` with its value, such as ``3 × 4 = 12``."""
        if not item.value:
            missing = f" = {NO_VALUE}" if self.ran else ""
            return f"{item.expression}{missing}" if item.expression else NO_VALUE
        return f"{item.expression} = {item.value}" if item.expression else item.value


def draw_up(graph: Graph, result: Result | None) -> Picture:
    """The picture of ``graph``, with the values of ``result`` where it is given.

    ``result`` is what ``execute`` returned for this very graph. Raises GraphStructureError above 256 nodes.
    """
    answer = _answer_index(graph)
    items = _items(graph, () if result is None else result.trace, answer, _needed(_sources(graph), answer))
    warnings = check_flags(graph) if result is None else result.warnings
    return Picture(items, answer, result is not None, tuple(one_line(one.message) for one in warnings))


def draw_growing(graph: Graph, steps: Sequence[Step]) -> Picture:
    """The picture of ``graph`` while it is being written, with its ``steps`` so far.

    Until there is an answer, a node is taken to be for it unless it is marked as a distractor; there are no warnings.
    Raises GraphStructureError above 256 nodes.
    """
    answer = _answer_index(graph)
    used = _needed(_sources(graph), answer)
    if answer is None:
        used = {index for index, node in enumerate(graph.nodes) if not node.distractor}
    return Picture(_items(graph, steps, answer, used), answer, ran=True, warnings=())


def _answer_index(graph: Graph) -> int | None:
    return next((index for index, node in reversed(list(enumerate(graph.nodes))) if node.id == FINAL_ID), None)


def _items(graph: Graph, trace: Sequence[Step], answer: int | None, used: set[int]) -> tuple[Item, ...]:
    """An item for every node, ``used`` being the indexes of those that are for the answer."""
    if len(graph.nodes) > MAX_NODES:
        raise GraphStructureError(f"{len(graph.nodes)} nodes; at most {MAX_NODES} can be shown", field="nodes")
    sources = _sources(graph)
    steps = {step.id: step for step in trace}
    items = []
    for index, node in enumerate(graph.nodes):
        expression, value = _texts(node, steps.get(node.id))
        role: Role = "answer" if index == answer else "path" if index in used else "unused"
        if role == "unused" and node.distractor:
            role = "distractor"
        items.append(
            Item(
                index=index,
                id=one_line(node.id),
                op=one_line(node.op),
                label=one_line(node.label),
                expression=expression,
                value=value,
                sources=sources[index],
                role=role,
                marked=node.distractor,
            )
        )
    return tuple(items)


def one_line(text: str) -> str:
    """``text`` on one line, without what could steer a terminal or break markup, and of a bounded length."""
    line = printable(" ".join(text[: MAX_TEXT + 1].split()))
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"


def safe_lines(text: str) -> str:
    """``text`` with its lines kept and everything else as in ``one_line``, of any length."""
    return "\n".join(printable(" ".join(line.split())) for line in text.splitlines())


def _sources(graph: Graph) -> list[tuple[int, ...]]:
    """For every node the earlier nodes that it takes."""
    seen: dict[str, int] = {}
    sources = []
    for index, node in enumerate(graph.nodes):
        names = (arg for arg in node.args or () if isinstance(arg, str))
        sources.append(tuple(dict.fromkeys(seen[name] for name in names if name in seen)))
        seen.setdefault(node.id, index)
    return sources


def _needed(sources: Sequence[tuple[int, ...]], answer: int | None) -> set[int]:
    needed = set() if answer is None else {answer}
    for index in reversed(range(len(sources))):
        if index in needed:
            needed.update(sources[index])
    return needed


def _texts(node: Node, step: Step | None) -> tuple[str, str]:
    """The expression and the value of ``node``, either of them empty where there is none."""
    if step is not None:
        expression = "" if step.expression == step.text else step.expression
        return one_line(expression), one_line(step.text)
    if node.args is None:
        return "", _number(node.val) if node.val is not None else ""
    return _formula(node), ""


def _formula(node: Node) -> str:
    """The operation with ids in place of values."""
    args = [one_line(arg) if isinstance(arg, str) else _number(arg) for arg in (node.args or ())[:_MAX_SHOWN_ARGUMENTS]]
    if len(node.args or ()) > _MAX_SHOWN_ARGUMENTS:
        args.append("…")
    infix = OPS[node.op].infix if node.op in OPS else ""
    if infix and len(args) > 1:
        return one_line(f" {infix} ".join(args))
    return one_line(args[0] if node.op == "identity" and args else f"{node.op}({', '.join(args)})")


def _number(value: float) -> str:
    try:
        return one_line(format_number(value))
    except ValueError:
        return "not a number"
