"""For which execution providers a graph is made: those that have a kernel for all of its large nodes.

A node without one is run by the CPU in the middle of a GPU's graph, and every step then carries its tensors to and fro.
From onnxruntime's list of kernels (docs/OperatorKernels.md of its repository, commit 001d12d): on CUDA,
``GroupQueryAttention`` is for float16 and bfloat16 only, ``MatMulInteger`` for int8 only. Nothing was run on CUDA.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import NodeProto, TensorProto

from ..runtime.manifest import ProviderName

# By operator: the input whose type says that of the others, and the types that CUDA has a kernel for.
_CUDA_TYPES = {
    "GroupQueryAttention": (7, {TensorProto.FLOAT16, TensorProto.BFLOAT16}),
    "MatMulInteger": (2, {TensorProto.INT8}),
}


def graph_providers(path: Path) -> tuple[ProviderName, ...]:
    """The providers that the graph at ``path`` is made for: ``cpu``, and ``cuda`` where that has all kernels."""
    graph = onnx.load(path, load_external_data=False).graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    return ("cpu", "cuda") if all(_on_cuda(node, types) for node in graph.node) else ("cpu",)


def _on_cuda(node: NodeProto, types: dict[str, int]) -> bool:
    if node.op_type not in _CUDA_TYPES:
        return True
    index, allowed = _CUDA_TYPES[node.op_type]
    # A type that is not to be seen is not one that is known to work.
    return index < len(node.input) and types.get(node.input[index]) in allowed
