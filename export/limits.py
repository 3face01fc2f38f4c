"""How far a bundle may be from its checkpoint: one table for all precisions, and why.

The limits refuse a model that is wrong; they do not promise that one is good. A wrong one (a scale forgotten, a layer's
weights swapped) is off by whole nats and agrees in few tokens; small random models and hard recipes have to fit below
them, so each is some ten times what was measured on Gemma 3 270M (docs/export.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..runtime.manifest import PrecisionName

# In nats: a token that the checkpoint finds at least half as likely as its own is no disagreement. Where many are about
# as likely, as everywhere in a random model of Gemma's size, rounding alone decides between them.
AGREED = math.log(2)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the gate allows in one precision.

    Attributes:
        logit_diff: the largest difference of any logit; None where rounding alone moves single logits far.
        divergence: the mean Kullback-Leibler divergence, in nats.
        agreed: the least share of positions at which the likeliest token is one that the checkpoint has nothing against
            (`AGREED`).
        same_tokens: whether decoded tokens must all be the checkpoint's.
        layer: the error of a layer that is given the checkpoint's own hidden states, relative to what it adds.
    """

    logit_diff: float | None
    divergence: float
    agreed: float
    same_tokens: bool
    layer: float


LIMITS: dict[PrecisionName, Limits] = {
    # Rounding alone: 4e-4 and 2e-10 were measured. Two tokens that are equally likely may change places.
    "fp32": Limits(logit_diff=1e-2, divergence=1e-6, agreed=0.99, same_tokens=True, layer=1e-4),
    # 2.5e-5 and 99.7 %; activations of 11 bits.
    "fp16": Limits(logit_diff=None, divergence=0.01, agreed=0.9, same_tokens=False, layer=0.05),
    # 0.008 and 97 %; a plain kernel with blocks of 32 is at 0.04 and 85 %.
    "int8": Limits(logit_diff=None, divergence=0.2, agreed=0.7, same_tokens=False, layer=0.3),
    # 0.32 and 75 % with rounding; 0.7 and 48 % was the worst that still spoke, 7 and 11 % the naive road.
    "int4": Limits(logit_diff=None, divergence=1.5, agreed=0.35, same_tokens=False, layer=0.8),
}
