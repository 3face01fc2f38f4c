"""Graphs that the tests of this folder share, and an evaluator that knows nothing of the package's."""

import json
import math
import random

from hypothesis import strategies as st

from dagger_edge.runtime.graph import Graph, Node

# The example of the DAGGER prompt, as the model card prints it (doubled braces undone).
EXAMPLE = """```json
{
  "nodes": [
    {"id": "n1", "op": "const", "val": 122195, "distractor": false, "label": "মিনার কলম"},
    {"id": "n2", "op": "const", "val": 25084, "distractor": true, "label": "রাজুর কলম"},
    {"id": "n3", "op": "const", "val": 1126, "distractor": true, "label": "মিনা রাজুর কাছে চাইল"},
    {"id": "n4", "op": "const", "val": 1000, "distractor": true, "label": "রাজু দিতে রাজি হল"},
    {"id": "n5", "op": "const", "val": 45.6, "distractor": false, "label": "প্রতিটি কলমের দাম"},
    {"id": "total_money", "op": "mul", "args": ["n1", "n5"], "distractor": false, "label": "মিনার মোট টাকা"},
    {"id": "final_result", "op": "identity", "args": ["total_money"], "distractor": false, "label": "চূড়ান্ত উত্তর"}
  ]
}```"""


def const(node_id, val, **more):
    return Node(id=node_id, op="const", val=val, **more)


def call(node_id, op, *args, **more):
    return Node(id=node_id, op=op, args=tuple(args), **more)


def graph_of(*nodes):
    """The nodes, closed with a final result that is the last of them."""
    return Graph((*nodes, call("final_result", "identity", nodes[-1].id)))


def one_op(op, *values):
    """A graph that applies ``op`` to ``values``; the node is called ``it``."""
    consts = [const(f"n{index}", value) for index, value in enumerate(values)]
    return graph_of(*consts, call("it", op, *(node.id for node in consts)))


def text_of(*nodes):
    """JSON text of raw node dictionaries, however wrong they are."""
    return json.dumps({"nodes": list(nodes)}, ensure_ascii=False)


def plain_evaluation(graph):
    """The answer by naive recursion over dictionaries and floats: the oracle of the executor."""
    nodes = {node.id: node for node in graph.nodes}

    def value(ref):
        if ref not in nodes:
            return float(ref)
        node = nodes[ref]
        if node.op == "const":
            return float(node.val)
        args = [value(arg) for arg in node.args]
        return {
            "identity": lambda: args[0],
            "add": lambda: math.fsum(args),
            "sum": lambda: math.fsum(args),
            "sub": lambda: args[0] - args[1],
            "mul": lambda: math.prod(args),
            "div": lambda: args[0] / args[1],
            "abs": lambda: abs(args[0]) if len(args) == 1 else abs(args[0] - args[1]),
            "mean": lambda: math.fsum(args) / len(args),
            "min": lambda: sorted(args)[0],
            "max": lambda: sorted(args)[-1],
            "sqrt": lambda: args[0] ** 0.5,
            "ratio_split": lambda: args[0] * args[1] / math.fsum(args[1:]),
        }[node.op]()

    return value("final_result")


_ARITY = {
    "identity": (1, 1), "add": (2, 4), "sum": (1, 4), "sub": (2, 2), "mul": (2, 3), "div": (2, 2),
    "abs": (1, 2), "mean": (1, 4), "min": (1, 4), "max": (1, 4), "ratio_split": (3, 5),
}  # fmt: skip


@st.composite
def well_formed_graphs(draw):
    """Graphs of continuous operations on positive numbers, so that doubles and rationals must agree.

    Only a constant is subtracted or divided by, which keeps divisors away from zero. Distractors, literals
    and labels are drawn too.
    """
    rng = random.Random(draw(st.integers(0, 2**32)))
    numbers = st.one_of(st.integers(1, 10**6), st.floats(0.01, 1e6, allow_nan=False))
    nodes = [
        const(f"n{index}", draw(numbers), distractor=draw(st.booleans()), label=draw(st.text(max_size=8)))
        for index in range(draw(st.integers(1, 5)))
    ]
    for index in range(draw(st.integers(0, 8))):
        op = draw(st.sampled_from(sorted(_ARITY)))
        low, high = _ARITY[op]
        args = [rng.choice(nodes).id for _ in range(draw(st.integers(low, high)))]
        if op == "sub":
            # A constant from a larger number: no cancellation, whose error has no bound.
            args = ["1e7", nodes[0].id]
        if op == "div":
            args = [args[0], nodes[0].id]
        if op == "mul":
            args = [args[0], draw(st.sampled_from([2, 0.5, "1.25", "3e0"]))]
        if op == "abs":
            args = args[:1]
        nodes.append(call(f"m{index}", op, *args))
    return graph_of(*nodes)
