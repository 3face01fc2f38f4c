"""RMS norms: ten traced nodes become a ``SimplifiedLayerNormalization``, with the sum before it where there is one.

Gemma multiplies by 1 + weight; in the fused graph the initializer is that sum (`folded_norm`).
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from .pattern import find, node
from .traced import TracedGraph, unexpected

_MEAN_SQUARE = node("ReduceMean", node("Pow", "x", 2.0), -1, keepdims=1)
_INVERSE_ROOT = node("Div", 1.0, node("Sqrt", node("Add", _MEAN_SQUARE, "epsilon")))
_NORM = node("Mul", node("Mul", "x", _INVERSE_ROOT), node("Add", "weight", 1.0))
_KIND = "SimplifiedLayerNormalization"


def folded_norm(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the fused graph multiplies by, for the checkpoint's ``weight``."""
    return weight + np.float32(1)


def fuse_norm(graph: TracedGraph, module: str, epsilon: float) -> None:
    """Fuses the RMS norm ``module``, such as ``model.layers.0.input_layernorm``.

    Raises:
        BundleError: the traced nodes are no RMS norm with this module's weight and ``epsilon``.
    """
    scope = scope_of(module)
    output, found = find(graph, scope, _NORM)
    traced = graph.value(found["epsilon"])
    if found["weight"] != f"{module}.weight" or traced is None or np.float32(epsilon) != traced:
        raise unexpected(scope, f"its weight is {found['weight']}, its epsilon {traced}")
    graph.add(_KIND, [found["x"], found["weight"]], [output], f"{scope}/{_KIND}", axis=-1, epsilon=epsilon)


def fuse_residual_sums(graph: TracedGraph, scopes: Collection[str]) -> int:
    """Joins every sum of ``scopes`` (the residual stream) with the norm that reads it; gives their number."""
    count = 0
    for norm in graph.live_nodes():
        total = graph.producer(norm.input[0])
        if norm.op_type != _KIND or total is None or total.op_type != "Add":
            continue
        if total.name.rpartition("/")[0] not in scopes:
            continue
        name = norm.name.replace(_KIND, f"Skip{_KIND}")
        # Stream first, addition second; the sum itself is the fourth output.
        inputs, outputs = [*total.input, norm.input[1]], [norm.output[0], "", "", total.output[0]]
        graph.add(f"Skip{_KIND}", inputs, outputs, name, epsilon=norm.attribute[1].f)
        count += 1
    return count


def scope_of(module: str) -> str:
    """The prefix of traced nodes of ``module``: ``model.layers.0.mlp`` is ``/model/layers.0/mlp``."""
    return "/" + module.replace(".", "/").replace("layers/", "layers.")
