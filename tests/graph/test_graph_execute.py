import math

import msgspec
import pytest
from graph_samples import EXAMPLE, call, const, graph_of, plain_evaluation, well_formed_graphs
from hypothesis import given

from dagger_edge.runtime.graph import ExecutionError, Graph, Result, execute


def test_example_of_the_prompt():
    """The one answer that is known: 122195 x 45.6 = 5572092."""
    for exact in (False, True):
        result = execute(Graph.parse(EXAMPLE), exact=exact)
        assert result.answer == 5572092
        assert type(result.answer) is int
        assert (result.answer_text, result.answer_text_bn) == ("5572092", "৫৫৭২০৯২")
        assert result.order == ("n1", "n2", "n3", "n4", "n5", "total_money", "final_result")
        assert result.path == ("n1", "n5", "total_money", "final_result")
        assert result.distractors == ("n2", "n3", "n4")
        assert result.values["n5"] == 45.6
        assert result.warnings == ()


def test_trace_shows_values():
    """A trace of ids, in which nobody sees the sum that was done."""
    steps = {step.id: step for step in execute(Graph.parse(EXAMPLE)).trace}
    assert steps["total_money"].expression == "122195 × 45.6"
    assert steps["total_money"].text == "5572092"
    assert steps["total_money"].label == "মিনার মোট টাকা"


@pytest.mark.parametrize(
    ("op", "args", "expected"),
    [
        ("sub", (3, -2), "3 - (-2)"),
        ("div", (3, 2), "3 ÷ 2"),
        ("sum", (3,), "sum(3)"),
        ("mean", (3, 4.5), "mean(3, 4.5)"),
        ("mod", (7, 2), "7 mod 2"),
        ("identity", (7,), "7"),
    ],
)
def test_expressions(op, args, expected):
    """An expression that reads as another sum, such as 3 - -2."""
    assert execute(graph_of(call("it", op, *args))).trace[0].expression == expected


def test_result_is_one_json_document():
    """A result that cannot be encoded, or decodes to another one."""
    for graph in (Graph.parse(EXAMPLE), graph_of(const("a", 10**39), call("it", "pow", "a", 7))):
        for exact in (False, True):
            result = execute(graph, exact=exact)
            assert msgspec.json.decode(msgspec.json.encode(result), type=Result) == result
    assert msgspec.json.schema(Result)


def test_failure_off_the_path_costs_no_answer():
    """The reference never runs such a node, so a broken distractor must not lose the answer."""
    broken = call("broken", "div", "a", 0, distractor=True)
    after = call("after", "add", "broken", 1, distractor=True)
    result = execute(graph_of(const("a", 2), broken, after, call("it", "add", "a", 1)))
    assert result.answer == 3
    assert result.values == {"a": 2, "broken": None, "after": None, "it": 3, "final_result": 3}
    assert [(warning.code, warning.node) for warning in result.warnings] == [
        ("unused_failed", "broken"),
        ("unused_failed", "after"),
    ]
    assert all(f'"{warning.node}"' in warning.message for warning in result.warnings)


def test_failure_on_the_path_is_the_nodes_error():
    """An error of the final result in place of the node that failed."""
    with pytest.raises(ExecutionError, match=r'node "broken", div\(2, 0\): division by zero'):
        execute(graph_of(const("a", 2), call("broken", "div", "a", 0), call("it", "add", "broken", 1)))


def test_deep_graphs_need_no_recursion():
    """A chain as long as the limit that overflows the stack."""
    nodes = [const("n0", 1)]
    nodes += [call(f"n{index}", "add", f"n{index - 1}", f"n{index - 1}") for index in range(1, 255)]
    assert execute(graph_of(*nodes)).answer == 2.0**254


def test_integers_of_rounding_stay_integers():
    """The reference keeps ints after floor, gcd and lcm: their remainder past 2^53 is right there."""
    graph = graph_of(
        const("a", 2147483647), const("b", 2147483648), const("c", 2147483629),
        call("big", "lcm", "a", "b", "c"), call("seven", "floor", 7), call("it", "mod", "big", "seven"),
    )  # fmt: skip
    assert execute(graph).answer == math.lcm(2147483647, 2147483648, 2147483629) % 7


def test_powers_past_2_53_are_those_of_the_platform():
    """A double that is one off the reference's: past 2^53 a gcd makes another answer of it."""
    graph = graph_of(const("a", 123456789), call("two", "floor", 2), call("it", "pow", "a", "two"))
    assert execute(graph).answer == 123456789.0**2


@given(well_formed_graphs())
def test_agrees_with_a_plain_evaluation(graph):
    """Wrong wiring: arguments, order, literals, operations."""
    assert math.isclose(execute(graph).answer, plain_evaluation(graph), rel_tol=1e-9)


@given(well_formed_graphs())
def test_agrees_with_exact_mode(graph):
    """A fast value that its oracle does not confirm."""
    fast, exact = execute(graph), execute(graph, exact=True)
    assert math.isclose(fast.answer, exact.answer, rel_tol=1e-9)
    assert (fast.path, fast.order, fast.distractors) == (exact.path, exact.order, exact.distractors)


@given(well_formed_graphs())
def test_result_is_consistent(graph):
    """A path, order or value list that leaves a node out, or a result that cannot be encoded."""
    result = execute(graph)
    assert list(result.values) == [step.id for step in result.trace] == list(result.order)
    assert result.path[-1] == "final_result"
    assert result.values["final_result"] == result.answer
    assert float(result.answer_text) == result.answer
    msgspec.json.encode(result)
