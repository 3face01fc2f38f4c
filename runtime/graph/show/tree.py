"""A graph as a tree of text: the answer at the root, below every node what it takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from ..schema import Graph, Result
from .picture import ASIDE_TITLE, Item, Picture, draw_up

# Deeper than this, a branch goes on further down at the margin: lines stay readable.
MAX_DEPTH = 12


def to_text(graph: Graph, result: Result | None = None) -> str:
    """``graph`` as lines without a final newline: a tree with label, calculation and value of every node.

    A node that several others take is shown once, and named with ``(above)`` after that. What the answer does
    not need is a part of its own. ``result`` is what ``execute`` returned for ``graph``; without it
    calculations have ids and there are no values. Control and bidi characters of a model are shown escaped.

    Raises GraphStructureError above 256 nodes.
    """
    picture = draw_up(graph, result)
    writer = _Writer(picture)
    lines = list(writer.trees([] if picture.answer is None else [picture.answer]))
    if picture.aside:
        used = {source for item in picture.aside for source in item.sources}
        roots = [item.index for item in picture.aside if item.index not in used]
        lines += ["", f"{ASIDE_TITLE}:", *writer.trees(roots)]
    return "\n".join(lines).strip("\n") or "no nodes"


class _Writer:
    """Writes trees; remembers what has been written, or will be."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.shown: set[int] = set()

    def trees(self, roots: list[int]) -> Iterator[str]:
        """The lines of the trees at ``roots``, then of the branches that became too deep."""
        waiting = deque(roots)
        while waiting:
            root = waiting.popleft()
            self.shown.add(root)
            yield from self._tree(root, waiting)

    def _tree(self, root: int, waiting: deque[int]) -> Iterator[str]:
        """The lines below ``root``, depth first. Branches that are too deep join ``waiting``."""
        yield self._line(self.picture.items[root])
        # Index, what stands before the children of its parent, whether it is the last of them.
        pending = self._children(root, "")
        while pending:
            index, prefix, last = pending.pop()
            branch = prefix + ("└─ " if last else "├─ ")
            item = self.picture.items[index]
            if index in self.shown:
                yield f"{branch}{_name(item)} ({'below' if index in waiting else 'above'})"
                continue
            self.shown.add(index)
            if item.sources and len(branch) // 3 >= MAX_DEPTH:
                waiting.append(index)
                yield f"{branch}{_name(item)} (below)"
                continue
            yield branch + self._line(item)
            pending += self._children(index, prefix + ("   " if last else "│  "))

    def _children(self, index: int, prefix: str) -> list[tuple[int, str, bool]]:
        """What ``index`` takes, the last argument first, for a stack."""
        sources = self.picture.items[index].sources
        return [(source, prefix, source == sources[-1]) for source in reversed(sources)]

    def _line(self, item: Item) -> str:
        steps = self.picture.steps_text(item)
        bengali = f" ({item.value_bn})" if item.value and item.role == "answer" else ""
        note = f"  [{item.note}]" if item.note else ""
        return f"{_name(item)}: {steps}{bengali}{note}"


def _name(item: Item) -> str:
    return f"{item.id}, {item.label}" if item.label else item.id
