"""The training stream and the evaluation sets of the demo model, all from seeds."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from .compose import Composer, Problem
from .msvamp import TRAINED_ROWS, Row, read_rows, vary
from .shape import Shape
from .shapes import SHAPES

# Of every hundred training problems, this many are MSVAMP rows, most of them with new numbers.
MSVAMP_SHARE = 0.06


class Corpus:
    """Draws training problems; the pool with number ``i`` is the same in every process.

    Args:
        gold: ``msvamp_bn_gold.jsonl``; without it the stream holds generated problems alone.
        seed: of the whole stream.
    """

    def __init__(self, gold: Path | None, seed: int) -> None:
        self._rows: Sequence[Row] = read_rows(gold, TRAINED_ROWS) if gold else ()
        self._seed = seed
        self._weights = [shape.weight for shape in SHAPES]

    def pool(self, index: int, size: int) -> list[Problem]:
        """``size`` problems of the training distribution."""
        rng = random.Random(f"train/{self._seed}/{index}")
        return [self._draw(rng) for _ in range(size)]

    def _draw(self, rng: random.Random) -> Problem:
        if self._rows and rng.random() < MSVAMP_SHARE:
            row = rng.choice(self._rows)
            return vary(row, rng) if rng.random() < 0.8 else Problem(row.question, row.graph, row.answer, "msvamp")
        return Composer(rng).compose(rng.choices(SHAPES, self._weights)[0])


def evaluation_set(size: int, *, held_out: bool, seed: int = 0) -> list[Problem]:
    """Problems for the report, every shape in turn: new numbers and names in the trained wordings, or, with
    ``held_out``, in wordings that training never uses.
    """
    rng = random.Random(f"evaluate/{seed}/{held_out}")
    composer = Composer(rng, held_out=held_out)
    shapes: list[Shape] = []
    while len(shapes) < size:
        shapes.extend(rng.sample(SHAPES, len(SHAPES)))
    return [composer.compose(shape) for shape in shapes[:size]]
