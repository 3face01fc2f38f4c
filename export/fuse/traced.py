"""A traced graph while it is being rewritten: who makes which tensor, and which nodes are still needed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from ...runtime.errors import BundleError


class TracedGraph:
    """The nodes of a traced model, to be replaced one by one.

    A new node takes over the names of the tensors that it makes; what nobody needs any more is left out of
    `live_nodes`. Casts to the type that a tensor already has are passed over from the start.

    Args:
        model: from `trace_skeleton`. It is not changed.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.inputs = list(model.graph.input)
        self.outputs = list(model.graph.output)
        self.initializers: dict[str, TensorProto] = {}
        aliases = _idle_casts(model)
        self._producers: dict[str, NodeProto] = {}
        self._scopes: dict[str, list[NodeProto]] = {}
        for traced in model.graph.node:
            node = NodeProto()
            node.CopyFrom(traced)
            node.input[:] = [aliases.get(name, name) for name in traced.input]
            node.ClearField("doc_string")
            self.put(node)
            self._scopes.setdefault(node.name.rpartition("/")[0], []).append(node)

    def producer(self, tensor: str) -> NodeProto | None:
        """The node that makes ``tensor``; None for an input."""
        return self._producers.get(tensor)

    def nodes_of(self, scope: str) -> Sequence[NodeProto]:
        """The traced nodes of the module ``scope`` itself, such as ``/model/layers.0/mlp``, not of modules in it."""
        return self._scopes.get(scope, [])

    def put(self, node: NodeProto) -> None:
        """Adds ``node``, in place of what made its outputs before."""
        for name in node.output:
            if name:
                self._producers[name] = node

    def add(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], name: str, **attributes: Any) -> None:
        """`put` for a new node. Its domain is onnxruntime's own for the ``kind``s that ONNX does not have."""
        domain = "com.microsoft" if kind in MICROSOFT_OPERATORS else ""
        self.put(helper.make_node(kind, inputs, outputs, name=name, domain=domain, **attributes))

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """Stores a small constant under ``name`` and gives the name back."""
        self.initializers[name] = numpy_helper.from_array(array, name)
        return name

    def value(self, tensor: str) -> NDArray[Any] | None:
        """The number or numbers of a constant ``tensor``; None where it is not constant."""
        node = self.producer(tensor)
        if node is None:
            return None
        if node.op_type == "Constant":
            return np.asarray(numpy_helper.to_array(node.attribute[0].t))
        if node.op_type in {"Unsqueeze", "Cast"}:
            return self.value(node.input[0])
        return None

    def cone(self, tensor: str) -> Iterable[NodeProto]:
        """All nodes that ``tensor`` depends on, its own first."""
        seen: set[str] = set()
        stack = [tensor]
        while stack:
            node = self.producer(stack.pop())
            if node is not None and node.output[0] not in seen:
                seen.add(node.output[0])
                stack.extend(node.input)
                yield node

    def live_nodes(self) -> list[NodeProto]:
        """The nodes that the outputs need, each after what it reads; always in the same order."""
        done: set[str] = set()
        ordered: list[NodeProto] = []
        stack = [(output.name, False) for output in reversed(self.outputs)]
        while stack:
            tensor, inputs_done = stack.pop()
            node = self.producer(tensor)
            if node is None or tensor in done:
                continue
            if inputs_done:
                done.update(node.output)
                ordered.append(node)
            else:
                stack.append((tensor, True))
                stack.extend((name, False) for name in reversed(node.input))
        return ordered


MICROSOFT_OPERATORS = frozenset(
    {"FastGelu", "GatherBlockQuantized", "GroupQueryAttention", "MatMulNBits", "SkipSimplifiedLayerNormalization"}
)


def unexpected(place: str, what: str) -> BundleError:
    """The error of a graph that is not the one that this code was written for."""
    return BundleError(f"the traced graph cannot be fused at {place}: {what}; this exporter's version is unknown")


def _idle_casts(model: onnx.ModelProto) -> dict[str, str]:
    """What the output of every cast to its input's own type stands for."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = (*graph.value_info, *graph.input, *graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    aliases: dict[str, str] = {}
    for node in graph.node:
        if node.op_type == "Cast" and types.get(node.input[0]) == node.attribute[0].i:
            aliases[node.output[0]] = aliases.get(node.input[0], node.input[0])
    return aliases
