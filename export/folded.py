"""The tensors of the fused graph: the checkpoint's weights, with what the fusions folded into them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .fuse.norm import folded_norm
from .rope import Rotary
from .weights import Weights

NORM_SUFFIX = "norm.weight"


class FoldedWeights:
    """Tensors by their names in the fused graph, read as those of `Weights` are.

    Norms hold 1 + weight; ``rotary.{kind}.cos`` and ``.sin`` are tables [context, head_dim / 2].

    Args:
        weights: of the checkpoint.
        rotary: by kind, from the fusion.
        context: positions that the tables have.
        factors: exact powers of two that tensors are multiplied by, by name.
    """

    def __init__(
        self,
        weights: Weights,
        rotary: Mapping[str, Rotary],
        context: int,
        factors: Mapping[str, float] | None = None,
    ) -> None:
        self._weights = weights
        self._rotary = {
            f"rotary.{kind}.{name}": (item, name) for kind, item in rotary.items() for name in ("cos", "sin")
        }
        self._context = context
        self._factors = factors or {}

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors, in the order of computation."""
        return (*self._rotary, *self._weights.names)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of tensor ``name``."""
        if name in self._rotary:
            return (self._context, len(self._rotary[name][0].frequencies))
        return self._weights.shape(name)

    def read_rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Rows ``start`` to ``stop`` of tensor ``name``.

        Raises:
            UsageError: they hold NaN or infinity, or the file was cut short meanwhile.
        """
        if name in self._rotary:
            rotary, kind = self._rotary[name]
            return rotary.table(kind, start, stop)
        rows = self._weights.read_rows(name, start, stop)
        if name.endswith(NORM_SUFFIX):
            rows = folded_norm(rows)
        return rows * np.float32(self._factors[name]) if name in self._factors else rows
