"""The tensors of a graph whose layers are quantised with calibration, given out in the order of computation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..folded import FoldedWeights
from ..fuse.norm import folded_norm
from ..head import HeadCut
from ..names import EMBEDDING, HEAD
from ..recipe import Calibration
from ..rope import Rotary
from ..storage.codes import Codes, Grid
from ..weights import Weights
from .layers import Layer, LayerQuantizer, OnPrefix
from .smoothing import scales

_FINAL_NORM = "model.norm.weight"
_BLOCK_NUMBERS = 1 << 23


class CalibratedWeights(FoldedWeights):
    """As `FoldedWeights`, but layers must be asked for one after the other, and the embedding last.

    Args:
        weights: of the checkpoint.
        rotary: by kind, from the fusion.
        context: positions that the rotary tables have.
        joined: what joined weights consist of.
        prompts: token ids to calibrate on.
        grids: of the products, as of `LayerQuantizer`.
        calibration: of the recipe.
        cut: the rows that the head keeps; None is all.
        prefix, on_prefix: as of `LayerQuantizer`.
    """

    def __init__(
        self,
        weights: Weights,
        rotary: Mapping[str, Rotary],
        context: int,
        joined: Mapping[str, tuple[str, ...]],
        prompts: Sequence[Sequence[int]],
        grids: Mapping[str, Grid],
        calibration: Calibration,
        cut: HeadCut | None = None,
        prefix: int | None = None,
        on_prefix: OnPrefix = lambda _keys, _values: None,
    ) -> None:
        super().__init__(weights, rotary, context, joined=joined, cut=cut)
        self._quantizer = LayerQuantizer(weights, prompts, grids, calibration, prefix, on_prefix)
        self._layers, self._layer = self._quantizer.layers(), Layer()
        self._head_smoothing = calibration.head_smoothing
        self._head_scales: NDArray[np.float32] | None = None

    @property
    def tokens(self) -> int:
        """How many tokens were calibrated on."""
        return self._quantizer.tokens

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors, in the order in which they must be read."""
        names = super().names
        return (*(name for name in names if name != EMBEDDING), EMBEDDING)

    @property
    def embedding_factors(self) -> NDArray[np.float32] | None:
        """As of `FoldedWeights`."""
        return np.float32(1) / self._scales() if self._weights.config.tied else None

    def codes(self, name: str) -> Codes | None:
        """The matrix ``name`` of a layer on its grid; None for all other tensors."""
        if not name.startswith("model.layers."):
            return None
        parts = [self._of_layer(part) for part in self._joined.get(name, (name,))]
        if not isinstance(parts[0], Codes):
            return None
        found = [part for part in parts if isinstance(part, Codes)]
        return Codes(
            np.concatenate([part.numbers for part in found]),
            np.concatenate([part.scales for part in found]),
            np.concatenate([part.zeros for part in found]),
        )

    def read_rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """As of `FoldedWeights`; matrices of layers have `codes` instead."""
        if name.startswith("model.layers."):
            vector = self._of_layer(name)
            assert not isinstance(vector, Codes)
            return folded_norm(vector)[start:stop]
        rows = super().read_rows(name, start, stop)
        if name == _FINAL_NORM:
            return rows / self._scales()[start:stop]
        if name == (EMBEDDING if self._weights.config.tied else HEAD):
            return rows * self._scales()
        return rows

    def _of_layer(self, name: str) -> Codes | NDArray[np.float32]:
        while name not in self._layer:
            self._layer = next(self._layers)
        return self._layer[name]

    def _scales(self) -> NDArray[np.float32]:
        """Of the head's inputs."""
        if self._head_scales is None:
            self._layer = Layer()
            for _ in self._layers:
                pass
            reach = self._quantizer.final_reach()
            largest = torch.from_numpy(self._largest(EMBEDDING if self._weights.config.tied else HEAD))
            strength = self._head_smoothing
            found = scales(reach, largest, strength) if strength else torch.ones_like(reach)
            self._head_scales = found.numpy()
        return self._head_scales

    def _largest(self, name: str) -> NDArray[np.float32]:
        rows, width = self._weights.shape(name)
        step = max(1, _BLOCK_NUMBERS // width)
        largest = np.zeros(width, np.float32)
        for start in range(0, rows, step):
            block = self._weights.read_rows(name, start, min(start + step, rows))
            np.maximum(largest, np.abs(block).max(0), out=largest)
        return largest
