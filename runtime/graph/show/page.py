"""A graph as one self-contained HTML page: question, answer, drawing, steps. No script; nothing is loaded."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from html import escape

from ..schema import Graph, Result
from .picture import ASIDE_TITLE, NO_VALUE, Item, Picture, draw_up, safe_lines
from .style import FONTS, STYLE
from .svg import picture_svg

_LEAST_SCALE = 0.72

# Colours and boxes of a page, light or dark as the reader has it; for every page that shows graphs.
PAGE_STYLE = f"""
:root{{color-scheme:light dark;--page:#f4f6f9;--card:#fff;--ink:#1b2430;--muted:#5b6675;--line:#dfe4ea;
--answer:#0d7a52;--warn:#b4540a;--warn-card:#fdf3e7}}
@media screen and (prefers-color-scheme:dark){{:root{{--page:#0e1116;--card:#14181e;--ink:#e8edf3;--muted:#9aa7b6;
--line:#2a323c;--answer:#3fc492;--warn:#f0a35a;--warn-card:#241c13}}}}
*{{box-sizing:border-box}}
body{{margin:0;padding:24px 16px 40px;background:var(--page);color:var(--ink);font:16px/1.55 {FONTS}}}
main{{max-width:1080px;margin:0 auto;display:grid;grid-template-columns:minmax(0,1fr);gap:16px}}
section{{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:18px 22px}}
h1,h2{{font-size:14px;font-weight:600;color:var(--muted);margin:0 0 8px}}
p{{margin:0}}
"""
_STYLE = f"""{PAGE_STYLE.rstrip()}
.question{{font-size:18px;white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:plaintext}}
.answer{{display:flex;flex-wrap:wrap;align-items:baseline;gap:4px 28px;color:var(--answer);font-weight:700;
font-size:44px;line-height:1.25;overflow-wrap:anywhere;min-width:0}}
.answer span{{min-width:0}}
.answer .long{{font-size:24px}}
.missing{{color:var(--warn);font-size:20px;font-weight:600}}
figure{{margin:0;overflow-x:auto}}
figure svg{{display:block;margin:0 auto;max-width:100%;height:auto}}
.table{{overflow-x:auto}}
table{{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}}
th{{text-align:left;white-space:nowrap;font-size:13px;font-weight:600;color:var(--muted)}}
th,td{{padding:7px 12px 7px 0;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}}
tr:last-child td{{border-bottom:0}}
.number{{text-align:right;padding-right:0;font-weight:600}}
small,.final small{{color:var(--muted);font-size:13px;font-weight:400;display:block;unicode-bidi:isolate}}
.final td{{color:var(--answer);font-weight:700}}
.aside td{{color:var(--muted)}}
.warnings{{background:var(--warn-card);border-color:var(--warn)}}
.warnings h2{{color:var(--warn)}}
ul{{margin:0;padding-left:20px;overflow-wrap:anywhere}}
@media (max-width:600px){{body{{padding:10px 8px 24px;font-size:15px}}section{{padding:14px}}
.answer{{font-size:34px}}th:first-child,td:first-child{{display:none}}}}
@page{{size:A4;margin:14mm}}
@media print{{body{{background:none;padding:0;font-size:11pt}}main{{display:block}}
section{{border:0;border-radius:0;padding:0 0 14px;background:none}}
figure{{overflow:visible}}figure svg{{min-width:0!important;max-height:175mm}}
section.graph,tr,li{{break-inside:avoid}}h2{{break-after:avoid}}}}
"""


def to_html(graph: Graph, result: Result | None = None, *, question: str | None = None) -> str:
    """``graph`` as an HTML document: the answer in both scripts, the drawing, the steps, the warnings.

    It has no script and loads nothing, and its content security policy forbids both. ``result`` is what
    ``execute`` returned for ``graph``; without it there is no answer.

    Raises GraphStructureError above 256 nodes.
    """
    picture = draw_up(graph, result)
    drawing, width = picture_svg(picture)
    # Below this a drawing scrolls, for smaller letters could not be read.
    style = f"{PAGE_STYLE}figure svg{{min-width:{width * _LEAST_SCALE:.0f}px}}\n"
    parts = [
        "<!DOCTYPE html>",
        '<html lang="bn">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(style, STYLE)}">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>{escape(_page_title(picture))}</title>",
        f"<style>{style}</style>",
        "</head>",
        "<body>",
        "<main>",
        _question(question),
        _answer(result),
        _section("graph", "গ্রাফ · Graph", f'<figure tabindex="0">{drawing}</figure>'),
        _section("steps", "ধাপ · Steps", _table(picture, picture.main)) if picture.main else "",
        _section("aside", f"অপ্রয়োজনীয় · {ASIDE_TITLE}", _table(picture, picture.aside)) if picture.aside else "",
        _warnings(picture),
        "</main>",
        "</body>",
        "</html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _policy(*styles: str) -> str:
    """Nothing but these style sheets."""
    hashes = " ".join(map(policy_source, styles))
    return f"default-src 'none'; style-src {hashes}; base-uri 'none'; form-action 'none'"


def policy_source(text: str) -> str:
    """What a content security policy calls the inline style sheet or script ``text``."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _page_title(picture: Picture) -> str:
    item = picture.answer_item
    return f"উত্তর {item.value_bn} ({item.value})" if item is not None and item.value else "Graph"


def _section(name: str, heading: str, content: str) -> str:
    return f'<section class="{name}"><h2>{heading}</h2>{content}</section>'


def _question(question: str | None) -> str:
    return (
        _section("asked", "প্রশ্ন · Question", f'<p class="question">{escape(safe_lines(question))}</p>')
        if question
        else ""
    )


def _answer(result: Result | None) -> str:
    if result is None:
        reason = "not run: the graph has no answer yet, or running it failed"
        return _section("result", "উত্তর · Answer", f'<p class="missing">{reason}</p>')
    size = ' class="long"' if len(result.answer_text) > 16 else ""
    numbers = "".join(f"<span{size}>{escape(text)}</span>" for text in (result.answer_text_bn, result.answer_text))
    return _section("result", "উত্তর · Answer", f'<p class="answer">{numbers}</p>')


def _table(picture: Picture, items: Iterable[Item]) -> str:
    rows = "".join(_row(picture, number, item) for number, item in enumerate(items, start=1))
    head = '<tr><th>#</th><th>What</th><th>Calculation</th><th class="number">Value</th></tr>'
    return f'<div class="table"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>'


def _row(picture: Picture, number: int, item: Item) -> str:
    kind = ' class="final"' if item.role == "answer" else ""
    name = " · ".join(part for part in (item.id if item.label else "", item.op, item.note) if part)
    steps = escape(item.expression) or ("<small>দেওয়া · given</small>" if item.op == "const" else "")
    missing = NO_VALUE if picture.ran else ""
    value = f"{escape(item.value)}<small>{escape(item.value_bn)}</small>" if item.value else missing
    return (
        f"<tr{kind}><td>{number}</td><td><bdi>{escape(item.label or item.id)}</bdi><small>{escape(name)}</small></td>"
        f'<td>{steps}</td><td class="number">{value}</td></tr>'
    )


def _warnings(picture: Picture) -> str:
    if not picture.warnings:
        return ""
    lines = "".join(f"<li>{escape(warning)}</li>" for warning in picture.warnings)
    return _section("warnings", "সতর্কতা · Warnings", f"<ul>{lines}</ul>")
