"""Logits, after which ids of a step they are wanted, and how a graph is asked for them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

# Float32, the vocabulary last.
Logits = NDArray[np.float32]
# Some ids of a step, increasing, counted from its end: -1 is the last.
Positions = Sequence[int]
LAST: Positions = (-1,)

# int64 [kept]: `Positions`. Bundles that were made before there was this take an int64 [1], how many of the last ones.
LOGITS_POSITIONS, _LOGITS_TO_KEEP = "logits_positions", "num_logits_to_keep"


def last(count: int) -> Positions:
    """The last ``count``."""
    return range(-count, 0)


class LogitsInput(NamedTuple):
    """The input by which a graph is asked for some of its logits; ``name`` is None where it always makes all."""

    name: str | None

    @classmethod
    def among(cls, names: Collection[str]) -> Self:
        """That of a graph with optional inputs of such ``names``."""
        return cls(next((name for name in (LOGITS_POSITIONS, _LOGITS_TO_KEEP) if name in names), None))

    def feed(self, at: Positions) -> dict[str, NDArray[np.int64]]:
        """What to feed for logits at these positions: for them alone, or for the last that they are among."""
        if self.name is None:
            return {}
        return {self.name: np.array(at if self.name == LOGITS_POSITIONS else [-min(at)], np.int64)}

    def choose(self, logits: Logits, at: Positions) -> Logits:
        """Those at these positions, of the logits [batch, kept, vocab] that came back for them."""
        return logits if self.name == LOGITS_POSITIONS else logits[:, list(at)]
