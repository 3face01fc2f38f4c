"""What makes nodes a graph.

Strict: an op alias, a node out of order or a missing final result is an error here, whatever a repair could
do.
"""

from __future__ import annotations

import math
from collections.abc import Container

from .errors import GraphStructureError, quote
from .node import FINAL_ID, Node, Number
from .numerals import MAX_DIGITS, read_number
from .ops import OPS, canonical_name

MAX_NODES = 256
MAX_ARGS = 64


def check_nodes(nodes: tuple[Node, ...]) -> None:
    """Raises GraphStructureError, naming node, field and reason, unless ``nodes`` can be run in their order."""
    if not nodes:
        raise GraphStructureError("there are no nodes", field="nodes")
    if len(nodes) > MAX_NODES:
        raise GraphStructureError(f"{len(nodes)} nodes; at most {MAX_NODES}", field="nodes")
    _check_ids(nodes)
    earlier: set[str] = set()
    all_ids = {node.id for node in nodes}
    for node in nodes:
        check_node(node, earlier, all_ids)
        earlier.add(node.id)


def literal_value(arg: str | Number, ids: Container[str]) -> Number | None:
    """The number that ``arg`` is, or None where it is a node's id. An id that looks like a number is an id.

    Raises ValueError, with the reason, for a string that is neither.
    """
    if not isinstance(arg, str):
        _check_finite(arg)
        return arg
    return None if arg in ids else read_number(arg)


def _check_ids(nodes: tuple[Node, ...]) -> None:
    seen: set[str] = set()
    for index, node in enumerate(nodes):
        if not node.id:
            raise GraphStructureError("an id cannot be empty", node=f"nodes[{index}]", field="id")
        if node.id in seen:
            raise GraphStructureError("two nodes have this id", node=node.id, field="id")
        seen.add(node.id)
    if FINAL_ID not in seen:
        raise GraphStructureError(f"no node has the id {quote(FINAL_ID)}", field="nodes")
    if nodes[-1].id != FINAL_ID:
        reason = f"must be the last node, but {quote(nodes[-1].id)} is"
        raise GraphStructureError(reason, node=FINAL_ID, field="id")


def check_node(node: Node, earlier: set[str], all_ids: set[str]) -> None:
    """Raises GraphStructureError unless ``node`` can be run after the nodes called ``earlier``."""
    if node.op not in OPS:
        raise GraphStructureError(_unknown_op(node.op), node=node.id, field="op")
    if node.op == "const":
        _check_const(node)
        return
    if node.val is not None:
        raise GraphStructureError(f"{node.op} takes args, not val", node=node.id, field="val")
    if node.args is None:
        raise GraphStructureError(f"missing; {node.op} needs arguments", node=node.id, field="args")
    _check_arity(node, len(node.args))
    for arg in node.args:
        _check_arg(node, arg, earlier, all_ids)


def _unknown_op(op: str) -> str:
    meant = canonical_name(op)
    hint = f"; {quote(meant)} is meant, probably" if meant is not None else ""
    return f"unknown op {quote(op)}{hint}"


def _check_const(node: Node) -> None:
    if node.args is not None:
        raise GraphStructureError("const takes val, not args", node=node.id, field="args")
    if node.val is None:
        raise GraphStructureError("missing; const needs a number", node=node.id, field="val")
    try:
        _check_finite(node.val)
    except ValueError as error:
        raise GraphStructureError(str(error), node=node.id, field="val") from None


def _check_finite(value: Number) -> None:
    """Parsing has seen to this; a graph that a caller built has not been parsed."""
    if isinstance(value, int) and abs(value) >= 10**MAX_DIGITS:
        raise ValueError(f"a number of more than {MAX_DIGITS} digits")
    if isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")


def _check_arity(node: Node, count: int) -> None:
    op = OPS[node.op]
    if count > MAX_ARGS:
        raise GraphStructureError(f"{count} arguments; at most {MAX_ARGS}", node=node.id, field="args")
    if count < op.min_args or (op.max_args is not None and count > op.max_args):
        raise GraphStructureError(f"{node.op} takes {op.arity}, got {count}", node=node.id, field="args")


def _check_arg(node: Node, arg: str | Number, earlier: set[str], all_ids: set[str]) -> None:
    try:
        value = literal_value(arg, all_ids)
    except ValueError as error:
        reason = f"{quote(arg)} is no node id, and {error}" if isinstance(arg, str) else str(error)
        raise GraphStructureError(reason, node=node.id, field="args") from None
    if value is None and arg not in earlier:
        what = "the node itself" if arg == node.id else "a later node; nodes are in topological order"
        raise GraphStructureError(f"{quote(str(arg))} is {what}", node=node.id, field="args")
