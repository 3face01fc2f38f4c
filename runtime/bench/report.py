"""A result as one self-contained page with plots, or as the plots alone. No script; nothing is loaded."""

from __future__ import annotations

from html import escape

from ..graph.show.inline import inline_svg
from ..graph.show.style import FONTS
from .plots import LETTERS, picture, pictures
from .questions import bench_questions
from .rows import BenchResult
from .table import ceiling_lines, cells, origin, run_title

_STYLE = f"""
:root{{color-scheme:light}}
*{{box-sizing:border-box}}
body{{margin:0;padding:24px 16px 40px;background:#f4f6f9;color:#1b2430;font:15px/1.55 {FONTS}}}
main{{max-width:1080px;margin:0 auto;display:grid;grid-template-columns:minmax(0,1fr);gap:16px}}
section{{background:#fff;border:1px solid #dfe4ea;border-radius:14px;padding:18px 22px}}
h1{{font-size:22px;margin:0 0 8px}}
h2{{font-size:16px;margin:0 0 8px;overflow-wrap:anywhere}}
p,ul,ol{{margin:0 0 8px;overflow-wrap:anywhere}}
.plots{{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr));gap:12px}}
figure{{margin:0}}
figure svg{{display:block;width:100%;height:auto}}
.table{{overflow-x:auto}}
table{{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:14px}}
th{{text-align:right;white-space:nowrap;font-size:13px;color:#5b6675}}
td{{text-align:right;white-space:nowrap}}
th:first-child,td:first-child{{text-align:left;white-space:normal}}
th,td{{padding:5px 0 5px 14px;border-bottom:1px solid #dfe4ea}}
th:first-child,td:first-child{{padding-left:0}}
.figures{{display:flex;flex-wrap:wrap;gap:8px 32px}}
.figures div{{font-size:13px;color:#5b6675}}
.figures b{{display:block;font-size:24px;color:#1b2430}}
@page{{size:A4;margin:14mm}}
@media print{{body{{background:none;padding:0}}section{{border:0;padding:0 0 14px}}figure,tr{{break-inside:avoid}}}}
"""
_HEAD = ("", "median", "quartiles", "unit", "n", "ceiling", "reached")
# What stands large at the top of a run.
_LARGE = (("answers", "answers a minute"), ("answer", "s an answer"), ("plain speed", "tokens/s one by one"))


def html_report(result: BenchResult) -> str:
    """The page, in UTF-8.

    Raises:
        UsageError: matplotlib is not installed.
    """
    plots = "".join(f"<figure>{inline_svg(svg, f'p{index}-')}</figure>" for index, svg in enumerate(pictures(result)))
    body = [
        f"<section><h1>dagger-edge bench</h1>{_list(origin(result))}</section>",
        f'<section class="plots">{plots}</section>',
        *(_run(result, index) for index in range(len(result.runs))),
    ]
    if result.task is None:
        body.append(f"<section><h2>The questions</h2>{_questions(result)}</section>")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width,initial-scale=1"><title>dagger-edge bench</title>'
        f"<style>{_STYLE}</style></head><body><main>\n" + "\n".join(body) + "\n</main></body></html>\n"
    )


def svg_report(result: BenchResult) -> str:
    """The plots alone, one below the other.

    Raises:
        UsageError: matplotlib is not installed.
    """
    return picture(result)


def _run(result: BenchResult, index: int) -> str:
    run = result.runs[index]
    letter = LETTERS[index] if index < len(LETTERS) else str(index + 1)
    large = [(result.find(index, what), words) for what, words in _LARGE]
    figures = "".join(
        f"<div><b>{escape(cells(row)[1])}</b>{escape(words)}</div>" for row, words in large if row is not None
    )
    ceiling = "".join(f"<p>{escape(line.replace('**', ''))}</p>" for line in ceiling_lines(run))
    rows = [cells(row) for row in result.rows if row.run == index]
    weights = "" if run.weights_sha256 is None else f"<p>weights {escape(run.weights_sha256[:16])}…</p>"
    return (
        f'<section><h2>{letter}: {escape(run_title(run))}</h2><div class="figures">{figures}</div>{ceiling}'
        f'<div class="table">{_table(rows)}</div>{weights}</section>'
    )


def _table(rows: list[list[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in _HEAD)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _list(lines: list[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _questions(result: BenchResult) -> str:
    asked = bench_questions()[: result.questions]
    return '<ol lang="bn">' + "".join(f"<li>{escape(item.question)}</li>" for item in asked) + "</ol>"
