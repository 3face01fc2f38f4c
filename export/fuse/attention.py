"""Attention: some 160 traced nodes a layer become one ``GroupQueryAttention`` that rotates and windows by itself.

Query and key are normed outside, since the operator's own norm inputs do not exist on the CPU. Scale, window and
rotary frequencies are read from the trace, and must be those of the layer's kind in the configuration.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from ..config import Rope, TextConfig
from ..rope import Rotary, frequencies
from .norm import scope_of
from .pattern import Node, OneOf, find, match, node
from .traced import TracedGraph, unexpected

_PAST_LENGTH, _TOTAL_LENGTH = "/attention/past_length", "/attention/total_length"
_SPLIT_HEADS, _JOIN_HEADS = "/attention/split_heads", "/attention/join_heads"
_INT64_MAX = np.iinfo(np.int64).max
_HALF = node("Transpose", node("MatMul", node("Expand", "frequencies", "_"), "positions"), perm=[0, 2, 1])
_ANGLES = node("Concat", _HALF, _HALF, axis={-1, 2})


def add_lengths(graph: TracedGraph, config: TextConfig) -> None:
    """Adds what all layers share: from the mask, the two lengths that ``GroupQueryAttention`` asks for.

    It counts the mask's ones, so rows of a batch may be padded on the right only.
    """
    graph.constant(_SPLIT_HEADS, np.array([0, 0, -1, config.head_dim], np.int64))
    graph.constant(_JOIN_HEADS, np.array([0, 0, -1], np.int64))
    axis = graph.constant("/attention/axis", np.array([1], np.int64))
    one = graph.constant("/attention/one", np.array(1, np.int64))
    to_int32 = {"to": TensorProto.INT32}
    graph.add("ReduceSum", ["attention_mask", axis], ["/attention/sum"], "/attention/ReduceSum", keepdims=0)
    graph.add("Sub", ["/attention/sum", one], ["/attention/last"], "/attention/Sub")
    graph.add("Cast", ["/attention/last"], [_PAST_LENGTH], "/attention/Cast", **to_int32)
    graph.add("Shape", ["attention_mask"], ["/attention/shape"], "/attention/Shape")
    graph.add("Gather", ["/attention/shape", one], ["/attention/total"], "/attention/Gather", axis=0)
    graph.add("Cast", ["/attention/total"], [_TOTAL_LENGTH], "/attention/Cast_1", **to_int32)


def fuse_attention(graph: TracedGraph, index: int, config: TextConfig) -> tuple[str, Rotary]:
    """Fuses the attention of layer ``index``, whose q and k norms are fused already.

    Returns:
        The kind of rotary embedding that it reads (``global`` or ``local``), and its numbers in the trace.

    Raises:
        BundleError: the traced nodes are no attention, or not the one that the configuration describes.
    """
    scope = scope_of(f"model.layers.{index}.self_attn")
    output, found = find(graph, scope, _attention_pattern(config))
    is_global = config.layer_kinds[index] == "full_attention"
    kind, rope = ("global", config.global_rope) if is_global else ("local", config.local_rope)
    rotary = _rotary(graph, scope, found, rope, config.head_dim)
    scale = _scale(graph, scope, found, config)
    _check_window(graph, scope, found["mask"], None if is_global else config.sliding_window)
    names = [f"{prefix}.{index}.{name}" for prefix in ("past_key_values", "present") for name in ("key", "value")]
    if [found["past_key"], found["past_value"]] != names[:2]:
        raise unexpected(scope, "it reads the cache of another layer")
    inputs = [
        _normed_heads(graph, scope, found["query"], found["query_weight"], "q_norm", config),
        _normed_heads(graph, scope, found["key"], found["key_weight"], "k_norm", config),
        found["value"],
        *names[:2],
        _PAST_LENGTH,
        _TOTAL_LENGTH,
        f"rotary.{kind}.cos",
        f"rotary.{kind}.sin",
    ]
    graph.add(
        "GroupQueryAttention",
        inputs,
        [output, *names[2:]],
        f"{scope}/GroupQueryAttention",
        num_heads=config.num_heads,
        kv_num_heads=config.num_kv_heads,
        scale=scale,
        # Counts the token itself, as transformers does; before onnxruntime 1.24 it did not (onnxruntime#25927).
        local_window_size=-1 if is_global else config.sliding_window,
        do_rotary=1,
        rotary_interleaved=0,
    )
    return kind, rotary


def _normed_heads(graph: TracedGraph, scope: str, x: str, weight: str, norm: str, config: TextConfig) -> str:
    """Norms every head of ``x`` [batch, step, heads * head_dim] apart; gives a tensor of the same shape."""
    prefix = f"{scope}/{norm}"
    heads, normed, joined = (f"{prefix}/{name}" for name in ("heads", "normed", "joined"))
    kind = "SimplifiedLayerNormalization"
    graph.add("Reshape", [x, _SPLIT_HEADS], [heads], f"{prefix}/Reshape")
    graph.add(kind, [heads, weight], [normed], f"{prefix}/{kind}", axis=-1, epsilon=config.rms_norm_eps)
    graph.add("Reshape", [normed, _JOIN_HEADS], [joined], f"{prefix}/Reshape_1")
    return joined


def _attention_pattern(config: TextConfig) -> Node:
    """From the outputs of the three projections to the input of the fourth."""
    query = _rotated(_split("query", "query_weight", config), config)
    key = node("Concat", "past_key", _rotated(_split("key", "key_weight", config), config), axis={-2, 2})
    value = node("Concat", "past_value", _split("value", None, config), axis={-2, 2})
    if config.num_heads != config.num_kv_heads:
        key, value = (node("Reshape", node("Expand", node("Unsqueeze", x, 2), "_"), "_") for x in (key, value))
    scores = node(
        "MatMul",
        node("Mul", query, _root("query_scale")),
        node("Mul", node("Transpose", key, perm=[0, 1, 3, 2]), _root("key_scale")),
    )
    mask = node("Where", node("Slice", "mask", "_", "_", "_", "_"), 0.0, -math.inf)
    chances = node("Softmax", node("Add", scores, mask), axis={-1, 3})
    # Rows that see nothing are set to zero by newer versions of torch; Gemma has no such rows.
    context = node("MatMul", OneOf((node("Where", node("IsNaN", chances), 0.0, chances), chances)), value)
    return node("Reshape", node("Transpose", context, perm=[0, 2, 1, 3]), "_")


def _split(x: str, weight: str | None, config: TextConfig) -> Node:
    """Heads of ``x``, each normed where ``weight`` is given."""
    shape = node("Concat", "_", "_", -1, config.head_dim, axis=0)
    heads = node("Transpose", node("Reshape", x, shape), perm=[0, 2, 1, 3])
    return heads if weight is None else node("SimplifiedLayerNormalization", heads, weight)


def _rotated(x: Node, config: TextConfig) -> Node:
    size = node("Unsqueeze", node("Div", node("Gather", node("Shape", x), 3), 2), 0)
    half = OneOf((config.head_dim // 2, size))
    first, second = node("Slice", x, 0, half, 3, 1), node("Slice", x, half, _INT64_MAX, 3, 1)
    turned = node("Concat", node("Neg", second), first, axis={-1, 3})
    return node("Add", node("Mul", x, "cos"), node("Mul", turned, "sin"))


def _root(scale: str) -> OneOf:
    return OneOf((node("Sqrt", scale), node("Cast", node("Sqrt", scale))))


def _rotary(graph: TracedGraph, scope: str, found: Mapping[str, str], rope: Rope, head_dim: int) -> Rotary:
    tables: dict[str, Mapping[str, str]] = {}
    for name, kind in (("cos", "Cos"), ("sin", "Sin")):
        table = match(graph, found[name], node("Unsqueeze", node("Mul", node(kind, _ANGLES), "factor"), 1))
        if table is None:
            raise unexpected(scope, f"its {name} is not that of a rotary embedding")
        tables[name] = table
    traced = _number(graph, tables["cos"]["frequencies"])
    factors = {float(_number(graph, table["factor"]).item()) for table in tables.values()}
    expected = frequencies(rope, head_dim)
    same = tables["cos"]["positions"] == tables["sin"]["positions"] and traced.size == expected.size
    if not same or len(factors) != 1 or not np.allclose(traced.reshape(-1), expected, rtol=1e-5, atol=0):
        raise unexpected(scope, f"its rotary embedding has not the frequencies of theta {rope.theta:g}")
    return Rotary(traced.reshape(-1).astype(np.float32), factors.pop())


def _scale(graph: TracedGraph, scope: str, found: Mapping[str, str], config: TextConfig) -> float:
    scales = {float(_number(graph, found[name]).item()) for name in ("query_scale", "key_scale")}
    expected = config.query_pre_attn_scalar**-0.5
    if len(scales) != 1 or not math.isclose(min(scales), expected, rel_tol=1e-6):
        raise unexpected(scope, f"its scores are scaled by {scales}, not by {expected:g}")
    return scales.pop()


def _check_window(graph: TracedGraph, scope: str, mask: str, window: int | None) -> None:
    """Holds the traced mask against the layer's window; None is a layer that sees everything before it."""
    cone = list(graph.cone(mask))
    if sum(step.op_type == "LessOrEqual" for step in cone) != 1:
        raise unexpected(scope, "its mask is not causal")
    windows = []
    for step in cone:
        if step.op_type == "Greater":
            found = match(graph, step.input[1], node("Sub", "_", "window"))
            windows.append(None if found is None else int(_number(graph, found["window"]).item()))
    if windows != ([] if window is None else [window]):
        raise unexpected(scope, f"its mask has the windows {windows}, the configuration says {window}")


def _number(graph: TracedGraph, tensor: str) -> NDArray[Any]:
    value = graph.value(tensor)
    if value is None:
        raise unexpected(tensor, "it is not constant")
    return value
