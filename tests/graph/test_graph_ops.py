import contextlib
import math
import time
from fractions import Fraction

import pytest
from graph_samples import call, const, graph_of, one_op

from dagger_edge.runtime.errors import GraphError, UsageError
from dagger_edge.runtime.graph import OPS, ExecutionError, execute
from dagger_edge.runtime.graph.ops import canonical_name

GRAPH_MD = {
    "const", "identity", "add", "sum", "sub", "mul", "div", "abs", "mean", "min", "max", "round", "floor",
    "ceil", "sqrt", "pow", "mod", "gcd", "lcm", "ratio_split",
}  # fmt: skip

VALUES = [
    ("identity", (4.5,), 4.5),
    ("add", (1, 2, 3.5), 6.5),
    ("sum", (7,), 7),
    ("sub", (3, 5), -2),
    ("mul", (2, 3, 4), 24),
    ("mul", (122195, 45.6), 5572092),
    ("div", (7, 2), 3.5),
    ("div", (1, 1e-10), 10**10),
    ("abs", (-3,), 3),
    ("abs", (3, 10), 7),
    ("mean", (1, 2, 6), 3),
    ("min", (3, -1, 2), -1),
    ("max", (3, -1, 2), 3),
    ("round", (2.5,), 2),
    ("round", (3.5,), 4),
    ("round", (-2.5,), -2),
    ("round", (2.675,), 3),
    ("floor", (-2.5,), -3),
    ("ceil", (-2.5,), -2),
    ("sqrt", (2.25,), 1.5),
    ("sqrt", (0,), 0),
    ("pow", (2, 10), 1024),
    ("pow", (2, -1), 0.5),
    ("pow", (0, 0), 1),
    ("pow", (-2, 3), -8),
    ("pow", (2.25, 0.5), 1.5),
    ("pow", (1, 10**39), 1),
    ("mod", (7, 3), 1),
    ("mod", (-7, 3), 2),
    ("mod", (7, -3), -2),
    ("mod", (7.5, 2), 1.5),
    ("gcd", (12, -18, 27), 3),
    ("gcd", (0, 5), 5),
    ("gcd", (5.9999999999, 4), 2),
    ("lcm", (4, -6), 12),
    ("lcm", (0, 5), 0),
    ("lcm", (0, 0), 0),
    ("ratio_split", (100, 2, 3), 40),
    ("ratio_split", (-100, 0, 3, 1), 0),
]


def fails(op, values, *, exact=False):
    with pytest.raises(ExecutionError) as caught:
        execute(one_op(op, *values), exact=exact)
    error = caught.value
    assert isinstance(error, GraphError)
    assert (error.node, error.op, len(error.arguments)) == ("it", op, len(values))
    assert str(error).startswith(f'node "it", {op}(')
    return error


def codes(result):
    return [warning.code for warning in result.warnings]


def test_every_operation_of_the_language_is_here():
    """An operation that the prompt advertises and nothing executes."""
    assert set(OPS) == GRAPH_MD
    assert canonical_name(" Average ") == "mean"
    assert canonical_name("modulus") is None


@pytest.mark.parametrize(("op", "values", "expected"), VALUES)
def test_values(op, values, expected):
    """A meaning other than the language's."""
    result = execute(one_op(op, *values))
    assert result.answer == expected
    assert type(result.answer) is type(expected)


@pytest.mark.parametrize(("op", "values", "expected"), VALUES)
def test_exact_values(op, values, expected):
    """An exact mode that means something else than the fast one."""
    assert execute(one_op(op, *values), exact=True).answer == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(
    ("op", "values", "reason"),
    [
        ("div", (1, 0), "division by zero"),
        ("div", (1, 9e-11), "division by zero"),
        ("div", (1, -9e-11), "division by zero"),
        ("mod", (1, 0), "remainder by zero"),
        ("mod", (1, 9e-11), "remainder by zero"),
        ("sqrt", (-1e-12,), "negative"),
        ("pow", (-8, 0.5), "not real"),
        ("pow", (0, -1), "infinite"),
        ("pow", (0, -0.5), "infinite"),
        ("pow", (10, 400), "too large"),
        ("pow", (10.5, 400), "too large"),
        ("pow", (10, 10**39), "too large"),
        ("pow", (-1.5, 10**39), "too large"),
        ("mul", (1e200, 1e200), "too large"),
        ("mul", (1e200, 1e200, 0), "too large"),
        ("add", (1.7e308, 1.7e308), "too large"),
        ("mean", (1.7e308, 1.7e308), "too large"),
        ("sub", (1.7e308, -1.7e308), "too large"),
        ("div", (1e300, 1e-9), "too large"),
        ("lcm", (1.7e308, 1.1e308), "too large"),
        ("ratio_split", (10, 0, 0), "add up to zero"),
        ("ratio_split", (10, -1, 3), "negative"),
        ("ratio_split", (10, 1, -3), "negative"),
    ],
)
def test_errors_name_node_op_and_values(op, values, reason, exact):
    """A complex number, an infinity, a NaN or a foreign exception as the answer."""
    assert reason in fails(op, values, exact=exact).reason


def test_error_of_many_arguments_stays_one_short_line():
    """A message as long as the model's graph."""
    with pytest.raises(ExecutionError, match="64 in all") as caught:
        execute(one_op("mul", *[1e300] * 64))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("exact", [False, True])
def test_error_of_long_integers_stays_one_short_line(exact):
    """A message with all digits of an integer that rounding made, or of a fraction of exact mode."""
    nodes = [const("a", 1e200), call("f", "floor", "a"), call("t", "div", 1, 3), call("p", "pow", "t", 100)]
    with pytest.raises(ExecutionError, match=r"mul\(1e\+200, 1e\+200, 1\.9\d*e-48\): .*too large") as caught:
        execute(graph_of(*nodes, call("it", "mul", "f", "f", "p")), exact=exact)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize(
    ("value", "even", "away"),
    [
        (0.5, 0, 1), (1.5, 2, 2), (2.5, 2, 3), (-0.5, 0, -1), (-2.5, -2, -3), (2.4, 2, 2),
        (0.49999999999999994, 0, 0), (4503599627370497.5, 4503599627370498, 4503599627370498),
    ],
)  # fmt: skip
def test_ties(value, even, away):
    """Halves rounded in another way than the reward of the training; 0.49999999999999994 + 0.5 is 1."""
    graph = one_op("round", value)
    for exact in (False, True):
        assert execute(graph, exact=exact).answer == even
        assert execute(graph, exact=exact, ties="away").answer == away
    with pytest.raises(UsageError, match="ties"):
        execute(graph, ties="up")


@pytest.mark.parametrize("op", ["gcd", "lcm"])
def test_integers_by_tolerance_or_flagged(op):
    """2.9999999999 truncated to 2, as the reference does, or a real fraction dropped without a word."""
    assert codes(execute(one_op(op, 3 - 9e-10, 6))) == []
    result = execute(one_op(op, 3.5, -6.9))
    assert codes(result) == ["truncated"]
    assert '"it"' in result.warnings[0].message
    assert result.answer == getattr(math, op)(3, 6)


def test_ratio_split_warns():
    """An operation that the authors never executed passed off as theirs."""
    assert codes(execute(one_op("ratio_split", 100, 2, 3))) == ["ratio_split"]


@pytest.mark.parametrize(
    ("op", "values"),
    [
        ("add", (2**53, 1)),
        ("add", (2**53, 1, -(2**53))),
        ("mul", (2**30, 2**30)),
        ("mul", (3, 3002399751580331)),
        ("mean", (2**53, 1, -(2**53), 2)),
        ("mod", (2**53 + 1, 10)),
        ("identity", (2**53 + 1,)),
        ("pow", (2, 60)),
        ("lcm", (2**31 - 1, 2**31)),
    ],
)
def test_integers_past_2_53_are_flagged(op, values):
    """A count that is silently one off."""
    result = execute(one_op(op, *values))
    flagged = {warning.node for warning in result.warnings if warning.code == "inexact"}
    assert {"it", "final_result"} <= flagged
    assert codes(execute(one_op(op, *values), exact=True)) == []


@pytest.mark.parametrize(
    ("op", "values"),
    [
        ("add", (2**53 - 1, 1)),
        ("sub", (2**53, 1)),
        ("mul", (2**26, 2**27)),
        ("div", (10, 3)),
        ("add", (0.1, 0.2)),
    ],
)
def test_what_is_exact_is_not_flagged(op, values):
    """A warning on every graph, which nobody would read."""
    assert codes(execute(one_op(op, *values))) == []


def test_literal_past_2_53_is_flagged():
    """The same loss through a literal argument."""
    graph = graph_of(call("it", "mod", "9007199254740993", 10))
    assert codes(execute(graph)) == ["inexact", "inexact"]


def test_exact_mode_reads_decimals_as_written():
    """45.6 taken for the nearest double, so that the oracle shares the error of the fast mode."""
    assert execute(one_op("add", 0.1, 0.2), exact=True).answer_text == "0.3"
    assert execute(one_op("add", 0.1, 0.2)).answer_text == "0.30000000000000004"
    assert execute(one_op("div", 1, 3), exact=True).answer_text == "1/3"
    assert execute(one_op("add", 10**39, 1), exact=True).answer_text == str(10**39 + 1)


def test_exact_roots():
    """An irrational root passed off as exact, or a rational one flagged."""
    result = execute(one_op("sqrt", 0.0625), exact=True)
    assert (result.answer_text, codes(result)) == ("0.25", [])
    assert codes(execute(one_op("sqrt", 2), exact=True)) == ["inexact", "inexact"]
    assert codes(execute(one_op("pow", 2, 0.5), exact=True)) == ["inexact", "inexact"]


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("op", ["pow", "mul", "add", "lcm", "mod", "div"])
def test_no_graph_hangs(op, exact):
    """A tower of powers, or fractions that grow with every node, as a way to stop the process."""
    nodes = [const("a", 1.0000001), const("b", 3), const("c", 0.1234567890123)]
    many = OPS[op].max_args is None
    for index in range(240):
        last = nodes[-1].id
        nodes.append(call(f"m{index}", op, last, "abc"[index % 3], *([last] * 62 if many else [])))
    start = time.process_time()
    with contextlib.suppress(ExecutionError):
        execute(graph_of(*nodes), exact=exact)
    assert time.process_time() - start < 5


def test_numbers_and_fractions_share_one_meaning():
    """A function of the table that works for one kind of number only."""
    for op in OPS.values():
        count = max(op.min_args, 1)
        numbers, rationals = [4.0, 2.0, 6.0][:count], [Fraction(4), Fraction(2), Fraction(6)][:count]
        assert op.number(numbers) == op.exact(rationals)
