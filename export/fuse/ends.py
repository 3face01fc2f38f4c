"""Both ends of the model: the scaled embedding, and the head that makes logits of the tokens that are asked for."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, numpy_helper

from ...runtime.logits import CORE_POSITIONS, LOGITS_POSITIONS
from ..names import EMBEDDING, HEAD, ROW_OF_ID
from .pattern import find, match, node
from .traced import TracedGraph, unexpected

EMBEDDING_SCALE = "/model/embed_tokens/scale"

_EMBEDDED = node("Mul", node("Gather", "table", "ids"), "scale")
_LOGITS = node("MatMul", "hidden", node("Transpose", "table", perm=[1, 0]))


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


def keep_asked_logits(graph: TracedGraph, *, tied: bool) -> None:
    """Cuts the hidden states to those at `LOGITS_POSITIONS`, int64 [kept], before the head; -1 is the last.

    They are an initializer that is also an input: the last one where a caller does not feed it, and no caller has to
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
    graph.constant(LOGITS_POSITIONS, np.array([-1], np.int64))
    graph.add("Gather", [found["hidden"], LOGITS_POSITIONS], ["/lm_head/kept"], "/lm_head/Gather", axis=1)
    matmul = graph.producer("logits")
    if matmul is not None:
        matmul.input[0] = "/lm_head/kept"


def look_up_by_row(graph: TracedGraph) -> None:
    """Lets the embedding be looked up where its rows are stored in the order of `ROW_OF_ID`, int32 [vocab]."""
    gather = next(node for node in graph.live_nodes() if node.op_type == "Gather" and node.input[0] == EMBEDDING)
    scope = "/model/embed_tokens"
    graph.add("Gather", [ROW_OF_ID, gather.input[1]], [f"{scope}/row"], f"{scope}/Row")
    graph.add("Gather", [EMBEDDING, f"{scope}/row"], list(gather.output), gather.name)


def cut_head(graph: TracedGraph, removed: int, low: float, *, split: bool) -> tuple[str, ...]:
    """Puts the logits of a head that lacks rows into the order of the vocabulary.

    The products are of the rows that are kept, in the order of `ROW_OF_ID`, and have yet to be stored. Two where it is
    ``split``: of the first rows, and of the others, which are not read for positions that are fed as `CORE_POSITIONS`,
    int64 [core]. Logits of these positions come after those of `LOGITS_POSITIONS`. By default there are none.

    Args:
        graph: after `keep_asked_logits`.
        removed: how many ids have no row.
        low: what these read as; others too where they are not read.
        split: whether the first rows are a product of their own.

    Returns:
        What the products make, float32 [batch, kept, rows] once they are stored.
    """
    scope = "/lm_head"
    head = graph.producer("logits")
    if head is None:
        raise unexpected("logits", "nothing makes them")
    ends = graph.constant(f"{scope}/removed", np.array([0, 0, 0, 0, 0, removed], np.int64))
    # A node, since constants take the type of the hidden states.
    value = numpy_helper.from_array(np.array(low, np.float32))
    graph.add("Constant", [], [f"{scope}/low"], f"{scope}/Constant", value=value)
    if split:
        products: tuple[str, ...] = _split(graph, head)
        core, words = products
        graph.add("Shape", [CORE_POSITIONS], [f"{scope}/spared"], f"{scope}/Spared")
        places = graph.constant(f"{scope}/places_of_spared", np.array([4], np.int64))
        graph.add("ScatterElements", [ends, places, f"{scope}/spared"], [f"{scope}/ends"], f"{scope}/Ends")
        graph.add("Pad", [words, f"{scope}/ends", f"{scope}/low"], [f"{words}/padded"], f"{scope}/Pad")
        graph.add("Concat", [core, f"{words}/padded"], [f"{scope}/padded"], f"{scope}/Concat", axis=2)
    else:
        products = (f"{scope}/rows",)
        head.output[0] = products[0]
        graph.put(head)
        graph.add("Pad", [*products, ends, f"{scope}/low"], [f"{scope}/padded"], f"{scope}/Pad")
    # Gather along the last axis copies number by number, and takes four times as long.
    graph.add("Shape", [f"{scope}/padded"], [f"{scope}/shape"], f"{scope}/Shape")
    graph.add("Expand", [ROW_OF_ID, f"{scope}/shape"], [f"{scope}/places"], f"{scope}/Expand")
    graph.add("GatherElements", [f"{scope}/padded", f"{scope}/places"], ["logits"], f"{scope}/Spread", axis=2)
    return products


def _split(graph: TracedGraph, head: NodeProto) -> tuple[str, str]:
    """The first rows at all positions, and the others at those of `LOGITS_POSITIONS`."""
    kept, table = head.input
    gather = graph.producer(kept)
    if gather is None:
        raise unexpected("/lm_head", "its positions are not chosen yet")
    core, words = "/lm_head/core", "/lm_head/words"
    graph.constant(CORE_POSITIONS, np.zeros(0, np.int64))
    graph.add("Concat", [LOGITS_POSITIONS, CORE_POSITIONS], [f"{core}/positions"], f"{core}/Concat", axis=0)
    graph.add("Gather", [gather.input[0], f"{core}/positions"], [f"{core}/kept"], f"{core}/Gather", axis=1)
    graph.add("MatMul", [f"{core}/kept", table], [core], f"{core}/MatMul")
    graph.add("MatMul", [kept, table], [words], f"{words}/MatMul")
    return core, words
