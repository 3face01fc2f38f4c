"""The pictures of a result, by matplotlib: where an answer's time goes, steps, prompts, threads and samples.

Words in them are ours alone, in ASCII: names of bundles may be Bengali, which only a page sets rightly.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .rows import MODEL_PART, OURS, READING_PART, REST_PART, BenchResult, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS = ("#2f6bc4", "#e0843a", "#3a9a6b", "#8a63b8", "#b8456b", "#6d655e", "#2aa1b3", "#a39a1e")
_PARTS = {READING_PART: "#7a9cc6", MODEL_PART: "#e0a458", REST_PART: "#8bb59b"}
_SIZE = (7.6, 3.6)
SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "dagger-edge",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
# In the order of the runs; what stands for a run in pictures and tables.
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

Draw = Callable[["Axes", BenchResult], None]


def load_matplotlib() -> Any:
    """The module matplotlib.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise UsageError(
            "a report needs matplotlib: pip install 'dagger-edge[report]', or leave --report out"
        ) from None
    return mpl


def pictures(result: BenchResult) -> list[str]:
    """Each plot as an SVG document of its own."""
    mpl = load_matplotlib()
    with mpl.rc_context(SETTINGS):
        return [_alone(draw, result) for draw in _chosen(result)]


def picture(result: BenchResult) -> str:
    """All plots in one SVG document."""
    mpl = load_matplotlib()
    from matplotlib.figure import Figure

    draws = _chosen(result)
    with mpl.rc_context(SETTINGS):
        figure = Figure((_SIZE[0], _SIZE[1] * len(draws)), layout="constrained")
        for axes, draw in zip(figure.subplots(len(draws), squeeze=False)[:, 0], draws, strict=True):
            draw(axes, result)
        return _svg(figure)


def run_name(result: BenchResult, index: int) -> str:
    """A run as pictures name it: its letter, a peer's engine, precision and threads."""
    run = result.runs[index]
    threads = "" if run.threads is None else f", {run.threads} thread{'s' * (run.threads > 1)}"
    letter = LETTERS[index] if index < len(LETTERS) else str(index + 1)
    engine = "" if run.engine == OURS else f"{_plain(run.engine)} "
    return f"{letter}: {engine}{_plain(run.precision)}{threads}"


def _plain(text: str) -> str:
    """Text that matplotlib has letters for, and takes for nothing else."""
    return "".join(sign if sign.isascii() and sign.isprintable() and sign != "$" else "?" for sign in text)[:40]


def _chosen(result: BenchResult) -> list[Draw]:
    """The plots that there is something to show in."""
    draws: list[tuple[str, Draw]] = [
        ("answer part", _parts),
        ("step", _steps),
        ("prefill", _prefill),
        ("answers", _threads),
        ("vote speed", _votes),
    ]
    several = len({run.threads for run in result.runs}) > 1
    found = {row.what for row in result.rows}
    return [draw for what, draw in draws if what in found and (several or draw is not _threads)]


def _alone(draw: Draw, result: BenchResult) -> str:
    from matplotlib.figure import Figure

    figure = Figure(_SIZE, layout="constrained")
    draw(figure.subplots(), result)
    return _svg(figure)


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    # Without a date it is the same for the same result.
    figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def _parts(axes: Axes, result: BenchResult) -> None:
    """Stacked bars: an answer's time by part, for each run."""
    names = [run_name(result, index) for index in range(len(result.runs))]
    places = list(range(len(names), 0, -1))
    left = [0.0] * len(names)
    for part, color in _PARTS.items():
        rows = [result.find(index, "answer part", part=part) for index in range(len(names))]
        widths = [0.0 if row is None else row.median for row in rows]
        axes.barh(places, widths, 0.6, left=left, color=color, label=part)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    for place, total in zip(places, left, strict=True):
        axes.text(total, place, f" {total:.3g} s", va="center")
    axes.set_yticks(places, names)
    axes.set_ylim(0.4, len(names) + 0.6)
    axes.margins(x=0.12)
    axes.set_xlabel("seconds of an answer")
    axes.set_title("Where the time of an answer goes", loc="left", weight="bold")
    axes.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.22), fontsize=9)


def _steps(axes: Axes, result: BenchResult) -> None:
    """Lines: what a step of k tokens costs, and the least that it could."""
    _lines(axes, result, "step", "tokens")
    axes.set_xlabel("tokens that a step reads")
    axes.set_ylabel("milliseconds of a step")
    axes.set_title("What a step costs (dashed: ceiling of the machine)", loc="left", weight="bold")


def _prefill(axes: Axes, result: BenchResult) -> None:
    """Lines: tokens a second by the length of the prompt, and the most that there could be."""
    _lines(axes, result, "prefill", "tokens")
    axes.set_xlabel("tokens of the prompt")
    axes.set_ylabel("tokens/s")
    axes.set_title("Reading a prompt (dashed: ceiling of the machine)", loc="left", weight="bold")


def _threads(axes: Axes, result: BenchResult) -> None:
    """Points: answers a minute by threads, a line for each bundle."""
    bundles: dict[tuple[str, str, str], list[tuple[int, Row]]] = {}
    for index, run in enumerate(result.runs):
        row = result.find(index, "answers")
        if row is not None:
            threads = run.threads or result.provenance.cores
            bundles.setdefault((run.engine, run.bundle, run.precision), []).append((threads, row))
    for color, ((engine, _, precision), found) in enumerate(bundles.items()):
        found.sort(key=lambda pair: pair[0])
        name = precision if engine == OURS else f"{engine} {precision}"
        _line(axes, found, _COLORS[color % len(_COLORS)], _plain(name))
    axes.set_xlabel("threads")
    axes.set_ylabel("answers a minute")
    axes.set_xticks(sorted({threads for found in bundles.values() for threads, _ in found}))
    axes.set_title("Answers by threads", loc="left", weight="bold")
    _finish(axes)


def _votes(axes: Axes, result: BenchResult) -> None:
    """Lines: tokens a second of all graphs together, by the graphs of a vote."""
    _lines(axes, result, "vote speed", "samples")
    axes.set_xlabel("graphs that are drawn at once")
    axes.set_ylabel("tokens/s, all graphs")
    axes.set_title("Votes: throughput by graphs at once", loc="left", weight="bold")


def _lines(axes: Axes, result: BenchResult, what: str, setting: str) -> None:
    """A line for each run, by ``setting``."""
    for index in range(len(result.runs)):
        found = [(int(row.settings[setting]), row) for row in result.rows_of(index, what)]
        if found:
            _line(axes, found, _COLORS[index % len(_COLORS)], run_name(result, index))
    if what != "step":
        # What was measured, not what lies between; of steps that would be too many.
        axes.set_xticks(sorted({int(row.settings[setting]) for row in result.rows if row.what == what}))
    _finish(axes)


def _line(axes: Axes, found: Sequence[tuple[int, Row]], color: str, label: str) -> None:
    """Medians with their quartiles, and the ceilings where there are any."""
    places = [place for place, _ in found]
    medians = [row.median for _, row in found]
    below = [row.median - row.quartiles[0] for _, row in found]
    above = [row.quartiles[1] - row.median for _, row in found]
    axes.errorbar(places, medians, [below, above], color=color, marker="o", markersize=4, capsize=3, label=label)
    bounds = [(place, row.ceiling) for place, row in found if row.ceiling is not None]
    if bounds:
        axes.plot(*zip(*bounds, strict=True), color=color, linestyle="--", linewidth=1.2)


def _finish(axes: Axes) -> None:
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color="#e4e8ee", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=9)
