"""A comparison as one self-contained page: the figures, and every question that changed with both of its graphs.

No script; nothing is loaded. What a model wrote is shown escaped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from ..graph.numerals import to_bengali_digits
from ..graph.show.inline import inline_svg
from ..graph.show.page import PAGE_STYLE
from ..graph.show.picture import draw_up, safe_lines
from ..graph.show.style import STYLE
from ..graph.show.svg import picture_svg
from .compare import Comparison, Pair, changed_pairs, compare, pairs_of
from .row_file import Run
from .rows import EvalRow
from .score import make
from .words import RULE, groups_of, number, origin, paired_rows, verdict

# A page of more is slow to open; the rest stands in a table.
MOST_DRAWN = 60
_MOST_TEXT = 1500
_LEAST_SCALE = 0.72
_SVG_STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)

_STYLE = f"""{PAGE_STYLE.rstrip()}
h1{{font-size:22px;color:var(--ink)}}
p+p,ul{{margin-top:8px}}
ul{{margin-bottom:0;padding-left:20px;overflow-wrap:anywhere}}
.verdict{{font-size:18px}}
.runs{{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,320px),1fr));gap:16px}}
.runs h2{{color:var(--ink)}}
.runs li{{color:var(--muted);font-size:14px}}
.table{{overflow-x:auto}}
table{{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:15px}}
th{{text-align:right;white-space:nowrap;font-size:13px;color:var(--muted)}}
td{{text-align:right;white-space:nowrap}}
th:first-child,td:first-child{{text-align:left}}
th,td{{padding:6px 0 6px 16px;border-bottom:1px solid var(--line)}}
th:first-child,td:first-child{{padding-left:0}}
tbody tr:last-child>*{{border-bottom:0}}
.square td,.square th{{text-align:center;padding:8px}}
.square th{{text-align:center}}
.square td{{font-size:22px;font-weight:700}}
details{{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:0 22px}}
summary{{cursor:pointer;padding:14px 0;overflow-wrap:anywhere}}
summary span{{color:var(--muted)}}
details[open]{{padding-bottom:18px}}
.badge{{font-weight:700}}
.lost .badge{{color:var(--warn)}}
.won .badge{{color:var(--answer)}}
.question{{font-size:17px;white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:plaintext}}
.sides{{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:16px;margin-top:12px}}
figure{{margin:0;border:1px solid var(--line);border-radius:10px;padding:10px;overflow-x:auto;min-width:0}}
figcaption{{font-weight:600;margin-bottom:8px;overflow-wrap:anywhere}}
figcaption small{{display:block;font-weight:400;color:var(--muted)}}
figure svg{{display:block;margin:0 auto;max-width:100%;height:auto}}
pre{{white-space:pre-wrap;overflow-wrap:anywhere;font-size:12.5px;margin:0;color:var(--muted)}}
@media (max-width:600px){{body{{padding:10px 8px 24px;font-size:15px}}section{{padding:14px}}details{{padding:0 14px}}}}
@media print{{body{{background:none;padding:0}}section,details{{border:0}}figure,tr{{break-inside:avoid}}}}
"""
_BADGES = {"lost": "became wrong", "won": "became right", "other": "another answer"}


def comparison_page(before: Run, after: Run) -> str:
    """The page, in UTF-8.

    Raises:
        UsageError: as of `compare.compare`.
    """
    found = compare(before, after)
    changed = changed_pairs(pairs_of(before, after))
    body = [
        _head(found),
        f'<section><h2>Question by question</h2><div class="table">{_figures(found)}</div></section>',
        f'<section><h2>Right and wrong</h2><div class="table square">{_square(found)}</div></section>',
        _about(len(changed)),
        *(_pair(index, pair) for index, pair in enumerate(changed[:MOST_DRAWN])),
        _rest(changed[MOST_DRAWN:]),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width,initial-scale=1"><title>dagger-edge eval compare</title>'
        f"<style>{_STYLE}{STYLE}</style></head><body><main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main></body></html>\n"
    )


def _head(found: Comparison) -> str:
    runs = "".join(
        f"<div><h2>{name}: {escape(lines[0])}</h2>{_list(lines[1:])}</div>"
        for name, lines in (("before", origin(found.before)), ("after", origin(found.after)))
    )
    differing = f"<p>They differ in: {escape('; '.join(found.differing))}.</p>" if found.differing else ""
    alone = f"<p>Left out, in one run alone: {sum(found.alone):,} rows.</p>" if any(found.alone) else ""
    return (
        f'<section><h1>dagger-edge eval compare</h1><p class="verdict">{escape(verdict(found.total))}</p>'
        f'<p>{escape(RULE)}</p>{differing}{alone}</section><section class="runs">{runs}</section>'
    )


def _list(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _figures(found: Comparison) -> str:
    names = ["", *(item.before.name for item in groups_of(found))]
    return _table(names, paired_rows(found))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _square(found: Comparison) -> str:
    total = found.total
    return (
        "<table><thead><tr><th></th><th>right after</th><th>wrong after</th></tr></thead><tbody>"
        f"<tr><th>right before</th><td>{total.both:,}</td><td>{total.only_before:,}</td></tr>"
        f"<tr><th>wrong before</th><td>{total.only_after:,}</td><td>{total.neither:,}</td></tr></tbody></table>"
    )


def _about(count: int) -> str:
    if count == 0:
        return "<section><h2>What changed</h2><p>No question has another answer or outcome.</p></section>"
    drawn = "" if count <= MOST_DRAWN else f" The first {MOST_DRAWN} are drawn, the others stand in a table below."
    words = "question has" if count == 1 else "questions have"
    told = f"{count:,} {words} another answer or outcome: first those that became wrong, then those that became right."
    return f"<section><h2>What changed</h2><p>{told}{drawn}</p></section>"


def _kind(pair: Pair) -> str:
    if (pair.before.outcome == "correct") == (pair.after.outcome == "correct"):
        return "other"
    return "lost" if pair.before.outcome == "correct" else "won"


def _title(pair: Pair) -> str:
    before, after = pair
    return f"{before.set} {before.row} · gold {number(before.gold)} · before {_told(before)} · after {_told(after)}"


def _told(row: EvalRow) -> str:
    return row.outcome if row.answer is None else number(row.answer)


def _pair(index: int, pair: Pair) -> str:
    kind = _kind(pair)
    sides = "".join(
        _side(f"g{index}{name[0]}-", name, row) for name, row in (("before", pair.before), ("after", pair.after))
    )
    # Open, since it is what one came for; those further down cost a click each.
    opened = " open" if index < 10 else ""
    return (
        f'<details class="{kind}"{opened}><summary><span class="badge">{_BADGES[kind]}</span>'
        f" <span>· {escape(_title(pair))}</span></summary>"
        f'<p class="question" lang="bn">{escape(safe_lines(pair.before.question))}</p>'
        f'<div class="sides">{sides}</div></details>'
    )


def _side(prefix: str, name: str, row: EvalRow) -> str:
    answer = "no answer" if row.answer is None else f"{number(row.answer)} ({to_bengali_digits(number(row.answer))})"
    notes = [row.error or "", f"repaired: {', '.join(row.fixes)}" if row.fixes else ""]
    note = "".join(f"<small>{escape(text)}</small>" for text in notes if text)
    return (
        f"<figure><figcaption>{name}: {escape(row.outcome)}, {escape(answer)}{note}</figcaption>"
        f"{_drawing(prefix, row)}</figure>"
    )


def _drawing(prefix: str, row: EvalRow) -> str:
    """The graph, or where there is none the beginning of the text."""
    made = make(row.text)
    if made.graph is None:
        cut = "…" if len(row.text) > _MOST_TEXT else ""
        return f'<pre lang="bn">{escape(safe_lines(row.text[:_MOST_TEXT]))}{cut}</pre>'
    svg, width = picture_svg(draw_up(made.graph, made.result))
    # One style sheet for all of them stands in the page's head.
    inlined = inline_svg(_SVG_STYLE.sub("", svg), prefix)
    return inlined.replace("<svg ", f'<svg style="min-width:{width * _LEAST_SCALE:.0f}px" ', 1)


def _rest(pairs: Sequence[Pair]) -> str:
    if not pairs:
        return ""
    rows = [
        [f"{pair.before.set} {pair.before.row}", _BADGES[_kind(pair)], number(pair.before.gold), *map(_told, pair)]
        for pair in pairs
    ]
    head = ("question", "", "gold", "before", "after")
    return f'<section><h2>The others that changed</h2><div class="table">{_table(head, rows)}</div></section>'
