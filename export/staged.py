"""Running a bundle's graph stage by stage in onnxruntime, so that memory holds one layer: bundles of any size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ..runtime.bundle import MODEL_FILE
from ..runtime.logits import LogitsInput, last
from ..runtime.pieces import Piece
from .stages import Stage, Stages, cut

Bounds = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Way:
    """How tokens are read.

    Attributes:
        bounds: first token and end of each step, without gaps; the last end is that of the tokens.
        start: the cache of all tokens before the first step, [layers, 2 (key, value), kv_heads, tokens, head_dim]; None
            where there are none.
    """

    bounds: Bounds
    start: NDArray[Any] | None = None

    @property
    def first(self) -> int:
        """The first token that is read."""
        return self.bounds[0][0]


@dataclass(frozen=True, slots=True)
class LayerOutput:
    """What a layer makes of n tokens, each [1, n, width] in the graph's type.

    Attributes:
        attention: what its attention adds to the stream.
        stream: the stream with that.
        feed_forward: what its feed-forward part adds; the next layer does the adding.
    """

    attention: NDArray[Any]
    stream: NDArray[Any]
    feed_forward: NDArray[Any]


class StagedGraph:
    """The graph of a bundle in stages. Each is loaded when it runs, and let go after.

    Memory: the weights of one stage, twice while onnxruntime brings them into its kernels' layout, and the
    activations. A dense head counts as fp32, whatever it is stored as.

    Args:
        folder: the bundle's.

    Raises:
        BundleError: the graph cannot be cut into layers.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stages: Stages = cut(onnx.load(folder / MODEL_FILE, load_external_data=False))
        self._dtype = onnx.helper.tensor_dtype_to_np_dtype(self._stages.dtype)

    @property
    def layers(self) -> int:
        """How many layers it has."""
        return len(self._stages.layers)

    def embed(self, ids: Sequence[int]) -> NDArray[Any]:
        """The stream before the first layer, [1, n, width]."""
        stage = self._stages.embedding
        (stream,) = self._load(stage).run(stage.outputs, {"input_ids": np.array([ids], np.int64)})
        return stream

    def layer(self, index: int) -> Layer:
        """Layer ``index``, loaded."""
        return Layer(self._load(self._stages.layers[index]), self._stages.layers[index], self._stages.cache)

    def head(self) -> Head:
        """The head, loaded."""
        return Head(self._load(self._stages.head), self._stages.head)

    def typed(self, stream: NDArray[Any]) -> NDArray[Any]:
        """``stream`` in the graph's type."""
        return np.ascontiguousarray(stream, dtype=self._dtype)

    def _load(self, stage: Stage) -> Piece:
        return Piece(stage.graph, self._folder)


@dataclass(frozen=True, slots=True)
class Layer:
    """One loaded layer."""

    piece: Piece
    stage: Stage
    cache: tuple[int, int]

    def run(
        self, stream: NDArray[Any], addition: NDArray[Any], bounds: Bounds, start: NDArray[Any] | None = None
    ) -> LayerOutput:
        """Feeds tokens in steps over the layer's own cache.

        Args:
            stream: [1, n, width].
            addition: what the layer before adds to it, of the same shape; zeros before the first layer.
            bounds: as of `Way`; the first token of the first step is that of ``stream``.
            start: keys and values of this layer, [2, kv_heads, tokens, head_dim].
        """
        heads, size = self.cache
        before = np.zeros((2, heads, 0, size)) if start is None else start
        past, first, made = [*before[:, None].astype(stream.dtype)], bounds[0][0], []
        for begin, end in bounds:
            given = [array[:, begin - first : end - first] for array in (stream, addition)]
            feed = dict(zip(self.stage.inputs, given, strict=False)) | dict(zip(self.stage.past, past, strict=True))
            feed["attention_mask"] = np.ones((1, end), np.int64)
            *parts, keys, values = self.piece.run((*self.stage.outputs, *self.stage.present), feed)
            past = [keys, values]
            made.append(parts)
        attention, middle, feed_forward = (np.concatenate(parts, axis=1) for parts in zip(*made, strict=True))
        return LayerOutput(attention, middle, feed_forward)


@dataclass(frozen=True, slots=True)
class Head:
    """The loaded head: final norm and product."""

    piece: Piece
    stage: Stage

    def logits(self, stream: NDArray[Any], addition: NDArray[Any]) -> NDArray[np.float32]:
        """Logits float32 [n, vocab] of the stream and what the last layer adds, [1, n, width]."""
        feed = dict(zip(self.stage.inputs, (stream, addition), strict=True))
        asked = LogitsInput.among(self.piece.optional).feed(last(stream.shape[1]))
        logits: NDArray[np.float32] = self.piece.run(self.stage.outputs, {**feed, **asked})[0][0]
        return logits


class StagedReading:
    """The same tokens read in several ways, all of them by one layer before the next is loaded.

    Args:
        graph: of the bundle.
        ids: token ids.
        ways: of reading them.
    """

    def __init__(self, graph: StagedGraph, ids: Sequence[int], ways: Sequence[Way]) -> None:
        self._ways = ways
        embedded = graph.embed(ids)
        streams = [embedded[:, way.first :] for way in ways]
        self._states = [(stream, np.zeros_like(stream)) for stream in streams]
        for index in range(graph.layers):
            layer = graph.layer(index)
            for number, way in enumerate(ways):
                start = None if way.start is None else way.start[index]
                made = layer.run(*self._states[number], way.bounds, start)
                self._states[number] = made.stream, made.feed_forward
            del layer  # before the next is loaded
        self._head = graph.head()

    def logits(self, way: int, bounds: Bounds) -> Iterator[NDArray[np.float32]]:
        """Logits [end - start, vocab] of the tokens between each of ``bounds``, read in the ``way`` of that number."""
        first = self._ways[way].first
        for start, end in bounds:
            yield self._head.logits(*(state[:, start - first : end - first] for state in self._states[way]))
