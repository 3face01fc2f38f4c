"""The errors of the graph language. Each names node, field and reason in one line of plain text."""

from __future__ import annotations

from functools import partial
from typing import Any

from .. import terminal
from ..errors import GraphError

# What a graph says is told by its errors and texts through this.
printable = terminal.printable

_QUOTE_LIMIT = 48


def quote(text: str) -> str:
    """``text`` in double quotes for a message: printable and cut to a readable length."""
    shown = text if len(text) <= _QUOTE_LIMIT else text[:_QUOTE_LIMIT] + "…"
    return f'"{printable(shown)}"'


class GraphParseError(GraphError):
    """A text or graph that is not in the graph language (exit code 1).

    Attributes:
        node: the node's id; ``nodes[2]``, counted from 0, where it has no usable id; None where the reason concerns
            the whole graph.
        field: the key inside the node, or None.
        reason: what is wrong.
    """

    def __init__(self, reason: str, *, node: str | None = None, field: str | None = None) -> None:
        where = "graph" if node is None else f"node {quote(node)}"
        if field is not None:
            where += f", field {quote(field)}"
        super().__init__(f"{where}: {reason}")
        self.node = node
        self.field = field
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), self.reason, node=self.node, field=self.field), ()


class GraphStructureError(GraphParseError):
    """Nodes that are readable one by one but do not form a graph (exit code 1): ids, ops, arity, order, final result.

    Attributes:
        node, field, reason: as of `GraphParseError`.
    """


class ExecutionError(GraphError):
    """A node of the answer's path that has no finite real value (exit code 1).

    Attributes:
        node: its id.
        op: its operation.
        arguments: the values of its arguments as text, at most eight of them.
        reason: what failed.
    """

    def __init__(self, reason: str, *, node: str, op: str, arguments: tuple[str, ...]) -> None:
        super().__init__(f"node {quote(node)}, {op}({', '.join(arguments)}): {reason}")
        self.node = node
        self.op = op
        self.arguments = arguments
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), self.reason, node=self.node, op=self.op, arguments=self.arguments), ()
