"""Cutting a bundle's graph at its residual stream: the embedding, one stage a layer, and the head.

A layer begins where its first norm adds what the layer before made to the stream (`SkipSimplifiedLayerNormalization`),
so every stage holds the weights of its own layer and no others. Nothing but that stream is looked at: what is inside
a layer may be fused, joined or stored in any way.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import onnx
from onnx import NodeProto, ValueInfoProto, helper

from ..runtime.errors import BundleError

_SUM, _ATTENTION = "SkipSimplifiedLayerNormalization", "GroupQueryAttention"
_LOGITS, _IDS = "logits", "input_ids"
# Of the sum: what it reads, and its outputs; of the attention: its cache.
_STREAM, _ADDITION, _SCALE, _NEW_STREAM = 0, 1, 2, 3
_PAST, _PRESENT = slice(3, 5), slice(1, 3)


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the graph: its bytes as an ONNX file, and the names of tensors in it.

    Attributes:
        graph: with weights in the bundle's file.
        inputs: the stream, and for all stages but the embedding and the first layer what is added to it.
        outputs: of the embedding the stream; of a layer what its attention adds, the stream with that, and what its
            feed-forward part adds; of the head the logits.
        past: keys and values of a layer, [1, kv_heads, past, head_dim].
        present: the same with those of the step.
    """

    graph: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    past: tuple[str, ...] = ()
    present: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stages:
    """All of a graph: what is between them is the stream and what is added to it, [1, step, ``width``] of ``dtype``
    (as ONNX numbers types). A cache has ``cache`` heads and numbers a head."""

    embedding: Stage
    layers: tuple[Stage, ...]
    head: Stage
    width: int
    dtype: int
    cache: tuple[int, int]


def cut(model: onnx.ModelProto) -> Stages:
    """The stages of a graph that `dagger_edge.export` made.

    Raises:
        BundleError: its residual stream is not that of a Gemma 3.
    """
    sums = [node for node in model.graph.node if node.op_type == _SUM]
    attention = [node for node in model.graph.node if node.op_type == _ATTENTION]
    if not attention or len(sums) != 2 * len(attention):
        raise _unknown(f"{len(sums)} sums and {len(attention)} attentions")
    for before, after in itertools.pairwise(sums):
        if after.input[_STREAM] != before.output[_NEW_STREAM]:
            raise _unknown(f"{after.name} does not read {before.name}")
    cutter = _Cutter(model, sums[0].input[_SCALE])
    layers = []
    for index, (middle, end) in enumerate(zip(sums[::2], sums[1::2], strict=True)):
        start = sums[2 * index - 1].input[: _ADDITION + 1] if index else sums[0].input[:1]
        made = (middle.input[_ADDITION], middle.output[_NEW_STREAM], end.input[_ADDITION])
        layers.append(cutter.stage(start, made, attention[index]))
    return Stages(
        embedding=cutter.stage((), (sums[0].input[_STREAM],)),
        layers=tuple(layers),
        head=cutter.stage(sums[-1].input[: _ADDITION + 1], (_LOGITS,)),
        width=cutter.width,
        dtype=cutter.dtype,
        cache=cutter.cache_size(attention[0]),
    )


class _Cutter:
    """Cuts one model; ``scale`` is a norm's weight, which has the stream's type and width."""

    def __init__(self, model: onnx.ModelProto, scale: str) -> None:
        graph = model.graph
        self._model = model
        self._makers = {name: node for node in graph.node for name in node.output if name}
        self._order = {id(node): place for place, node in enumerate(graph.node)}
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        self._values = {value.name: value for value in (*graph.input, *graph.output)}
        if scale not in self._weights:
            raise _unknown(f"{scale} is no weight")
        self.width, self.dtype = self._weights[scale].dims[0], self._weights[scale].data_type

    def cache_size(self, attention: NodeProto) -> tuple[int, int]:
        """Heads of keys and values, and numbers a head."""
        shape = self._values[attention.input[_PAST][0]].type.tensor_type.shape.dim
        return shape[1].dim_value, shape[3].dim_value

    def stage(self, inputs: Sequence[str], outputs: Sequence[str], attention: NodeProto | None = None) -> Stage:
        """What lies between ``inputs`` and ``outputs``, with the cache of ``attention``."""
        past, present = ((), ()) if attention is None else (attention.input[_PAST], attention.output[_PRESENT])
        nodes, read = self._between(set(inputs), (*outputs, *present))
        given = [name for name in self._values if name in read and name not in self._makers]
        # Each layer has the attention it should have: a stage that asks for another's cache is no stage.
        caches = {name for name in given if name not in {_IDS, "attention_mask"} and name not in self._weights}
        if caches != set(past):
            raise _unknown(f"{outputs[-1]} needs {', '.join(sorted(caches ^ set(past)))}"[:300])
        body = helper.make_graph(
            nodes,
            "stage",
            [*map(self._value, inputs), *(self._values[name] for name in given)],
            [self._value(name) for name in (*outputs, *present)],
            [self._weights[name] for name in sorted(read & self._weights.keys())],
        )
        model = helper.make_model(body, opset_imports=self._model.opset_import)
        model.ir_version = self._model.ir_version
        return Stage(model.SerializeToString(), tuple(inputs), tuple(outputs), tuple(past), tuple(present))

    def _between(self, inputs: set[str], outputs: Sequence[str]) -> tuple[list[NodeProto], set[str]]:
        """The nodes that ``outputs`` need beyond ``inputs``, in the graph's order, and all that they read."""
        found: dict[int, NodeProto] = {}
        read: set[str] = set()
        wanted = [name for name in outputs if name not in inputs]
        while wanted:
            node = self._makers.get(wanted.pop())
            if node is None or id(node) in found:
                continue
            found[id(node)] = node
            fresh = [name for name in node.input if name and name not in inputs]
            read.update(fresh)
            wanted += fresh
        return sorted(found.values(), key=lambda node: self._order[id(node)]), read

    def _value(self, name: str) -> ValueInfoProto:
        if name in self._values:
            return self._values[name]
        return helper.make_tensor_value_info(name, self.dtype, ["batch_size", "sequence_length", self.width])


def _unknown(what: str) -> BundleError:
    return BundleError(f"the graph cannot be cut into layers ({what}): export it again with this dagger-edge")
