"""What happens while a question is answered."""

from __future__ import annotations

from msgspec import Struct

from .graph import Node, Step
from .solution import Solution


class Written(Struct, frozen=True, tag="text"):
    """What one step of the model wrote, or the grammar forced.

    Attributes:
        text: without the beginning of a character whose rest is not written yet.
        tokens: how many ids that was.
    """

    text: str
    tokens: int


class NodeClosed(Struct, frozen=True, tag="node"):
    """A node that is complete.

    Attributes:
        node: the node.
        step: what running it gave; without a value where that failed.
    """

    node: Node
    step: Step


class Solved(Struct, frozen=True, tag="solution"):
    """The last event.

    Attributes:
        solution: what came of the question.
    """

    solution: Solution


Event = Written | NodeClosed | Solved
