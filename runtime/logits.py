"""Logits, and after which ids of a step they are wanted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Float32, the vocabulary last.
Logits = NDArray[np.float32]
# Some ids of a step, increasing, counted from its end: -1 is the last.
Positions = Sequence[int]
LAST: Positions = (-1,)


def last(count: int) -> Positions:
    """The last ``count``."""
    return range(-count, 0)
