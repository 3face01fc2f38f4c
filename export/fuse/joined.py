"""Products of one input joined into one: q, k, v, and gate, up."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..config import TextConfig
from .norm import scope_of
from .traced import TracedGraph, unexpected

# The joined product's name in a layer, and its parts in their order.
JOINED = {
    "self_attn.qkv_proj": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "mlp.gate_up_proj": ("mlp.gate_proj", "mlp.up_proj"),
}


def join_products(graph: TracedGraph, config: TextConfig) -> Mapping[str, tuple[str, ...]]:
    """Joins the products of all layers; gives the weights that each joined weight consists of, row after row.

    Raises:
        BundleError: the parts are not products of one input.
    """
    joined = {}
    for index in range(config.num_layers):
        for name, parts in JOINED.items():
            layer = f"model.layers.{index}"
            weights = tuple(f"{layer}.{part}.weight" for part in parts)
            _join(graph, f"{layer}.{name}", weights, [config.tensor_shapes[weight][0] for weight in weights])
            joined[f"{layer}.{name}.weight"] = weights
    return joined


def _join(graph: TracedGraph, module: str, weights: tuple[str, ...], sizes: list[int]) -> None:
    scope = scope_of(module)
    outputs, inputs = [], set()
    for weight in weights:
        products = [
            node for node in graph.nodes_of(scope_of(weight.removesuffix(".weight"))) if node.op_type == "MatMul"
        ]
        if len(products) != 1:
            raise unexpected(scope, f"{weight} has {len(products)} products")
        outputs.append(products[0].output[0])
        inputs.add(products[0].input[0])
    if len(inputs) != 1:
        raise unexpected(scope, "its parts read different tensors")
    graph.add("Transpose", [f"{module}.weight"], [f"{scope}/transposed"], f"{scope}/Transpose", perm=[1, 0])
    graph.add("MatMul", [inputs.pop(), f"{scope}/transposed"], [f"{scope}/joined"], f"{scope}/MatMul")
    split = graph.constant(f"{scope}/sizes", np.array(sizes, np.int64))
    graph.add("Split", [f"{scope}/joined", split], outputs, f"{scope}/Split", axis=-1)
