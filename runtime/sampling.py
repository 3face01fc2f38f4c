"""Drawing the next token: temperature, top-k, top-p, min-p, from a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .decode import Choose, Constraint, check_finite
from .errors import UsageError
from .logits import Logits

# What the model card samples with.
CARD_TEMPERATURE, CARD_TOP_P = 0.7, 0.8


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to draw tokens. Filters are applied in the order of the fields, each to what the one before it left.

    Attributes:
        temperature: of the softmax, more than 0; logits are divided by it.
        top_k: keep the so many likeliest; 0 keeps all.
        top_p: keep the likeliest up to this sum of probabilities, from 0 (the likeliest alone) to 1 (all);
            arXiv 1904.09751.
        min_p: keep those of at least this share of the likeliest one's probability, from 0 (all) to 1;
            arXiv 2407.01082.
        seed: not negative. The same seed draws the same tokens.

    Raises:
        UsageError: a value is out of range.
    """

    temperature: float = CARD_TEMPERATURE
    top_k: int = 0
    top_p: float = CARD_TOP_P
    min_p: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.temperature <= 100:
            raise UsageError(f"temperature is {self.temperature}: it must be more than 0, and 100 at most")
        if self.top_k < 0:
            raise UsageError(f"top_k is {self.top_k}: it must be 0 (all) or more")
        for name in ("top_p", "min_p"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} is {getattr(self, name)}: it must be from 0 to 1")
        if not 0 <= self.seed < 1 << 64:
            raise UsageError(f"seed is {self.seed}: it must be from 0 to 2^64 - 1")


def sampler(sampling: Sampling, stream: int = 0) -> Choose:
    """Draws among the allowed tokens; see `Sampling`.

    A draw depends on the seed, ``stream`` (which of several answers it is) and the position alone, so that the tokens
    are the same however many of them a step reads.

    Raises, when it draws:
        ModelError: a logit is NaN or infinite.
    """

    def choose(logits: Logits, constraint: Constraint, position: int) -> int:
        check_finite(logits)
        tokens = np.flatnonzero(constraint.mask(len(logits)))
        kept, probabilities = _filter(logits[tokens], sampling)
        key = np.random.SeedSequence((sampling.seed, stream, position))
        draw = np.random.Generator(np.random.PCG64(key)).random()
        index = int(np.searchsorted(np.cumsum(probabilities), draw, side="right"))
        return int(tokens[kept[min(index, len(kept) - 1)]])

    return choose


def _filter(logits: Logits, sampling: Sampling) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Which of ``logits`` may be drawn, likeliest first (of equals the first), and their probabilities."""
    order = _likeliest(logits, sampling.top_k)
    best = logits[order[:1]].astype(np.float64)
    with np.errstate(over="ignore"):
        # The difference first: where the temperature is next to nothing, quotients overflow.
        weights = np.exp((logits[order] - best) / sampling.temperature)
    before = np.cumsum(weights) - weights
    kept = before < sampling.top_p * weights.sum()
    kept[0] = True
    kept &= weights >= sampling.min_p
    weights = weights[kept]
    return order[kept], weights / weights.sum()


def _likeliest(logits: Logits, top_k: int) -> NDArray[np.intp]:
    """Indices of the ``top_k`` largest (0: all), largest first, of equals the first."""
    if 0 < top_k < len(logits):
        least = np.partition(logits, -top_k)[-top_k]
        candidates = np.flatnonzero(logits >= least)
    else:
        candidates = np.arange(len(logits))
    ordered = candidates[np.argsort(-logits[candidates], kind="stable")]
    return ordered[:top_k] if top_k else ordered
