"""The output head: Gemma ties it to the embedding, but the traced graph stores that matrix twice."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from ..runtime.errors import BundleError
from .names import EMBEDDING

_BLOCK_ROWS = 4096


def share_embedding(model: onnx.ModelProto) -> bool:
    """Lets a tied head read the embedding through a ``Transpose``, and drops its copy; in place.

    onnxruntime folds the transposition when it loads the graph, so that speed and memory stay as they were
    (a ``Gemm`` or ``FusedMatMul`` over the matrix as it is was no faster, and kept two copies too), and the
    logits are the same to the last bit.

    Returns:
        Whether the head was tied. One that differs from the embedding in any bit is left as it is.

    Raises:
        BundleError: the graph has no embedding, or no ``MatMul`` that makes the logits.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    heads = [node for node in model.graph.node if "logits" in node.output and node.op_type == "MatMul"]
    if EMBEDDING not in weights or len(heads) != 1 or heads[0].input[1] not in weights:
        raise BundleError("the traced graph has no embedding or no output head: this exporter's version is unknown")
    matmul = heads[0]
    copy = weights[matmul.input[1]]
    if not _is_transpose(weights[EMBEDDING], copy):
        return False
    transpose = helper.make_node("Transpose", [EMBEDDING], ["lm_head.weight"], name="/lm_head/Transpose", perm=[1, 0])
    matmul.input[1] = "lm_head.weight"
    nodes = list(model.graph.node)
    model.graph.node.insert(nodes.index(matmul), transpose)
    model.graph.initializer.remove(copy)
    return True


def _is_transpose(embedding: TensorProto, head: TensorProto) -> bool:
    """Whether ``head`` [hidden, vocab] is ``embedding`` [vocab, hidden] transposed, bit for bit."""
    if list(head.dims) != list(reversed(embedding.dims)) or head.data_type != embedding.data_type:
        return False
    rows, columns = onnx.numpy_helper.to_array(embedding), onnx.numpy_helper.to_array(head)
    return all(
        bool((columns[:, start : start + _BLOCK_ROWS] == rows[start : start + _BLOCK_ROWS].T).all())
        for start in range(0, len(rows), _BLOCK_ROWS)
    )
