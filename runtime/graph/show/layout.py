"""Where everything goes: coordinates of boxes and edges, top to bottom, in plain Python.

Within a row the places are those nearest to where the neighbours would have them, with the gaps kept: least
squares, solved exactly by merging neighbours that push each other (pool adjacent violators).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from .layers import Rows, make_rows

ROW_GAP = 46.0
BOX_GAP = 22.0
LANE_TITLE = 34.0
LANE_PADDING = 16.0

_PASS_WIDTH = 8.0
_PASS_WEIGHT = 8.0
_PASS_PULL = 0.05
_STEP_WEIGHT = 4.0
# Towards the middle, so that rows do not drift apart.
_GRAVITY = 0.3
# The last is a way down, so that an answer stands right below its only step.
_SWEEPS = 17
_FREE_SWEEPS = 2


@dataclass(frozen=True, slots=True)
class Place:
    """A rectangle in pixels, ``x`` and ``y`` being its top left corner."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Line:
    """A part of an edge, from its upper to its lower end; both ends are vertical.

    ``straight`` is how far it runs down before it bends: through the row that it passes. ``arrow``: it ends at
    a box.
    """

    x: float
    y: float
    straight: float
    to_x: float
    to_y: float
    aside: bool
    arrow: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """Boxes in the order of the nodes, the edges, and the lane of the nodes that the answer does not need."""

    boxes: tuple[Place, ...]
    lines: tuple[Line, ...]
    lane: Place | None
    width: float
    height: float


def lay_out(
    sources: Sequence[Sequence[int]], aside: Sequence[bool], box_width: float, heights: Sequence[float]
) -> Layout:
    """Place boxes of one width; those of a row get the height of its highest.

    ``sources`` are the earlier nodes that each node takes. ``aside`` marks nodes that none but such a node
    takes. Sizes are in pixels. Equal arguments give an equal layout.
    """
    rows = make_rows(sources, aside)
    centres = _centres(rows, box_width)
    left, right = _extent(range(len(centres)), rows, centres, box_width)
    margin = LANE_PADDING if any(aside) else 0.0
    centres = [round(centre - left + margin, 1) for centre in centres]
    tops, row_heights, bottom = _tops(rows, heights)
    row_of = {cell: number for number, row in enumerate(rows.rows) for cell in row}
    boxes = tuple(
        Place(round(centres[cell] - box_width / 2, 1), tops[row_of[cell]], box_width, row_heights[row_of[cell]])
        for cell in range(rows.boxes)
    )
    width = round(right - left + 2 * margin, 1)
    lane = None
    if any(aside):
        top = tops[rows.first_aside] - LANE_TITLE
        lane = Place(0.0, top, width, bottom + LANE_PADDING - top)
        bottom += LANE_PADDING
    lines = tuple(_lines(rows, centres, row_of, tops, row_heights, box_width, aside))
    return Layout(boxes, lines, lane, width, bottom)


def _width(rows: Rows, cell: int, box_width: float) -> float:
    return box_width if rows.is_box(cell) else _PASS_WIDTH


def _weight(rows: Rows, cell: int) -> float:
    """How much a cell insists on its place: a chain of operations stays straight, its constants give way."""
    if not rows.is_box(cell):
        return _PASS_WEIGHT
    return _STEP_WEIGHT if rows.above[cell] else 1.0


def _centres(rows: Rows, box_width: float) -> list[float]:
    """The horizontal centre of every cell. The lane is under the middle of the rest."""
    centres = [0.0] * len(rows.above)
    main, lane = rows.rows[: rows.first_aside], rows.rows[rows.first_aside :]
    for part in (main, lane):
        _relax(rows, [[cell for cell in row if cell not in rows.outside] for row in part], centres, box_width)
    boxes_of_main = [cell for row in main for cell in row if cell not in rows.outside]
    left, right = _extent(boxes_of_main, rows, centres, box_width)
    lane_left, lane_right = _extent([cell for row in lane for cell in row], rows, centres, box_width)
    for row in lane:
        for cell in row:
            centres[cell] += (left + right - lane_left - lane_right) / 2
    _place_outside(rows, centres, right)
    return centres


def _extent(cells: Sequence[int], rows: Rows, centres: Sequence[float], box_width: float) -> tuple[float, float]:
    """The leftmost and the rightmost edge of ``cells``."""
    halves = [(centres[cell], _width(rows, cell, box_width) / 2) for cell in cells]
    left = min((centre - half for centre, half in halves), default=0.0)
    return left, max((centre + half for centre, half in halves), default=0.0)


def _place_outside(rows: Rows, centres: list[float], right: float) -> None:
    """Give every edge that leads from the rest to the lane a straight way down, right of everything."""
    track = right + BOX_GAP
    # From the last row up, so that the ways do not cross.
    for row in reversed(rows.rows[: rows.first_aside]):
        for cell in row:
            if cell in rows.outside:
                lower = next((other for other in rows.below[cell] if other in rows.outside), None)
                if lower is None:
                    track += 2 * _PASS_WIDTH
                centres[cell] = track if lower is None else centres[lower]


def _relax(rows: Rows, part: Sequence[Sequence[int]], centres: list[float], box_width: float) -> None:
    """Move the cells of ``part`` to their neighbours in it, row by row, down and up."""
    inside = {cell for row in part for cell in row}
    above = {cell: [other for other in rows.above[cell] if other in inside] for cell in inside}
    below = {cell: [other for other in rows.below[cell] if other in inside] for cell in inside}
    weight = {cell: _weight(rows, cell) for cell in inside}
    gaps = [_gaps(rows, row, box_width) for row in part]
    steps = {cell for cell in inside if rows.is_box(cell) and above[cell]}
    for sweep in range(_SWEEPS):
        down, both = sweep % 2 == 0, sweep >= _SWEEPS // 2
        free = sweep >= _SWEEPS - _FREE_SWEEPS
        for number in range(len(part)) if down else reversed(range(len(part))):
            row = part[number]
            wanted = []
            for cell in row:
                near = above[cell] + below[cell] if both else above[cell] if down else below[cell]
                pulls = [(centres[other], _pull(rows, cell, other)) for other in near]
                total = sum(pull for _, pull in pulls) + (0.0 if free and cell in steps else _GRAVITY)
                wanted.append(sum(centre * pull for centre, pull in pulls) / total)
            for cell, centre in zip(row, _spread(wanted, [weight[cell] for cell in row], gaps[number]), strict=True):
                centres[cell] = centre


def _pull(rows: Rows, cell: int, other: int) -> float:
    """How much ``cell`` wants to be where its neighbour ``other`` is."""
    if rows.is_box(cell) != rows.is_box(other):
        # Passing edges stand beside boxes; if they pulled, every row would be further to that side.
        return _PASS_PULL
    return _weight(rows, other)


def _gaps(rows: Rows, row: Sequence[int], box_width: float) -> list[float]:
    """The least distances between the centres of neighbours in a row."""
    gaps = []
    for one, other in itertools.pairwise(row):
        between = BOX_GAP if rows.is_box(one) or rows.is_box(other) else _PASS_WIDTH
        gaps.append((_width(rows, one, box_width) + _width(rows, other, box_width)) / 2 + between)
    return gaps


def _spread(wanted: Sequence[float], weights: Sequence[float], gaps: Sequence[float]) -> list[float]:
    """The places nearest to ``wanted``, in weighted least squares, that keep order and ``gaps``."""
    offsets = [0.0]
    for gap in gaps:
        offsets.append(offsets[-1] + gap)
    blocks: list[tuple[float, float, int]] = []  # mean, weight, length
    for place, weight, offset in zip(wanted, weights, offsets, strict=False):
        mean, total, length = place - offset, weight, 1
        while blocks and blocks[-1][0] > mean:
            other, more, count = blocks.pop()
            mean, total, length = (mean * total + other * more) / (total + more), total + more, length + count
        blocks.append((mean, total, length))
    means = [mean for mean, _, length in blocks for _ in range(length)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=False)]


def _tops(rows: Rows, heights: Sequence[float]) -> tuple[list[float], list[float], float]:
    """The top of every row, its height, and the bottom of the last."""
    tops, row_heights, y = [], [], 0.0
    for number, row in enumerate(rows.rows):
        if number > 0:
            y += ROW_GAP
        if number == rows.first_aside:
            y += LANE_TITLE
        tops.append(y)
        row_heights.append(max((heights[cell] for cell in row if rows.is_box(cell)), default=0.0))
        y += row_heights[-1]
    return tops, row_heights, y


def _lines(
    rows: Rows,
    centres: Sequence[float],
    row_of: dict[int, int],
    tops: Sequence[float],
    row_heights: Sequence[float],
    box_width: float,
    aside: Sequence[bool],
) -> list[Line]:
    ports = _ports(rows, centres, box_width)
    lines = []
    for upper, lower in rows.links():
        number = row_of[upper]
        bottom = tops[number] + row_heights[number]
        passing = not rows.is_box(upper)
        y = tops[number] if passing else bottom
        to_box = rows.is_box(lower)
        lines.append(
            Line(
                x=centres[upper],
                y=y,
                straight=bottom - y,
                to_x=ports[upper, lower] if to_box else centres[lower],
                to_y=tops[row_of[lower]],
                aside=_leads_aside(rows, lower, row_of, aside),
                arrow=to_box,
            )
        )
    return lines


def _leads_aside(rows: Rows, cell: int, row_of: dict[int, int], aside: Sequence[bool]) -> bool:
    if rows.is_box(cell):
        return aside[cell]
    return cell in rows.outside or row_of[cell] >= rows.first_aside


def _ports(rows: Rows, centres: Sequence[float], box_width: float) -> dict[tuple[int, int], float]:
    """Where on its top a box takes each of its edges: side by side, in the order in which they arrive."""
    ports = {}
    for cell in range(rows.boxes):
        arriving = sorted(rows.above[cell], key=lambda other: (centres[other], other))
        step = min(22.0, box_width * 0.7 / max(1, len(arriving)))
        first = centres[cell] - step * (len(arriving) - 1) / 2
        for place, other in enumerate(arriving):
            ports[other, cell] = round(first + place * step, 1)
    return ports
