"""Rotary embeddings: the tables of cosines and sines that ``GroupQueryAttention`` looks positions up in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from .config import Rope


@dataclass(frozen=True, slots=True)
class Rotary:
    """One rotary embedding, as traced.

    Attributes:
        frequencies: float32 [head_dim / 2], radians a position.
        factor: of all cosines and sines.
    """

    frequencies: NDArray[np.float32]
    factor: float

    def table(self, kind: str, start: int, stop: int) -> NDArray[np.float32]:
        """Cosines (``kind`` is ``cos``) or sines (``sin``) of positions: float32 [stop - start, head_dim / 2].

        By torch in float32, so that they are the reference's to the last bit.
        """
        positions = torch.arange(start, stop, dtype=torch.float32)
        angles = positions[:, None] * torch.from_numpy(self.frequencies)
        table: NDArray[np.float32] = ((angles.cos() if kind == "cos" else angles.sin()) * self.factor).numpy()
        return table


def frequencies(rope: Rope, head_dim: int) -> NDArray[np.float64]:
    """What ``rope`` says: float64 [head_dim / 2]."""
    return rope.theta ** (-np.arange(0, head_dim, 2) / head_dim) / rope.factor
