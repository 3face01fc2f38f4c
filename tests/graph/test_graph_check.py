import random

import pytest
from graph_samples import EXAMPLE, call, const, graph_of, messy_graph, one_op
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dagger_edge.runtime.graph import (
    OPS,
    Graph,
    GraphParseError,
    GraphStructureError,
    Node,
    answer_path,
    check_flags,
    check_graph,
    execute,
)
from dagger_edge.runtime.graph.structure import check_nodes

N1 = const("n1", 5)


def fails(*nodes):
    with pytest.raises(GraphStructureError) as caught:
        check_graph(Graph(nodes))
    assert isinstance(caught.value, GraphParseError)
    return caught.value


def test_ids_are_unique():
    """The second of two nodes of one id, taken for the first."""
    assert fails(N1, const("n1", 6), call("final_result", "identity", "n1")).node == "n1"


@pytest.mark.parametrize(
    ("nodes", "node", "reason"),
    [
        ((N1,), None, "no node has the id"),
        ((N1, call("Final_Result", "identity", "n1")), None, "no node has the id"),
        ((const("final_result", 1), N1), "final_result", "must be the last"),
        ((), None, "no nodes"),
    ],
)
def test_one_final_result_at_the_end(nodes, node, reason):
    """An answer guessed where the graph does not name it."""
    error = fails(*nodes)
    assert error.node == node
    assert reason in error.reason


@pytest.mark.parametrize(
    ("arg", "reason"),
    [
        ("n9", "no node id"),
        ("", "no node id"),
        ("it", "the node itself"),
        ("final_result", "later node"),
        ("১২", "no node id"),
        ("1,200", "no node id"),
        ("+5", "no node id"),
        (" 5", "no node id"),
        ("1_000", "no node id"),
        ("nan", "no node id"),
        ("0x10", "no node id"),
        ("1e999", "too large"),
        ("9" * 41, "40 digits"),
        (float("inf"), "not a finite"),
        (10**40, "40 digits"),
        (True, "not a finite"),
    ],
)
def test_arguments_are_earlier_nodes_or_numbers(arg, reason):
    """A number that had to be guessed (the reference reads "1_000"), a cycle, a forward reference."""
    error = fails(N1, call("it", "add", "n1", arg), call("final_result", "identity", "it"))
    assert (error.node, error.field) == ("it", "args")
    assert reason in error.reason
    assert '"it"' in str(error)


def test_literals_are_numbers_unless_a_node_has_that_id():
    """A node called "5" read as five."""
    result = execute(graph_of(const("5", 100), call("it", "add", "5", "7", 1.5, "-2e1")))
    assert result.answer == 88.5
    later = fails(call("a", "identity", "5"), const("5", 1), call("final_result", "identity", "a"))
    assert "later node" in later.reason


@pytest.mark.parametrize("op", [op for op in OPS.values() if op.name != "const"], ids=lambda op: op.name)
def test_arity(op):
    """Too few or too many arguments, silently ignored by the reference."""
    wrong = {op.min_args - 1, 65} | ({op.max_args + 1} if op.max_args else set())
    for count in wrong:
        error = fails(N1, call("it", op.name, *["n1"] * count), call("final_result", "identity", "it"))
        assert (error.node, error.field) == ("it", "args")
    for count in (op.min_args, op.max_args or 64):
        check_graph(graph_of(N1, call("it", op.name, *["n1"] * count)))


@pytest.mark.parametrize(
    ("node", "field"),
    [
        (Node("it", "const"), "val"),
        (Node("it", "const", val=1, args=()), "args"),
        (Node("it", "const", val=float("nan")), "val"),
        (Node("it", "const", val=True), "val"),
        (Node("it", "const", val=10**400), "val"),
        (Node("it", "add", val=1, args=("n1", "n1")), "val"),
        (Node("it", "add"), "args"),
        (Node("it", "modulus", args=("n1",)), "op"),
        (Node("it", "", args=("n1",)), "op"),
    ],
)
def test_val_and_args_go_with_the_op(node, field):
    """A const with arguments, or an operation with a value of its own."""
    error = fails(N1, node, call("final_result", "identity", "it"))
    assert (error.node, error.field) == ("it", field)


@pytest.mark.parametrize(
    ("written", "meant"),
    [(alias, op.name) for op in OPS.values() for alias in op.aliases] + [(" ADD", "add")],
)
def test_an_alias_is_no_op_but_says_what_is_meant(written, meant):
    """An alias accepted as strict, so that a repaired graph does not say so."""
    error = fails(N1, call("it", written, "n1"), call("final_result", "identity", "it"))
    assert f'"{meant}" is meant' in error.reason


def test_size_limits():
    """A graph as large as the model likes."""
    consts = [const(f"n{index}", 1) for index in range(256)]
    assert "at most 256" in fails(*consts, call("final_result", "identity", "n1")).reason
    check_graph(graph_of(*consts[:255]))


def test_path_of_the_answer():
    """A node counted as used because a distractor uses it."""
    graph = graph_of(const("a", 1), const("b", 2), call("unused", "add", "a", "b"), call("it", "add", "a", "3"))
    assert answer_path(graph) == ("a", "it", "final_result")


def test_flags_that_contradict_the_graph():
    """A distractor that the answer uses, and an unused number that is not marked, both unnoticed."""
    assert check_flags(Graph.parse(EXAMPLE)) == ()
    graph = graph_of(const("used", 1, distractor=True), const("unused", 2), call("it", "identity", "used"))
    found = check_flags(graph)
    assert [(warning.code, warning.node) for warning in found] == [
        ("distractor_used", "used"),
        ("unused_unmarked", "unused"),
    ]
    assert all(f'"{warning.node}"' in warning.message for warning in found)
    assert execute(graph).warnings == found


def test_execute_checks_graphs_that_callers_build():
    """A hand-made graph that skips the check of parsing."""
    with pytest.raises(GraphStructureError):
        execute(Graph((call("final_result", "identity", "final_result"),)))
    assert execute(one_op("add", 1, 2)).answer == 3


@pytest.mark.parametrize("count", range(4))
def test_a_constant_takes_no_arguments(count):
    """A ``const`` of another node that passes for an ``identity``."""
    nodes = (const("n1", 3), call("it", "const", *["n1"] * count), call("final_result", "identity", "it"))
    with pytest.raises(GraphStructureError, match="const takes val, not args"):
        check_graph(Graph(nodes))
    with pytest.raises(GraphParseError, match="const takes val, not args"):
        Graph.parse(Graph(nodes).to_json())


@given(st.integers(0, 2**32), st.data())
def test_the_quick_check_accepts_nothing_that_the_close_one_refuses(seed, data):
    """A malformed graph that a caller built, let through by the fast road."""
    nodes = list(messy_graph(random.Random(seed)).nodes)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(nodes) - 1))
        node = nodes[place]
        change = data.draw(
            st.sampled_from(
                [
                    {"id": "n0"},
                    {"id": "other"},
                    {"op": "add"},
                    {"op": "const"},
                    {"op": "??"},
                    {"val": None},
                    {"val": True},
                    {"val": float("nan")},
                    {"val": 7},
                    {"args": None},
                    {"args": ()},
                    {"args": ("n0", "n0", "n0")},
                    {"args": ("final_result",)},
                ]
            )
        )
        nodes[place] = replace(node, **change)
    graph = Graph(tuple(nodes))
    refusal = None
    try:
        check_nodes(graph.nodes)
    except GraphStructureError as error:
        refusal = str(error)
    if refusal is None:
        return
    with pytest.raises(GraphStructureError) as caught:
        check_graph(graph)
    assert str(caught.value) == refusal
