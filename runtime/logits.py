"""Logits, after which ids of a step they are wanted, and how a graph is asked for them.

A head that is cut may come as two products: of the core tokens, which the structure of graphs is written with (keys,
operations, digits), and of all others. Where a grammar lets nothing but core tokens in, theirs are enough, and the
others, most of the head, need not be read.
"""

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
# int64 [core]: more of them, at which the logits of core tokens are enough; and the graph's property that lists these.
CORE_POSITIONS, CORE_TOKENS = "core_positions", "core_tokens"


def last(count: int) -> Positions:
    """The last ``count``."""
    return range(-count, 0)


class LogitsInput(NamedTuple):
    """The inputs by which a graph is asked for some of its logits.

    ``name`` is that of positions, None where it always makes all; ``splits`` whether it can make those of core tokens
    alone.
    """

    name: str | None
    splits: bool = False

    @classmethod
    def among(cls, names: Collection[str]) -> Self:
        """Those of a graph with optional inputs of such ``names``."""
        name = next((name for name in (LOGITS_POSITIONS, _LOGITS_TO_KEEP) if name in names), None)
        return cls(name, CORE_POSITIONS in names)

    def feed(self, at: Positions, core: Collection[int] = ()) -> dict[str, NDArray[np.int64]]:
        """What to feed for logits at the positions ``at``: for them alone, or for the last that they are among.

        At those of them that are in ``core``, the logits of core tokens are enough.
        """
        if self.name is None:
            return {}
        if self.name == _LOGITS_TO_KEEP:
            return {self.name: np.array([-min(at)], np.int64)}
        if not self.splits:
            return {self.name: np.array(at, np.int64)}
        whole, spared = _parted(at, core)
        return {self.name: np.array(whole, np.int64), CORE_POSITIONS: np.array(spared, np.int64)}

    def choose(self, logits: Logits, at: Positions, core: Collection[int] = ()) -> Logits:
        """Those at these positions, of the logits [batch, kept, vocab] that came back for them."""
        if self.name != LOGITS_POSITIONS:
            return logits[:, list(at)]
        whole, spared = _parted(at, core if self.splits else ())
        if not whole or not spared:
            return logits
        return logits[:, np.argsort([*whole, *spared])]


def _parted(at: Positions, core: Collection[int]) -> tuple[list[int], list[int]]:
    """Positions that are not in ``core``, and those that are."""
    return [place for place in at if place not in core], [place for place in at if place in core]
