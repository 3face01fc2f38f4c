"""One order for every graph that the demo learns to write, so that nothing about it has to be guessed."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from ...runtime.graph import Graph, Node
from ...runtime.graph.node import FINAL_ID

_COMMUTATIVE = frozenset({"add", "sum", "mul", "mean", "min", "max", "gcd", "lcm"})


def in_one_order(nodes: Sequence[Node]) -> Graph:
    """The graph of ``nodes`` (constants in the order of reading) in the demo's one order.

    The constants come first. Of the operations whose arguments are all written, the one with the earliest
    arguments is next. The arguments of an operation that commutes ascend. Ids are ``n1``, ``n2``, ... and
    ``final_result``. No node may name one that is not there, and there may be no cycle.
    """
    constants = [node for node in nodes if node.op == "const"]
    waiting = [node for node in nodes if node.op != "const"]
    place = {node.id: index for index, node in enumerate(constants, start=1)}
    ordered = [replace(node, id=f"n{place[node.id]}") for node in constants]
    while waiting:
        ready = [node for node in waiting if all(arg in place for arg in node.args or ())]
        node = min(ready, key=lambda node: _places(node, place))
        waiting.remove(node)
        args = tuple(f"n{index}" for index in _places(node, place))
        place[node.id] = len(ordered) + 1
        new_id = FINAL_ID if node.id == FINAL_ID else f"n{place[node.id]}"
        ordered.append(replace(node, id=new_id, args=args))
    return Graph(nodes=tuple(ordered))


def _places(node: Node, place: dict[str, int]) -> list[int]:
    places = [place[str(arg)] for arg in node.args or ()]
    return sorted(places) if node.op in _COMMUTATIVE else places
