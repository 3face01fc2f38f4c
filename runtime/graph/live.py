"""A graph while it is being written: nodes as they close, and their values at once."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from .errors import ExecutionError, GraphStructureError
from .execute import Run
from .node import Node
from .schema import Step
from .structure import check_node

_NODE = re.compile(r'\{\s*"id"[^{}]*\}')


class LiveGraph:
    """Reads the text of a graph piece by piece.

    It is for showing work in progress: what cannot be read is passed over, and nothing is checked. The graph is what
    `read` makes of the whole text.
    """

    def __init__(self) -> None:
        self._rest = ""
        self._ids: set[str] = set()
        self._run = Run(self._ids)

    def add(self, text: str) -> Iterator[tuple[Node, Step]]:
        """The nodes that ``text`` closes, each with what running it gave (no value where that failed)."""
        self._rest += text
        end = 0
        for found in _NODE.finditer(self._rest):
            end = found.end()
            try:
                node = msgspec.json.decode(found[0], type=Node)
                check_node(node, self._ids, self._ids)
            except (msgspec.MsgspecError, GraphStructureError):
                continue
            if node.id not in self._ids:
                yield node, self._step(node)
        self._rest = self._rest[end:]

    def _step(self, node: Node) -> Step:
        self._ids.add(node.id)
        try:
            return self._run.step(node)
        except ExecutionError as error:
            return self._run.failed(node, error)
