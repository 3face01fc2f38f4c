"""Rows for a drawing from top to bottom: which node in which row, and in what order.

Rows are by the longest path to the answer, so that a constant stands right above its first use. An edge that
passes rows has a cell in each of them, which keeps it clear of the boxes. Edges that share a source, or a
target, share those cells.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isqrt

MAX_BOXES_IN_ROW = 6
SWEEPS = 6


@dataclass(slots=True)
class Rows:
    """Cells in rows. Cells below ``boxes`` are the nodes by index; those above it are where an edge passes.

    ``above`` and ``below`` are the neighbours of a cell in the rows next to its own. ``outside`` holds the
    passing cells that must stay right of all boxes. ``first_aside`` is the first row of the nodes that the
    answer does not need, or the number of rows.
    """

    boxes: int
    rows: list[list[int]]
    first_aside: int
    above: list[list[int]] = field(default_factory=list)
    below: list[list[int]] = field(default_factory=list)
    outside: set[int] = field(default_factory=set)

    def is_box(self, cell: int) -> bool:
        """Whether ``cell`` is a node."""
        return cell < self.boxes

    def links(self) -> list[tuple[int, int]]:
        """All pairs of neighbours, the upper one first."""
        return [(upper, lower) for upper, lowers in enumerate(self.below) for lower in lowers]


def make_rows(sources: Sequence[Sequence[int]], aside: Sequence[bool]) -> Rows:
    """Rows for nodes that take ``sources``, all of them earlier nodes; nothing takes an ``aside`` node but another."""
    main = [index for index, beside in enumerate(aside) if not beside]
    lane = [index for index, beside in enumerate(aside) if beside]
    upper = _stack(sources, main, MAX_BOXES_IN_ROW)
    widest = max((len(row) for row in upper), default=0)
    lower = _stack(sources, lane, min(max(widest, 2, isqrt(len(lane))), MAX_BOXES_IN_ROW))
    rows = Rows(len(sources), [*upper, *lower], len(upper))
    _link(rows, sources, aside)
    _order(rows)
    return rows


def _stack(sources: Sequence[Sequence[int]], members: Sequence[int], limit: int) -> list[list[int]]:
    """``members`` in rows, the last row being the end of every path; full rows push constants up."""
    height = dict.fromkeys(members, 0)
    for index in reversed(members):
        for source in sources[index]:
            if source in height:
                height[source] = max(height[source], height[index] + 1)
    rows: list[list[int]] = [[] for _ in range(max(height.values(), default=-1) + 1)]
    for index, level in height.items():
        rows[level].append(index)
    level = 0
    while level < len(rows):
        free = [index for index in rows[level] if not any(source in height for source in sources[index])]
        surplus = set(free[: max(0, len(rows[level]) - limit)])
        if surplus:
            if level + 1 == len(rows):
                rows.append([])
            rows[level] = [index for index in rows[level] if index not in surplus]
            rows[level + 1] = sorted([*surplus, *rows[level + 1]])
        level += 1
    return rows[::-1]


def _link(rows: Rows, sources: Sequence[Sequence[int]], aside: Sequence[bool]) -> None:
    """Fill in the neighbours, with passing cells for the edges that are longer than a row."""
    row_of = {cell: number for number, row in enumerate(rows.rows) for cell in row}
    uses = [0] * rows.boxes
    for taken in sources:
        for source in taken:
            uses[source] += 1
    rows.above = [[] for _ in range(rows.boxes)]
    rows.below = [[] for _ in range(rows.boxes)]
    passing: dict[tuple[int, bool, int], int] = {}
    linked: set[tuple[int, int]] = set()
    for target, taken in enumerate(sources):
        for source in taken:
            # Several edges from one node, or several into one node, run together.
            shared = (source, aside[target]) if uses[source] > 1 else (-1 - target, aside[target])
            upper = source
            for number in range(row_of[source] + 1, row_of[target] + 1):
                lower = target if number == row_of[target] else _passing_cell(rows, passing, (*shared, number))
                if (upper, lower) not in linked:
                    linked.add((upper, lower))
                    rows.below[upper].append(lower)
                    rows.above[lower].append(upper)
                upper = lower


def _passing_cell(rows: Rows, passing: dict[tuple[int, bool, int], int], key: tuple[int, bool, int]) -> int:
    if key not in passing:
        cell = passing[key] = len(rows.above)
        rows.above.append([])
        rows.below.append([])
        _, to_aside, number = key
        rows.rows[number].append(cell)
        if to_aside and number < rows.first_aside:
            rows.outside.add(cell)
    return passing[key]


def _order(rows: Rows) -> None:
    """Order every row: as a walk up from the answer meets the cells, then by barycentres, the best of all kept."""
    met = _walk(rows)
    for row in rows.rows:
        row.sort(key=lambda cell: (cell in rows.outside, met[cell]))
    best, fewest = [list(row) for row in rows.rows], _crossings(rows)
    for sweep in range(SWEEPS):
        if fewest == 0:
            break
        down = sweep % 2 == 0
        for number in range(1, len(rows.rows)) if down else reversed(range(len(rows.rows) - 1)):
            _sort_row(rows, number, down=down)
        crossings = _crossings(rows)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows.rows], crossings
    rows.rows = best


def _walk(rows: Rows) -> dict[int, int]:
    """When a walk up from the ends, arguments in their order, meets each cell."""
    met: dict[int, int] = {}
    pending = [cell for row in rows.rows for cell in sorted(row, reverse=True) if not rows.below[cell]]
    while pending:
        cell = pending.pop()
        if cell not in met:
            met[cell] = len(met)
            pending.extend(reversed(rows.above[cell]))
    return met


def _sort_row(rows: Rows, number: int, *, down: bool) -> None:
    """Sort a row by the mean place of its neighbours in the row that was sorted before it."""
    row = rows.rows[number]
    neighbours = rows.above if down else rows.below
    place = {cell: index for index, cell in enumerate(rows.rows[number - 1 if down else number + 1])}
    centre = {}
    for index, cell in enumerate(row):
        places = [place[other] for other in neighbours[cell]]
        centre[cell] = sum(places) / len(places) if places else float(index)
    row.sort(key=lambda cell: (cell in rows.outside, centre[cell]))


def _crossings(rows: Rows) -> int:
    """How many pairs of edges cross between neighbouring rows."""
    place: dict[int, int] = defaultdict(int)
    for row in rows.rows:
        place.update((cell, index) for index, cell in enumerate(row))
    crossings = 0
    for row in rows.rows:
        ends: list[int] = []
        for cell in row:
            lowers = sorted(place[other] for other in rows.below[cell])
            crossings += sum(len(ends) - bisect_right(ends, lower) for lower in lowers)
            for lower in lowers:
                insort(ends, lower)
    return crossings
