"""All fusions in their order."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from ..config import TextConfig
from ..rope import Rotary
from .attention import add_lengths, fuse_attention
from .ends import keep_asked_logits, set_embedding_scale
from .feedforward import fuse_gelu
from .norm import fuse_norm, fuse_residual_sums, scope_of
from .traced import TracedGraph, unexpected

_LAYER_NORMS = (
    "input_layernorm",
    "self_attn.q_norm",
    "self_attn.k_norm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)


@dataclass(frozen=True, slots=True)
class FusedModel:
    """A fused graph. Its weights are inputs under their names in the checkpoint, and so are the rotary tables:
    ``rotary.{kind}.cos`` and ``.sin`` [context, head_dim / 2] for each kind in ``rotary``."""

    graph: TracedGraph
    rotary: dict[str, Rotary]


def fuse(skeleton: onnx.ModelProto, config: TextConfig, embedding_scale: float) -> FusedModel:
    """Fuses all of ``skeleton``.

    Args:
        skeleton: from `trace_skeleton` with the same ``config``.
        config: the checkpoint's architecture.
        embedding_scale: the factor of the embedding, sqrt(hidden size) in the precision of the checkpoint.

    Raises:
        BundleError: a part of the graph is not what it should be; the message names it.
    """
    graph = TracedGraph(skeleton)
    set_embedding_scale(graph, embedding_scale)
    add_lengths(graph, config)
    rotary: dict[str, Rotary] = {}
    for index in range(config.num_layers):
        layer = f"model.layers.{index}"
        for name in _LAYER_NORMS:
            fuse_norm(graph, f"{layer}.{name}", config.rms_norm_eps)
        kind, numbers = fuse_attention(graph, index, config)
        rotary.setdefault(kind, numbers)
        fuse_gelu(graph, f"{layer}.mlp.act_fn")
    fuse_norm(graph, "model.norm", config.rms_norm_eps)
    sums = fuse_residual_sums(graph, {scope_of(f"model.layers.{index}") for index in range(config.num_layers)})
    if sums != 2 * config.num_layers:
        raise unexpected("/model/layers", f"{sums} sums of the residual stream, not two a layer")
    keep_asked_logits(graph, tied=config.tied)
    return FusedModel(graph, rotary)
