"""From the answers of all engines in all rounds to figures, ratios and bars."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, median
from typing import Any, NamedTuple

Row = dict[str, Any]
# An engine, and one of its figures.
Figure = tuple[str, str]


class Bar(NamedTuple):
    """A ratio of seconds that is asked for, of the quickest of ``slow`` to the quickest of ``fast``; ``reach`` is what
    one would like."""

    what: str
    slow: list[Figure]
    fast: list[Figure]
    bar: float
    reach: float | None = None


class Report:
    """Figures of all rounds.

    Args:
        rounds: by engine, what it answered to each request.
        answer: tokens that a whole answer has.
        bars: what is asked.

    Attributes:
        rows: of each round, by engine, its figures in seconds (but for ``steps`` and ``fed``, which are counts).
    """

    def __init__(self, rounds: Sequence[dict[str, Row]], answer: int, bars: Sequence[Bar]) -> None:
        self._bars = bars
        self.rows = [{name: _figures(row, answer) for name, row in round_.items()} for round_ in rounds]

    @property
    def passed(self) -> bool:
        """Whether all bars are met; that of the first token by the precision that does best in it."""
        bars = self.bars()
        return all(any(other["met"] for other in bars if _kind(other) == _kind(row)) for row in bars)

    def median(self, name: str, key: str) -> float:
        """One figure of an engine, over the rounds."""
        return median(row[name][key] for row in self.rows)

    def medians(self, name: str) -> Row:
        """All figures of an engine."""
        return {key: round(self.median(name, key), 4) for key in self.rows[0][name]}

    def bars(self) -> list[Row]:
        """Each bar's ratio: median and range over the rounds, of the engines whose medians are the least."""
        return [self._bar(bar) for bar in self._bars]

    def _bar(self, bar: Bar) -> Row:
        slow, fast = (min(figures, key=lambda figure: self.median(*figure)) for figures in (bar.slow, bar.fast))
        ratios = [row[slow[0]][slow[1]] / row[fast[0]][fast[1]] for row in self.rows]
        return {
            "what": bar.what,
            "slow": f"{slow[0]}: {self.median(*slow):.3f} s",
            "fast": f"{fast[0]}: {self.median(*fast):.3f} s",
            "ratio": round(median(ratios), 3),
            "lowest": round(min(ratios), 3),
            "highest": round(max(ratios), 3),
            "bar": bar.bar,
            "reach": bar.reach,
            "met": median(ratios) >= bar.bar,
        }

    def markdown(self, engines: dict[str, Row]) -> str:
        """Three tables: the bars, the engines, and what steps of several tokens cost."""
        bars = [*self._bar_table(), ""] if self._bars else []
        return "\n".join([*bars, *self._engine_table(engines), "", *self._step_table(engines)])

    def _bar_table(self) -> list[str]:
        lines = ["| what | slower | faster | times faster (range) | bar | |", "|---|---|---|---|---|---|"]
        for row in self.bars():
            reach = f", reach for {row['reach']}" if row["reach"] else ""
            ratio = f"{row['ratio']:.2f} ({row['lowest']:.2f} to {row['highest']:.2f})"
            met = "met" if row["met"] else "missed"
            lines.append(f"| {row['what']} | {row['slow']} | {row['fast']} | {ratio} | {row['bar']}{reach} | {met} |")
        return lines

    def _engine_table(self, engines: dict[str, Row]) -> list[str]:
        lines = [f"| seconds, medians | {' | '.join(engines)} |", "|---|" + "---|" * len(engines)]
        keys = [key for key in _figures_in_order(self.rows[0]) if not key.startswith("step ")]
        for key in keys:
            cells = [f"{self.median(name, key):.3f}" if key in self.rows[0][name] else "" for name in engines]
            lines.append(f"| {key} | {' | '.join(cells)} |")
        lines.append("| load | " + " | ".join(str(row["load_seconds"]) for row in engines.values()) + " |")
        peaks = [f"{row['peak_rss_bytes'] / 1e9:.2f}" for row in engines.values()]
        lines.append(f"| peak memory, GB | {' | '.join(peaks)} |")
        sizes = [f"{row.get('bundle_bytes', row.get('model_bytes', 0)) / 1e9:.2f}" for row in engines.values()]
        lines.append(f"| files, GB | {' | '.join(sizes)} |")
        idle = [str(row["idle_cpu_s"]) for row in engines.values()]
        return [*lines, f"| processor time while others worked | {' | '.join(idle)} |"]

    def _step_table(self, engines: dict[str, Row]) -> list[str]:
        keys = [key for key in _figures_in_order(self.rows[0]) if key.startswith("step ")]
        sizes = [key.removeprefix("step ") for key in keys]
        lines = [f"| ms of a step of k tokens | {' | '.join(sizes)} |", "|---|" + "---|" * len(sizes)]
        for name in engines:
            if all(key in self.rows[0][name] for key in keys):
                lines.append(f"| {name} | {' | '.join(f'{1000 * self.median(name, key):.0f}' for key in keys)} |")
        return lines


def _kind(bar: Row) -> str:
    what: str = bar["what"]
    return what.split(", ours", maxsplit=1)[0]


def _figures_in_order(row: dict[str, Row]) -> list[str]:
    return list(dict.fromkeys(key for figures in row.values() for key in figures))


def _figures(row: Row, answer: int) -> Row:
    """One engine's figures in one round."""
    token = mean(row["write"]["seconds"])
    first, prompt = row["read"]["seconds"]
    back, resumed = row["resume"]["seconds"]
    figures = {
        "prompt 512": first,
        "prompt": prompt,
        "going back to the fixed part": back,
        "resumed prompt": resumed,
        "token": token,
        "answer": prompt + token * answer,
        "warm answer": resumed + token * answer,
    }
    if "held" in row:
        figures["token under the grammar"] = mean(row["held"]["seconds"])
    if "answer" in row:
        figures["loading the snapshot"], figures["best answer"] = row["answer"]["seconds"]
        figures |= {"steps": row["answer"]["steps"], "fed": row["answer"]["fed"]}
        figures |= {f"step {size}": s for size, s in zip(row["steps"]["sizes"], row["steps"]["seconds"], strict=True)}
    return {key: round(value, 5) for key, value in figures.items()}
