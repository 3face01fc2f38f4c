"""A graph as a stand-alone SVG: constants at the top, the answer below them, what it does not need in a lane."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

from ..schema import Graph, Result, Step
from .boxes import PADDING, box_markup, box_width, make_box
from .layout import LANE_PADDING, Layout, Line, lay_out
from .measure import width_of, wrap
from .picture import ASIDE_TITLE, Picture, draw_growing, draw_up, one_line
from .style import EXPRESSION_SIZE, LABEL_SIZE, STYLE

_MARGIN = 20.0
_MIN_WIDTH = 300.0
_QUESTION_LINES = 12
_QUESTION_LINE = 21.0
_LEGEND_LINE = 24.0
_SWATCH = 18.0
_MAX_DESCRIBED = 40


def to_svg(graph: Graph, result: Result | None = None, *, question: str | None = None) -> str:
    """``graph`` as an SVG document: no script, nothing loaded, light or dark as the viewer has it.

    ``result`` is what ``execute`` returned for ``graph``; without it there are no values. ``question`` is
    written above the drawing. Any graph of up to 256 nodes can be drawn, also one that cannot be run.

    Raises GraphStructureError above 256 nodes.
    """
    return picture_svg(draw_up(graph, result), question=question)[0]


def growing_svg(graph: Graph, steps: Sequence[Step]) -> str:
    """`to_svg` of a graph while it is being written, with its ``steps`` so far; see `draw_growing`."""
    return picture_svg(draw_growing(graph, steps))[0]


def picture_svg(picture: Picture, *, question: str | None = None) -> tuple[str, float]:
    """The SVG document of ``picture``, and its width in pixels."""
    width = box_width(picture)
    boxes = [make_box(picture, item, width) for item in picture.items]
    layout = lay_out(
        [item.sources for item in picture.items],
        [item.aside for item in picture.items],
        width,
        [box.height for box in boxes],
    )
    inner = max(layout.width, _MIN_WIDTH)
    head, head_height = _question(question, inner)
    legend, legend_height = _legend(picture, inner)
    height = head_height + layout.height + legend_height + 2 * _MARGIN
    total = inner + 2 * _MARGIN
    left = _MARGIN + (inner - layout.width) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="dg" width="{total:g}" height="{height:g}" '
        f'viewBox="0 0 {total:g} {height:g}" role="img" aria-labelledby="dg-title dg-desc">',
        f'<title id="dg-title">{escape(_title(picture))}</title>',
        f'<desc id="dg-desc">{escape(_description(picture))}</desc>',
        f"<style>{STYLE}</style>",
        # No text leaves its box, whatever the viewer's font.
        f'<clipPath id="dg-clip"><rect width="{width - PADDING / 3:g}" height="1000"/></clipPath>',
        f'<rect class="dg-page" width="{total:g}" height="{height:g}"/>',
        head,
        f'<g transform="translate({left:g} {_MARGIN + head_height:g})">',
        *_lane(layout),
        *_edges(layout),
        *(
            box_markup(picture, item, box, place)
            for item, box, place in zip(picture.items, boxes, layout.boxes, strict=True)
        ),
        "</g>",
        f'<g transform="translate({_MARGIN:g} {height - _MARGIN - legend_height:g})">{legend}</g>',
        "</svg>\n",
    ]
    return "\n".join(part for part in parts if part), total


def _title(picture: Picture) -> str:
    item = picture.answer_item
    answer = f", answer {item.value}" if item is not None and item.value else ""
    return f"Computational graph of {len(picture.items)} nodes{answer}"


def _description(picture: Picture) -> str:
    """The drawing in words, for those who do not see it."""
    items = [*picture.main, *picture.aside]
    told = [
        f"{item.label or item.id}: {picture.steps_text(item)}" + (f" ({item.note})" if item.note else "")
        for item in items[:_MAX_DESCRIBED]
    ]
    if len(items) > _MAX_DESCRIBED:
        told.append(f"and {len(items) - _MAX_DESCRIBED} more")
    return "; ".join(told)


def _question(question: str | None, width: float) -> tuple[str, float]:
    """The question as lines of text, and the height that they take."""
    if not question:
        return "", 0.0
    whole = one_line(question)
    lines = wrap(whole, LABEL_SIZE, width, _QUESTION_LINES)
    baselines = [_MARGIN + LABEL_SIZE + _QUESTION_LINE * number for number in range(len(lines))]
    texts = "".join(
        f'<text class="dg-label" x="{_MARGIN:g}" y="{y:g}">{escape(line)}</text>'
        for y, line in zip(baselines, lines, strict=True)
    )
    return f"<g><title>{escape(whole)}</title>{texts}</g>", _QUESTION_LINE * len(lines) + _MARGIN


def _lane(layout: Layout) -> Iterable[str]:
    if layout.lane is not None:
        lane = layout.lane
        yield f'<rect class="dg-lane" y="{lane.y:g}" width="{lane.width:g}" height="{lane.height:g}" rx="12"/>'
        yield f'<text class="dg-expression dg-muted" x="{LANE_PADDING:g}" y="{lane.y + 22:g}">{ASIDE_TITLE}</text>'


def _edges(layout: Layout) -> Iterable[str]:
    """One path for all edges of a kind, those of the answer drawn last, and their heads."""
    for suffix, aside in (("-aside", True), ("", False)):
        lines = [line for line in layout.lines if line.aside is aside]
        if lines:
            yield f'<path class="dg-edge{suffix}" d="{"".join(map(_curve, lines))}"/>'
            yield f'<path class="dg-head{suffix}" d="{"".join(_head(line) for line in lines if line.arrow)}"/>'


def _curve(line: Line) -> str:
    start = line.y + line.straight
    end = line.to_y - (6 if line.arrow else 0)
    bend = (end - start) / 2
    down = f"V{start:g}" if line.straight else ""
    return (
        f"M{line.x:g} {line.y:g}{down}C{line.x:g} {start + bend:g} {line.to_x:g} {end - bend:g} {line.to_x:g} {end:g}"
    )


def _head(line: Line) -> str:
    return f"M{line.to_x:g} {line.to_y:g}l-4.5 -8h9z"


def _legend(picture: Picture, width: float) -> tuple[str, float]:
    """What the boxes mean, as far as the drawing has them, and the height that this takes."""
    kinds = {
        "dg-given": ("দেওয়া সংখ্যা · given", any(not item.sources for item in picture.main)),
        "dg-step": ("ধাপ · step", any(item.sources and item.role == "path" for item in picture.main)),
        "dg-answer": ("উত্তর · answer", picture.answer is not None),
        "dg-aside": ("অপ্রয়োজনীয় · not needed", bool(picture.aside)),
        "dg-step dg-flagged": ("marked as a distractor, but used", any(item.marked for item in picture.main)),
    }
    x, y, parts = 0.0, _MARGIN + 4, []
    for kind, (text, present) in kinds.items():
        needed = _SWATCH + 6 + width_of(text, EXPRESSION_SIZE)
        if not present:
            continue
        if x and x + needed > width:
            x, y = 0.0, y + _LEGEND_LINE
        parts.append(
            f'<g class="{kind}"><rect x="{x:g}" y="{y:g}" width="{_SWATCH:g}" height="12" rx="3"/></g>'
            f'<text class="dg-expression dg-muted" x="{x + _SWATCH + 6:g}" y="{y + 10.5:g}">{text}</text>'
        )
        x += needed + 16
    return "".join(parts), y + 12
