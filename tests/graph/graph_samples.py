"""Graphs that the tests of this folder share, and an evaluator that knows nothing of the package's."""

import json
import math
import random
from fractions import Fraction

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


def plain_evaluation(graph, number=float):
    """The answer by a plain loop over dictionaries: the oracle of the executor, in floats or in Fractions.

    Errors are whatever Python raises.
    """
    values = {}
    for node in graph.nodes:
        values[node.id] = plain_value(node, values, number)
    return values["final_result"]


def plain_value(node, values, number=float):
    """The value of ``node``, given those of the nodes before it."""
    if node.op == "const":
        return number(str(node.val))
    return _plain_operation(node.op, [values[arg] if arg in values else number(str(arg)) for arg in node.args])


def _plain_operation(op, args):
    first, last = args[0], args[-1]
    if op in {"div", "mod"} and abs(last) < 1e-10:
        raise ZeroDivisionError
    if op == "ratio_split" and min(args[1:]) < 0:
        raise ValueError
    if op in {"gcd", "lcm"}:
        whole = [round(arg) if abs(arg - round(arg)) <= 1e-9 else int(arg) for arg in args]
        return getattr(math, op)(*whole)
    return {
        "identity": lambda: first,
        "add": lambda: sum(args),
        "sum": lambda: sum(args),
        "sub": lambda: first - last,
        "mul": lambda: math.prod(args),
        "div": lambda: first / last,
        "abs": lambda: abs(first) if len(args) == 1 else abs(first - last),
        "mean": lambda: sum(args) / len(args),
        "min": lambda: sorted(args)[0],
        "max": lambda: sorted(args)[-1],
        "round": lambda: round(first),
        "floor": lambda: math.floor(first),
        "ceil": lambda: math.ceil(first),
        "sqrt": lambda: math.sqrt(first) if isinstance(first, float) else Fraction(math.sqrt(first)),
        # Large powers in floats: those of integers have millions of digits.
        "pow": lambda: first**last if abs(last) <= 8 else float(first) ** float(last),
        "mod": lambda: first % last,
        "ratio_split": lambda: first * args[1] / sum(args[1:]),
    }[op]()


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


_ALL_ARITIES = _ARITY | {
    "round": (1, 1), "floor": (1, 1), "ceil": (1, 1), "sqrt": (1, 1), "pow": (2, 2), "mod": (2, 2), "gcd": (2, 3),
    "lcm": (2, 3),
}  # fmt: skip


def _random_call(rng, nodes, name):
    op = rng.choice(sorted(_ALL_ARITIES))
    low, high = _ALL_ARITIES[op]
    # Mostly recent nodes, for depth.
    args = [rng.choice(nodes[-8:] if rng.random() < 0.7 else nodes).id for _ in range(rng.randint(low, high))]
    if rng.random() < 0.1:
        args[rng.randrange(len(args))] = rng.choice([2, "3", 0.5, "1.25"])
    return call(name, op, *args, distractor=rng.random() < 0.2, label="লেবেল")


def messy_graph(rng):
    """A well-formed graph of any operations on any numbers: many of them fail, overflow or lose exactness."""
    values = [0, 1, -1, 7, 12, 100, 2.5, -0.75, 1e-11, 45.6, 1e6, 123456789, 2**53, 1e16, 1e200, 3e-200]
    nodes = [const(f"n{index}", rng.choice(values) * rng.choice([1, 1, 2, 3])) for index in range(rng.randint(1, 12))]
    for index in range(rng.randint(0, 47)):
        nodes.append(_random_call(rng, nodes, f"m{index}"))
    return graph_of(*nodes)


def exact_graph(rng):
    """A graph whose every value is a multiple of 1/8 below 2^40: doubles and rationals must agree to the bit."""
    nodes = [const(f"n{index}", rng.randint(-400, 4000) / rng.choice([1, 1, 1, 2, 8])) for index in range(6)]
    values = {node.id: plain_value(node, {}, Fraction) for node in nodes}
    for index in range(rng.randint(0, 53)):
        trial = _random_call(rng, nodes, f"m{index}")
        given = [Fraction(str(values.get(arg, arg))) for arg in trial.args]
        if trial.op == "pow" and not -8 <= given[1] <= 8:
            continue  # a power of thousands takes minutes to compute
        if trial.op in {"mul", "ratio_split"} and math.prod(max(1, abs(arg)) for arg in given) > 2**50:
            continue  # a product on the way that no double holds
        try:
            value = plain_value(trial, values, Fraction)
        except (ArithmeticError, ValueError, TypeError):
            continue
        if isinstance(value, int | Fraction) and (8 * Fraction(value)).denominator == 1 and abs(value) < 2**40:
            nodes.append(trial)
            values[trial.id] = value
    return graph_of(*nodes)
