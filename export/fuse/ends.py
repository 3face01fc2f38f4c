"""Both ends of the model: the scaled embedding, and the head that makes logits of the last tokens only."""

from __future__ import annotations

import numpy as np

from ..names import EMBEDDING, HEAD
from .pattern import find, match, node
from .traced import TracedGraph, unexpected

LOGITS_TO_KEEP = "num_logits_to_keep"
EMBEDDING_SCALE = "/model/embed_tokens/scale"

_EMBEDDED = node("Mul", node("Gather", "table", "ids"), "scale")
_LOGITS = node("MatMul", "hidden", node("Transpose", "table", perm=[1, 0]))
_INT64_MAX = np.iinfo(np.int64).max


def set_embedding_scale(graph: TracedGraph, scale: float) -> None:
    """Gives the embedding the factor ``scale``, which must be the traced one but for rounding.

    Raises:
        BundleError: the trace has no such factor. A Gemma without it runs, and answers garbage.
    """
    scope = "/model/embed_tokens"
    output, found = find(graph, scope, _EMBEDDED)
    traced = graph.value(found["scale"])
    # sqrt(hidden) has 8 bits where the checkpoint is in bf16.
    if traced is None or not np.isclose(traced.item(), scale, rtol=2**-8):
        raise unexpected(scope, f"the embedding is scaled by {traced}, not by {scale}")
    if (found["table"], found["ids"]) != (EMBEDDING, "input_ids"):
        raise unexpected(scope, f"it reads {found['table']}")
    graph.constant(EMBEDDING_SCALE, np.array(scale, np.float32))
    gathered = f"{scope}/rows"
    graph.add("Gather", [EMBEDDING, "input_ids"], [gathered], f"{scope}/Gather")
    graph.add("Mul", [gathered, EMBEDDING_SCALE], [output], f"{scope}/Mul")


def keep_last_logits(graph: TracedGraph, *, tied: bool) -> None:
    """Cuts the hidden states to the last `LOGITS_TO_KEEP` before the head; 0 keeps all of them.

    The number is an initializer that is also an input: 1 where a caller does not feed it, and no caller has to
    know of it.

    Raises:
        BundleError: the head does not read its weights, or not the final norm.
    """
    found = match(graph, "logits", _LOGITS)
    if found is None or found["table"] != (EMBEDDING if tied else HEAD):
        raise unexpected("/lm_head", "it is no product with its own weights")
    norm = graph.producer(found["hidden"])
    if norm is None or not norm.name.startswith("/model/norm/"):
        raise unexpected("/lm_head", "it does not read the final norm")
    graph.constant(LOGITS_TO_KEEP, np.array([1], np.int64))
    end = graph.constant("/lm_head/end", np.array([_INT64_MAX], np.int64))
    axis = graph.constant("/lm_head/axis", np.array([1], np.int64))
    graph.add("Neg", [LOGITS_TO_KEEP], ["/lm_head/start"], "/lm_head/Neg")
    graph.add("Slice", [found["hidden"], "/lm_head/start", end, axis], ["/lm_head/kept"], "/lm_head/Slice")
    matmul = graph.producer("logits")
    if matmul is not None:
        matmul.input[0] = "/lm_head/kept"
