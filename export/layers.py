"""Layer by layer: which part of a bundle's graph is the first that is not the checkpoint's.

Every stage is given the checkpoint's own hidden states, so that one layer's error is not carried into the next, and
what it makes is compared with what torch makes of the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from msgspec import Struct
from numpy.typing import NDArray

from ..runtime.manifest import Architecture, PrecisionName
from .layerwise import LayerwiseReference
from .limits import LIMITS
from .probe import Probe
from .staged import Bounds, StagedGraph

# A part that is so many times worse than its like in the other layers is wrong, though it be below the limit.
_JUMP = 8.0
_HEAD_ROWS = 16
# Logits of tokens that a head has no row for are below this.
_NO_ROW = -1e8


class PartError(Struct, frozen=True):
    """How far one part of the graph is from the checkpoint, given the same input.

    Attributes:
        layer: its number; None for the embedding and the head.
        part: ``embedding``, ``attention`` or ``feed-forward`` (what it adds to the stream), ``head`` (logits).
        kind: of the layer, ``global`` or ``sliding``; empty for the ends.
        error: length of the difference to length of the checkpoint's, over all positions together.
        worst: the same at the worst position.
        position: which that is.
    """

    layer: int | None
    part: str
    kind: str
    error: float
    worst: float
    position: int

    @property
    def name(self) -> str:
        """The part in words."""
        return f"the {self.part}" if self.layer is None else f"layer {self.layer} ({self.kind}), its {self.part} part"


def layer_errors(
    checkpoint: LayerwiseReference,
    folder: Path,
    probe: Probe,
    shape: Architecture,
    stream_scale: float = 1.0,
) -> list[PartError]:
    """The errors of all parts, in the order of computation; one pass of torch and one of the graph, a layer at a time.

    Args:
        checkpoint: in torch.
        folder: the bundle's.
        probe: what is read, in steps that end at the window.
        shape: the architecture in the manifest.
        stream_scale: the power of two that the graph's residual stream is scaled by (``stream_scale`` of the recipe).

    Raises:
        BundleError: the graph cannot be cut into layers, or loaded.
    """
    watch = _Watch(StagedGraph(folder), probe.ids, probe.bounds(shape.sliding_window), shape, stream_scale)
    (hidden,) = checkpoint.hidden([probe.ids], watch)
    watch.compare_head(checkpoint.logits(hidden[-_HEAD_ROWS:]))
    return watch.found


def first_divergence(errors: Sequence[PartError], precision: PrecisionName) -> PartError | None:
    """The first part that is beyond the limit of ``precision``, or far worse than its like in the other layers."""
    limit = LIMITS[precision].layer
    usual = {part: median(error.error for error in errors if error.part == part) for part in _parts(errors)}
    for error in errors:
        jump = error.layer is not None and error.error > max(_JUMP * usual[error.part], limit / _JUMP)
        if not error.error <= limit or jump:
            return error
    return None


def describe_divergence(errors: Sequence[PartError], precision: PrecisionName) -> str:
    """Where the graph leaves the checkpoint, in words."""
    first = first_divergence(errors, precision)
    if first is None:
        worst = max(errors, key=lambda error: error.error)
        return (
            f"no single layer stands out (the largest error is that of {worst.name}: {worst.error:.2g}), so rounding"
            " adds up over all of them: take a finer recipe"
        )
    return f"the first to diverge is {first.name}: {first.error:.2g} off at equal input, most at token {first.position}"


def _parts(errors: Sequence[PartError]) -> set[str]:
    return {error.part for error in errors}


class _Watch:
    """An observer of the checkpoint's pass that runs each layer of the graph on the same input."""

    def __init__(
        self, graph: StagedGraph, ids: Sequence[int], bounds: Bounds, shape: Architecture, scale: float
    ) -> None:
        self.found: list[PartError] = []
        self._graph, self._ids, self._bounds, self._shape, self._scale = graph, ids, bounds, shape, scale
        self._seen: dict[str, NDArray[np.float32]] = {}
        self._stream: NDArray[np.float32] = np.empty(0, np.float32)

    def __call__(self, name: str, given: torch.Tensor | None, made: torch.Tensor) -> None:
        """Keeps what the norms around a layer's parts see, and compares when the layer is done."""
        layer, _, module = name.removeprefix("model.layers.").partition(".")
        if module == "input_layernorm" and given is not None:
            self._seen["given"] = given.numpy()
            if layer == "0":
                self._note(None, "embedding", self._graph.embed(self._ids) / self._scale, self._seen["given"])
        elif module in {"post_attention_layernorm", "post_feedforward_layernorm"}:
            self._seen[module] = made.numpy()
        elif not module:
            self._stream = made.numpy()
            self._compare(int(layer))

    def compare_head(self, expected: NDArray[np.float32]) -> None:
        """Compares the logits of the last rows with ``expected``."""
        stream = self._scaled(self._stream[:, -len(expected) :])
        logits = self._graph.head().logits(stream, np.zeros_like(stream))
        kept = ~(logits.max(axis=0) <= _NO_ROW)  # NaN stays
        self._note(None, "head", logits[None][..., kept], expected[None][..., kept])

    def _compare(self, index: int) -> None:
        stream = self._scaled(self._seen["given"])
        made = self._graph.layer(index).run(stream, np.zeros_like(stream), self._bounds)
        for part, found, norm in (
            ("attention", made.attention, "post_attention_layernorm"),
            ("feed-forward", made.feed_forward, "post_feedforward_layernorm"),
        ):
            self._note(index, part, found / self._scale, self._seen[norm])

    def _scaled(self, stream: NDArray[np.float32]) -> NDArray[Any]:
        return self._graph.typed(stream * np.float32(self._scale))

    def _note(self, layer: int | None, part: str, found: NDArray[Any], expected: NDArray[np.float32]) -> None:
        """Notes the error of ``found`` [1, n, width]; what is not finite is infinitely far."""
        with np.errstate(invalid="ignore"):
            apart = np.linalg.norm(found[0].astype(np.float64) - expected[0], axis=-1)
        apart = np.where(np.isfinite(apart), apart, np.inf)
        length = np.linalg.norm(expected[0].astype(np.float64), axis=-1)
        relative = apart / np.maximum(length, np.finfo(np.float32).tiny)
        position = int(relative.argmax())
        kind = "" if layer is None else "global" if layer in self._shape.global_layers else "sliding"
        whole = float(np.sqrt((apart**2).sum() / max((length**2).sum(), np.finfo(np.float32).tiny)))
        self.found.append(PartError(layer, part, kind, whole, float(relative[position]), position))
