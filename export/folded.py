"""The tensors of the fused graph: the checkpoint's weights, with what the fusions folded into them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .fuse.norm import folded_norm
from .head import HeadCut
from .names import EMBEDDING, HEAD, ROW_OF_ID
from .rope import Rotary
from .storage.codes import Codes
from .weights import Weights

NORM_SUFFIX = "norm.weight"
# Rows that are not wanted are read too where so few lie between two that are.
_GAP = 4


class FoldedWeights:
    """Tensors by their names in the fused graph, read as those of `Weights` are.

    Norms hold 1 + weight; ``rotary.{kind}.cos`` and ``.sin`` are tables [context, head_dim / 2]. Where the head is cut,
    `ROW_OF_ID` [vocab] is a tensor too; a head of its own has the rows of the cut alone, and an embedding that is also
    the head has these first.

    Args:
        weights: of the checkpoint.
        rotary: by kind, from the fusion.
        context: positions that the tables have.
        factors: exact powers of two that tensors are multiplied by, by name.
        joined: matrices that consist of several of the checkpoint's, row after row, by their name.
        cut: the rows that the head keeps; None is all.
    """

    def __init__(
        self,
        weights: Weights,
        rotary: Mapping[str, Rotary],
        context: int,
        factors: Mapping[str, float] | None = None,
        joined: Mapping[str, tuple[str, ...]] | None = None,
        cut: HeadCut | None = None,
    ) -> None:
        self.cut = cut
        self._ids = None if cut is None else cut.stored_ids
        self._weights = weights
        self._rotary = {
            f"rotary.{kind}.{name}": (item, name) for kind, item in rotary.items() for name in ("cos", "sin")
        }
        self._context = context
        self._factors = factors or {}
        self._joined = joined or {}

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors, in the order of computation."""
        first = {parts[0]: name for name, parts in self._joined.items()}
        others = {part for parts in self._joined.values() for part in parts[1:]}
        table = () if self.cut is None else (ROW_OF_ID,)
        return (*self._rotary, *table, *(first.get(name, name) for name in self._weights.names if name not in others))

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of tensor ``name``."""
        if name in self._rotary:
            return (self._context, len(self._rotary[name][0].frequencies))
        if name in self._joined:
            shapes = [self._weights.shape(part) for part in self._joined[name]]
            return (sum(shape[0] for shape in shapes), shapes[0][1])
        if self.cut is not None and name in {ROW_OF_ID, HEAD}:
            return (self.cut.vocabulary,) if name == ROW_OF_ID else (self.cut.rows, self._weights.shape(HEAD)[1])
        return self._weights.shape(name)

    @property
    def embedding_factors(self) -> NDArray[np.float32] | None:
        """What each dimension of a stored embedding is multiplied by beside its scale, [hidden]; None is 1."""
        return None

    def codes(self, name: str) -> Codes | None:  # noqa: ARG002
        """The numbers on a grid that stand for tensor ``name`` where they are chosen already."""
        return None

    def read_rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Rows ``start`` to ``stop`` of tensor ``name``.

        Raises:
            UsageError: they hold NaN or infinity, or the file was cut short meanwhile.
        """
        if name in self._rotary:
            rotary, kind = self._rotary[name]
            return rotary.table(kind, start, stop)
        if name in self._joined:
            parts = [self.read_rows(part, 0, self.shape(part)[0]) for part in self._joined[name]]
            return np.concatenate(parts)[start:stop]
        if self.cut is not None and name == ROW_OF_ID:
            return self.cut.row_of_id[start:stop].astype(np.float32)  # exact: there are fewer than 2**24
        if self._ids is not None and name == (EMBEDDING if self._weights.config.tied else HEAD):
            return self._read_listed(name, self._ids[start:stop])
        rows = self._weights.read_rows(name, start, stop)
        if name.endswith(NORM_SUFFIX):
            rows = folded_norm(rows)
        return rows * np.float32(self._factors[name]) if name in self._factors else rows

    def _read_listed(self, name: str, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """The rows ``ids`` of tensor ``name``; neighbours are read together."""
        steps = np.diff(ids)
        runs = np.split(ids, np.flatnonzero((steps < 1) | (steps > _GAP)) + 1)
        parts = [self._weights.read_rows(name, int(run[0]), int(run[-1]) + 1)[run - run[0]] for run in runs]
        return np.concatenate(parts)
