"""A graph as a Mermaid flowchart, for places that draw one: GitHub, GitLab, notebooks, wikis.

Ids are made here. A text of the model is written inside quotes with every character but letters, digits,
marks and spaces as a numeric entity (``#34;``), so that nothing in it is syntax, HTML or Markdown.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from ..schema import Graph, Result
from .measure import clusters
from .picture import ASIDE_TITLE, Item, Picture, draw_up

MAX_LABEL = 60

_JOINERS = "\u200c\u200d"
# Mermaid looks for $$ (formulas), fa: (icons) and \n (lines) again after it has read the entities.
_BROKEN_UP = "$:\\"
_NOTHING = "#8204;"
# Text colours too: a theme may be light or dark.
_CLASSES = (
    ("given", "fill:#eef4fd,stroke:#7ea3dc,color:#1b2430"),
    ("path", "fill:#ffffff,stroke:#2f6bc4,stroke-width:2px,color:#1b2430"),
    ("answer", "fill:#0d7a52,stroke:#085c3d,stroke-width:3px,color:#ffffff"),
    ("distractor", "fill:#fafafa,stroke:#b3a79b,stroke-dasharray:5 4,color:#6d655e"),
    ("unused", "fill:#fafafa,stroke:#b4540a,stroke-dasharray:5 4,color:#6d655e"),
)
_LANE = "fill:#f6f3ef,stroke:#ddd5cb,stroke-dasharray:2 5,color:#5b6675"


def to_mermaid(graph: Graph, result: Result | None = None) -> str:
    """``graph`` as the text of a Mermaid flowchart, without a fence, ending in a newline.

    Classes are ``given``, ``path``, ``answer``, ``distractor`` and ``unused``; thick arrows lead to the
    answer, dotted ones do not. ``result`` is what ``execute`` returned for ``graph``; without it there are no
    values. Mermaid itself refuses more than 500 edges or 50,000 characters unless it is told otherwise.

    Raises GraphStructureError above 256 nodes.
    """
    return "\n".join(_lines(draw_up(graph, result))) + "\n"


def _lines(picture: Picture) -> Iterator[str]:
    yield "flowchart TD"
    for item in picture.main:
        yield f"  {_node(picture, item)}"
    if picture.aside:
        yield f'  subgraph aside["{escape(ASIDE_TITLE)}"]'
        for item in picture.aside:
            yield f"    {_node(picture, item)}"
        yield "  end"
    for item in picture.items:
        arrow = "-.->" if item.aside else "==>"
        for source in item.sources:
            yield f"  n{source} {arrow} n{item.index}"
    used = {_class(item) for item in picture.items}
    for name, style in _CLASSES:
        if name in used:
            yield f"  classDef {name} {style}"
    if picture.aside:
        yield f"  style aside {_LANE}"


def _node(picture: Picture, item: Item) -> str:
    # Where calculations are in ids, the ids must be seen.
    name = item.label if item.label and picture.ran else ", ".join(text for text in (item.id, item.label) if text)
    texts = [name, picture.steps_text(item), item.note]
    label = "<br/>".join(escape(_cut(text)) for text in texts if text)
    left, right = ("([", "])") if not item.sources and not item.aside else ("[", "]")
    return f'n{item.index}{left}"{label}"{right}:::{_class(item)}'


def _class(item: Item) -> str:
    return "given" if item.role == "path" and not item.sources else item.role


def escape(text: str) -> str:
    """``text`` as Mermaid shows it unchanged, inside quotes."""
    return "".join(
        char if _is_plain(char) else f"#{ord(char)};{_NOTHING if char in _BROKEN_UP else ''}" for char in text
    )


def _is_plain(char: str) -> bool:
    return char == " " or char in _JOINERS or unicodedata.category(char)[0] in "LM" or char.isdecimal()


def _cut(text: str) -> str:
    if len(text) <= MAX_LABEL:
        return text
    shown = ""
    for piece in clusters(text):
        if len(shown) + len(piece) >= MAX_LABEL:
            break
        shown += piece
    return f"{shown}…"
