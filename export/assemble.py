"""Assembling: the fused graph with its weights in their places, ready to be written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from ..runtime.logits import CORE_POSITIONS, CORE_TOKENS, LOGITS_POSITIONS
from ..runtime.session import REMOVED_LOGIT
from .config import TextConfig
from .folded import FoldedWeights
from .fuse.ends import cut_head, look_up_by_row
from .fuse.model import FusedModel
from .fuse.traced import TracedGraph, unexpected
from .head import HeadCut
from .names import EMBEDDING, ROW_OF_ID
from .recipe import Recipe
from .storage.base import Storage
from .storage.dense import Dense
from .stream import Layout

# The versions that optimum asks torch for; the operators of onnxruntime have one.
_OPSETS = (("", 18), ("com.microsoft", 1))
_IR_VERSION = 8


def assemble(
    fused: FusedModel, config: TextConfig, recipe: Recipe, weights: FoldedWeights
) -> tuple[onnx.ModelProto, Layout]:
    """Stores every weight as ``recipe`` says; changes ``fused``.

    Inputs: ``input_ids`` int64 [batch, step], ``attention_mask`` int64 [batch, past + step], and
    ``past_key_values.{i}.key/value`` [batch, kv_heads, past, head_dim] in the recipe's type of activations.
    ``logits_positions`` int64 [kept] need not be fed: it is [-1], the last. Outputs: ``logits`` float32 [batch,
    kept, vocab], ``present.{i}.key/value`` [batch, kv_heads, past + step, head_dim]. Where the head is cut, logits of
    ids without a row are `REMOVED_LOGIT`. Where it is also the embedding, ``core_positions`` int64 [core] are more
    positions, by default none, at which only the ids that the model's property ``core_tokens`` lists have logits.

    Returns:
        The graph, and the layout of the file beside it.

    Raises:
        BundleError: a weight is not read where it should be.
        UsageError: the recipe cannot store a weight of this model.
    """
    graph, cut = fused.graph, weights.cut
    # What the head's products make, and of which rows where they are not all of a tensor.
    heads: dict[str, range | None] = {"logits": None}
    if cut is not None:
        groups = _groups(cut)
        products = cut_head(graph, cut.vocabulary - cut.rows, REMOVED_LOGIT, split=config.tied and len(groups) > 1)
        heads = dict.fromkeys(products)
        if config.tied:
            heads = dict(zip(products, groups, strict=True))
            recipe = replace(recipe, vocabulary=recipe.vocabulary.with_head(groups))
            look_up_by_row(graph)
    for node in graph.live_nodes():
        _store(graph, node, recipe, weights, heads)
    if recipe.activations != np.float32:
        for product in heads:
            _widen(graph, product)
    nodes = graph.live_nodes()
    read = {name for node in nodes for name in node.input}
    initializers = [_typed(item, recipe) for name, item in graph.initializers.items() if name in read]
    shapes = {name: weights.shape(name) for name in weights.names}
    layout = Layout((name, shape, _storage(name, shape, recipe)) for name, shape in shapes.items())
    for slot in layout.slots:
        tensors = [item for item in slot.initializers() if item.name in read]
        if not tensors:
            raise unexpected(slot.weight, "nothing reads it")
        initializers += tensors
    body = helper.make_graph(nodes, "gemma3", _inputs(graph, recipe), _outputs(graph, config, recipe), initializers)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid(*item) for item in _OPSETS])
    model.ir_version = _IR_VERSION
    if cut is not None and len(heads) > 1:
        helper.set_model_props(model, {CORE_TOKENS: json.dumps(cut.kept[: cut.core].tolist())})
    return model, layout


def replace_constant(model: onnx.ModelProto, name: str, array: NDArray[Any]) -> None:
    """Gives the small constant ``name`` of ``model`` another value."""
    for item in model.graph.initializer:
        if item.name == name:
            item.CopyFrom(numpy_helper.from_array(array, name))
            return
    raise unexpected(name, "the graph has no such constant")


def _storage(name: str, shape: tuple[int, ...], recipe: Recipe) -> Storage:
    if name == EMBEDDING:
        return recipe.vocabulary
    if name == ROW_OF_ID:
        return Dense(np.dtype(np.int32))
    return recipe.vectors if len(shape) == 1 or name.startswith("rotary.") else recipe.storage(name)


def _groups(cut: HeadCut) -> list[range]:
    """The rows of each product of a head that is cut, where it shares the embedding's."""
    return [range(cut.core), range(cut.core, cut.rows)] if cut.core else [range(cut.rows)]


def _store(
    graph: TracedGraph, node: NodeProto, recipe: Recipe, weights: FoldedWeights, heads: Mapping[str, range | None]
) -> None:
    """Replaces ``node`` where it reads a matrix of the checkpoint; ``heads`` are the rows of the head's products."""
    if node.op_type == "Gather" and node.input[0] == EMBEDDING:
        recipe.vocabulary.look_up(graph, node, EMBEDDING)
    transpose = graph.producer(node.input[1]) if node.op_type == "MatMul" else None
    if transpose is None or transpose.input[0] not in weights.names:
        return
    weight = transpose.input[0]
    rows, columns = weights.shape(weight)
    if weight == EMBEDDING:
        recipe.vocabulary.multiply(graph, node, weight, (rows, columns), heads[node.output[0]])
    else:
        recipe.storage(weight).multiply(graph, node, weight, (rows, columns))


def _widen(graph: TracedGraph, product: str) -> None:
    """Callers get float32 whatever the type of the hidden states."""
    head = graph.producer(product)
    if head is None:
        raise unexpected(product, "nothing makes it")
    scope = head.name.rpartition("/")[0]
    head.output[0] = f"{scope}/narrow"
    graph.put(head)
    graph.add("Cast", [f"{scope}/narrow"], [product], f"{scope}/Cast", to=TensorProto.FLOAT)


def _typed(constant: TensorProto, recipe: Recipe) -> TensorProto:
    """Floating-point constants in the type of the hidden states."""
    if constant.data_type != TensorProto.FLOAT:
        return constant
    return numpy_helper.from_array(numpy_helper.to_array(constant).astype(recipe.activations), constant.name)


def _inputs(graph: TracedGraph, recipe: Recipe) -> list[ValueInfoProto]:
    inputs = [_cache(value, recipe) for value in graph.inputs if not value.name.endswith(".weight")]
    for name, length in ((LOGITS_POSITIONS, "kept"), (CORE_POSITIONS, "core")):
        if name in graph.initializers:
            inputs.append(helper.make_tensor_value_info(name, TensorProto.INT64, [length]))
    return inputs


def _outputs(graph: TracedGraph, config: TextConfig, recipe: Recipe) -> list[ValueInfoProto]:
    # As it is where no positions are fed: onnxruntime-genai looks here for whether there is one row of logits only.
    shape = ["batch_size", 1, config.vocab_size]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)
    return [logits, *(_cache(value, recipe) for value in graph.outputs if value.name != "logits")]


def _cache(value: ValueInfoProto, recipe: Recipe) -> ValueInfoProto:
    """``value``, in the type of the hidden states where it is a part of the cache."""
    typed = ValueInfoProto()
    typed.CopyFrom(value)
    if typed.type.tensor_type.elem_type == TensorProto.FLOAT:
        typed.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(recipe.activations)
    return typed
