"""What a step of several tokens costs: how much may be guessed at a time follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

# Steps of so many tokens are measured; what lies between is interpolated.
MEASURED = (1, 2, 4, 8, 16)


@dataclass(frozen=True, slots=True)
class StepCost:
    """Seconds of a step, by how many tokens it reads; increasing."""

    seconds: Mapping[int, float]

    def of(self, tokens: float) -> float:
        """Seconds of a step of so many tokens."""
        sizes = sorted(self.seconds)
        if tokens > sizes[-1] > sizes[0]:
            slope = (self.seconds[sizes[-1]] - self.seconds[sizes[0]]) / (sizes[-1] - sizes[0])
            return self.seconds[sizes[-1]] + slope * (tokens - sizes[-1])
        return float(np.interp(tokens, sizes, [self.seconds[size] for size in sizes]))


# Where nothing was measured: block kernels of 4 bits on a processor with AVX2 (a ratio is all that counts).
DEFAULT = StepCost({1: 0.141, 16: 0.756})
