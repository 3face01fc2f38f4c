"""The pictures of docs/benchmarks.md, by matplotlib: cost by question, graph, answers together and threads; plans."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dagger_edge.runtime.bench.plots import SETTINGS, load_matplotlib, run_name
from dagger_edge.runtime.bench.report import svg_report
from dagger_edge.runtime.bench.rows import BenchResult

from .files import bench, digest

_COLORS = ("#2f6bc4", "#e0843a", "#3a9a6b", "#8a63b8", "#b8456b", "#6d655e")
# Quantity, setting on the axis, its words, unit of the other axis.
_CURVES: Sequence[tuple[str, str, str, str]] = (
    ("first token", "question tokens", "tokens of the question", "ms to the first token"),
    ("answer", "nodes", "nodes of the graph", "seconds of an answer"),
    ("batch step", "rows", "answers that are decoded together", "ms of a step"),
)
# Picture, and the results that it is drawn of.
PICTURES: dict[str, list[str]] = {
    "scaling-demo.svg": ["scaling_demo.json"],
    "scaling-270m.svg": ["scaling_270m.json"],
    "scaling-4b.svg": ["scaling_4b.json"],
    "demo.svg": ["bench_demo.json"],
    "270m.svg": ["bench_270m.json"],
    "peers-4b.svg": ["peers_4b.json"],
    "peers-270m.svg": ["peers_270m.json"],
}


def draw(name: str) -> str | None:
    """The picture called ``name`` with the digest of what it shows; None where that was not measured yet."""
    (source,) = PICTURES[name]
    result = bench(source)
    if result is None:
        return None
    if name.startswith("scaling"):
        made = _curves(result)
    elif name.startswith("peers"):
        made = _peers(result)
    else:
        made = svg_report(result)
    return f"{made.rstrip()}\n{mark(name)}\n"


def mark(name: str) -> str:
    """What stands at the end of a picture of the committed results; pictures of two matplotlibs may differ in bytes."""
    return f"<!-- of {', '.join(PICTURES[name])}: {digest(PICTURES[name])} -->"


def written_for(path: Path) -> bool:
    """Whether the picture at ``path`` is of the committed results."""
    return path.exists() and path.read_text(encoding="utf-8").rstrip().endswith(mark(path.name))


def _curves(result: BenchResult) -> str:
    mpl = load_matplotlib()
    from matplotlib.figure import Figure

    with mpl.rc_context(SETTINGS):
        figure = Figure((10.5, 3.4), layout="constrained")
        for axes, (what, setting, across, up) in zip(figure.subplots(1, len(_CURVES)), _CURVES, strict=True):
            for index in range(len(result.runs)):
                _line(axes, result, index, what, setting)
            axes.set_xlabel(across)
            axes.set_ylabel(up)
            _finish(axes)
        return _svg(figure)


def _line(axes: Any, result: BenchResult, index: int, what: str, setting: str) -> None:
    rows = sorted(result.rows_of(index, what), key=lambda row: int(row.settings[setting]))
    places = [int(row.settings[setting]) for row in rows]
    medians = [row.median for row in rows]
    below = [row.median - row.quartiles[0] for row in rows]
    above = [row.quartiles[1] - row.median for row in rows]
    name = run_name(result, index).partition(": ")[2]
    axes.errorbar(
        places, medians, [below, above], color=_COLORS[index], marker="o", markersize=4, capsize=3, label=name
    )


def _peers(result: BenchResult) -> str:
    """Bars: a whole answer of each engine, with its prompt cache off and on, and ours with all that it has."""
    mpl = load_matplotlib()
    from matplotlib.figure import Figure

    bars = []
    for index, run in enumerate(result.runs):
        for row in result.rows_of(index, "answer"):
            kept = "read" if row.settings["start"] == "whole prompt" else "kept"
            words = f"{run.engine} {run.precision}: prompt {kept}, {row.settings['decoding']}"
            bars.append((row.median, words, _COLORS[0] if run.engine == "dagger-edge" else _COLORS[5]))
    bars.sort(reverse=True)
    with mpl.rc_context(SETTINGS):
        figure = Figure((10, 0.34 * len(bars) + 1), layout="constrained")
        axes = figure.subplots()
        places = range(len(bars), 0, -1)
        axes.barh(places, [seconds for seconds, _, _ in bars], color=[color for _, _, color in bars])
        for place, (seconds, _, _) in zip(places, bars, strict=True):
            axes.text(seconds, place, f" {seconds:.3g} s", va="center")
        axes.set_yticks(list(places), [words for _, words, _ in bars])
        axes.set_xlabel("seconds of a whole answer (medians)")
        axes.margins(x=0.1)
        return _svg(figure)


def _finish(axes: Any) -> None:
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.grid(axis="y", color="#e4e8ee", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=9)


def _svg(figure: Any) -> str:
    out = io.StringIO()
    # Without a date it is the same for the same result.
    figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()
