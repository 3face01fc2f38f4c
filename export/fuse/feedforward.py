"""The tanh approximation of GELU: nine traced nodes become one ``FastGelu``."""

from __future__ import annotations

import math

from .norm import scope_of
from .pattern import find, node
from .traced import TracedGraph

_CUBED = node("Mul", "x", node("Mul", "x", "x"))
_TANH = node("Tanh", node("Mul", math.sqrt(2 / math.pi), node("Add", "x", node("Mul", 0.044715, _CUBED))))
_GELU = node("Mul", 0.5, node("Mul", "x", node("Add", 1.0, _TANH)))


def fuse_gelu(graph: TracedGraph, module: str) -> None:
    """Fuses the activation ``module``, such as ``model.layers.0.mlp.act_fn``.

    Raises:
        BundleError: the traced nodes are another activation.
    """
    scope = scope_of(module)
    output, found = find(graph, scope, _GELU)
    graph.add("FastGelu", [found["x"]], [output], f"{scope}/FastGelu")
