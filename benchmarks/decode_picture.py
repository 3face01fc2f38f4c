"""docs/decoding.svg: where the time of an answer goes, before and after, from decode_4b.py's results.

python benchmarks/decode_picture.py [benchmarks/results/decode_4b.json] [docs/decoding.svg]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).resolve().parent.parent
_PARTS = ("reading the prompt", "writing the answer")
_COLORS = ("#7a9cc6", "#e0a458")


def bars(engines: dict[str, Any], tokens: int) -> list[tuple[str, float, float]]:
    """Label, seconds of reading, seconds of writing; slowest first."""
    found = []
    for name, engine in engines.items():
        row = engine["medians"]
        single = row["token"] * tokens
        found.append((f"{name}: whole prompt, one token a step", row["prompt"], single))
        found.append((f"{name}: prompt's fixed part kept", row["resumed prompt"], single))
        if "best answer" in row:
            # The first answer after a start, which loads the snapshot.
            reading = row["loading the snapshot"] + row["resumed prompt"]
            label = f"{name}: and forced tokens, drafts ({row['steps']:.0f} steps)"
            found.append((label, reading, row["best answer"] - reading))
    return sorted(found, key=lambda bar: -bar[1] - bar[2])


def draw(result: dict[str, Any], out: Path) -> None:
    """Writes the picture, the same bytes for the same result."""
    task = result["task"]
    rows = bars(result["engines"], task["answer_tokens"])
    mpl.rcParams["svg.hashsalt"] = "dagger-edge"
    figure, axes = plt.subplots(figsize=(10, 0.42 * len(rows) + 1.4), layout="constrained")
    places = range(len(rows), 0, -1)
    reading, writing = [row[1] for row in rows], [row[2] for row in rows]
    axes.barh(places, reading, color=_COLORS[0], label=_PARTS[0])
    axes.barh(places, writing, left=reading, color=_COLORS[1], label=_PARTS[1])
    for place, first, second in zip(places, reading, writing, strict=True):
        axes.text(first + second, place, f" {first + second:.1f} s", va="center")
    axes.set_yticks(list(places), [row[0] for row in rows])
    figure.supxlabel(
        f"seconds for an answer of {task['answer_tokens']} tokens to a prompt of {task['prompt_tokens']}"
        f" (4B shape, {result['provenance']['threads']} threads; medians of {result['provenance']['rounds']} rounds)"
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.1)
    axes.legend(loc="lower right", frameon=False)
    figure.savefig(out, metadata={"Date": None})


def main() -> None:
    arguments = [Path(argument) for argument in sys.argv[1:]]
    defaults = [ROOT / "benchmarks/results/decode_4b.json", ROOT / "docs/decoding.svg"]
    source, out = [*arguments, *defaults[len(arguments) :]][:2]
    draw(json.loads(source.read_text(encoding="utf-8")), out)


if __name__ == "__main__":
    main()
