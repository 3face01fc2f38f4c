"""The box of a node: what is written in it, in which size, and how large it must be. SVG of one box."""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.sax.saxutils import escape

from ..numerals import to_bengali_digits
from .layout import Place
from .measure import cut, width_of, wrap
from .picture import NO_VALUE, Item, Picture
from .style import ANSWER_SIZE, BENGALI_SIZE, EXPRESSION_SIZE, ID_SIZE, LABEL_SIZE, VALUE_SIZE

PADDING = 12.0
MIN_WIDTH = 136.0
MAX_WIDTH = 192.0

_LABEL_LINES = 2
_LONG_DECIMALS = re.compile(r"(\.[0-9]{4})[0-9]{3,}")
_BETWEEN = 8.0
# From one baseline to the next.
_ID_LINE = 15.0
_LABEL_LINE = 19.0
_EXPRESSION_LINE = 18.0
_VALUE_LINE = 25.0
_ANSWER_LINE = 29.0
_BOTTOM = 12.0


@dataclass(frozen=True, slots=True)
class Box:
    """The texts of a node as they fit into a box; empty ones are left out."""

    name: str
    kind: str
    label: tuple[str, ...]
    expression: str
    value: str
    value_bn: str
    height: float


def box_width(picture: Picture) -> float:
    """The width of every box, in pixels: what most texts need, within limits."""
    needed = [MIN_WIDTH]
    for item in picture.items:
        words = [width_of(word, LABEL_SIZE) for word in item.label.split(" ")]
        # Broken into two lines, the longer is seldom more than this.
        needed.append(max(*words, width_of(item.label, LABEL_SIZE) * 0.58) + 2 * PADDING)
        needed.append(width_of(_short(item.expression), EXPRESSION_SIZE) + 2 * PADDING)
        value = _short(item.value)
        both = width_of(value, _value_size(item)) + width_of(to_bengali_digits(value), BENGALI_SIZE)
        needed.append(both + _BETWEEN + 2 * PADDING)
    return float(round(min(max(needed), MAX_WIDTH)))


def make_box(picture: Picture, item: Item, width: float) -> Box:
    """The texts of ``item`` cut and wrapped to a box of ``width`` pixels."""
    room = width - 2 * PADDING
    kind = _kind(item)
    label = wrap(item.label, LABEL_SIZE, room, _LABEL_LINES) if item.label else []
    value = _short(item.value) or (NO_VALUE if picture.ran else "")
    size = _value_size(item)
    shown = cut(value, size, room)
    left = room - width_of(shown, size) - _BETWEEN
    value_bn = to_bengali_digits(_short(item.value))
    if width_of(value_bn, BENGALI_SIZE) > left:
        value_bn = ""
    height = PADDING + _ID_LINE - 3 + _LABEL_LINE * len(label) + _BOTTOM
    height += (_EXPRESSION_LINE if item.expression else 0) + (_value_line(item) if value else 0)
    return Box(
        name=cut(item.id, ID_SIZE, room - width_of(kind, ID_SIZE) - _BETWEEN),
        kind=kind,
        label=tuple(label),
        expression=cut(_short(item.expression), EXPRESSION_SIZE, room),
        value=shown,
        value_bn=value_bn,
        height=height,
    )


def box_markup(picture: Picture, item: Item, box: Box, place: Place) -> str:
    """``box`` as SVG, its top left corner at ``place``; hovering shows every text in full."""
    right = place.width - PADDING
    warned = " dg-warn" if item.note and item.role != "distractor" else " dg-muted"
    y = PADDING + ID_SIZE - 2
    parts = [
        f'<g class="{_classes(item)}" transform="translate({place.x:g} {place.y:g})">',
        f"<title>{escape(full_text(picture, item))}</title>",
        f'<rect width="{place.width:g}" height="{place.height:g}" rx="9"/>',
        '<g clip-path="url(#dg-clip)">',
        _text("dg-id dg-muted", PADDING, y, box.name),
        _text(f"dg-id dg-end{warned}", right, y, box.kind),
    ]
    for line in box.label:
        y += _LABEL_LINE
        parts.append(_text("dg-label", PADDING, y, line))
    if box.expression:
        y += _EXPRESSION_LINE
        parts.append(_text("dg-expression dg-muted", PADDING, y, box.expression))
    if box.value:
        # At the bottom, so that the values of a row are level.
        y = place.height - _BOTTOM
        parts.append(_text("dg-value" if item.value else "dg-expression dg-warn", PADDING, y, box.value))
    if box.value_bn:
        parts.append(_text("dg-bengali dg-muted dg-end", right, y, box.value_bn))
    return "".join([*parts, "</g></g>"])


def full_text(picture: Picture, item: Item) -> str:
    """All that is known of a node, in lines."""
    lines = [f"{item.id} ({item.op})", item.label, picture.steps_text(item), item.value_bn, item.note]
    return "\n".join(line for line in lines if line)


def _short(text: str) -> str:
    """``text`` with long decimals cut after the fourth place; the whole number is in the title."""
    return _LONG_DECIMALS.sub(r"\1…", text)


def _text(classes: str, x: float, y: float, text: str) -> str:
    return f'<text class="{classes}" x="{x:g}" y="{y:g}">{escape(text)}</text>'


def _kind(item: Item) -> str:
    """The word in the corner of the box: the operation, or what is special about the node."""
    if item.role == "answer":
        return "উত্তর"
    if item.aside:
        return "distractor" if item.marked else "unused"
    return "marked distractor" if item.marked else cut(item.op, ID_SIZE, MIN_WIDTH / 2)


def _classes(item: Item) -> str:
    kind = "aside" if item.aside else "answer" if item.role == "answer" else "step" if item.sources else "given"
    flagged = " dg-flagged" if item.marked and not item.aside else ""
    return f"dg-node dg-{kind}{flagged}"


def _value_size(item: Item) -> float:
    return ANSWER_SIZE if item.role == "answer" else VALUE_SIZE


def _value_line(item: Item) -> float:
    return _ANSWER_LINE if item.role == "answer" else _VALUE_LINE
