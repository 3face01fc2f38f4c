"""Every way to run a graph against the others, and against an evaluation that knows nothing of them."""

import json
import math
import random
from fractions import Fraction

import numpy as np
import pytest
from graph_samples import call, exact_graph, graph_of, messy_graph, plain_evaluation
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dagger_edge.runtime.errors import GraphError, UsageError
from dagger_edge.runtime.graph import OPS, Graph, GraphBatch, evaluate, execute, execute_many, read, sweep

SEEDS = st.integers(0, 2**48)


def outcome(run):
    """The answer, or the error in words."""
    try:
        return float(run())
    except GraphError as error:
        return str(error)


def same(one, other):
    return one == other or (isinstance(one, float) and isinstance(other, float) and math.isnan(one + other))


@settings(max_examples=10_000)
@given(SEEDS)
def test_exact_values_are_the_same_everywhere(seed):
    """A fast path that is off where nothing excuses it: 10,000 graphs of up to 60 nodes, all operations."""
    graph = exact_graph(random.Random(seed))
    expected = plain_evaluation(graph, Fraction)
    assert Fraction(execute(graph, exact=True).answer) == expected
    for answer in (execute(graph).answer, evaluate(graph), execute_many([graph]).values[0], plain_evaluation(graph)):
        assert answer == expected


@settings(max_examples=5_000)
@example(986632487)
@given(SEEDS)
def test_messy_graphs_have_one_outcome(seed):
    """A path that errs where another answers, or answers something else: 5,000 graphs, most of them with a failure."""
    graph = messy_graph(random.Random(seed))
    expected = outcome(lambda: execute(graph).answer)
    assert same(outcome(lambda: evaluate(graph)), expected)
    answers = execute_many([graph])
    assert same(str(answers.errors[0]) if answers.errors else answers.values[0], expected)
    if isinstance(expected, float):
        result = execute(graph)
        is_inexact = any(w.code == "inexact" and w.node in result.path for w in result.warnings)
        assert answers.inexact[0] == is_inexact
        if not is_inexact:
            on_path = Graph(tuple(node for node in graph.nodes if node.id in result.path))
            # Doubles near 2^53 are a whole one apart, and a remainder of them may be small (seed 986632487).
            rounding = max(abs(float(result.values[name])) for name in result.path) * 2**-50
            assert math.isclose(expected, plain_evaluation(on_path), rel_tol=1e-9, abs_tol=max(rounding, 1e-300))


@given(st.lists(SEEDS, max_size=40))
def test_graphs_in_a_batch_do_not_touch_each_other(seeds):
    """A slot that two graphs share, or an error that costs its neighbours their answers."""
    graphs = [messy_graph(random.Random(seed)) for seed in seeds]
    together = execute_many(graphs)
    for index, graph in enumerate(graphs):
        alone = execute_many([graph])
        assert same(together.values[index], alone.values[0])
        assert str(together.errors.get(index)) == str(alone.errors.get(0))
        assert together.inexact[index] == alone.inexact[0]


def test_a_batch_runs_again_with_the_same_answers():
    """State of a run left in the layout."""
    batch = GraphBatch([messy_graph(random.Random(seed)) for seed in range(200)])
    first, second = batch.run(), batch.run()
    np.testing.assert_array_equal(first.values, second.values)
    assert first.errors.keys() == second.errors.keys()


def test_a_malformed_graph_costs_its_own_answer_only():
    """A batch that dies of one bad graph."""
    good = exact_graph(random.Random(1))
    answers = execute_many([good, Graph(()), good])
    assert set(answers.errors) == {1}
    assert math.isnan(answers.values[1])
    assert answers.values[0] == answers.values[2] == execute(good).answer


def test_a_graph_of_the_largest_size_is_one_among_others():
    """More steps, or slots, than a batch has bits for."""
    wide = [call(f"m{index}", "add", *[1.5 + index] * 64) for index in range(255)]
    graphs = [exact_graph(random.Random(2)), graph_of(*wide), exact_graph(random.Random(3))]
    assert execute_many(graphs).values.tolist() == [execute(graph).answer for graph in graphs]
    assert evaluate(graphs[1]) == execute(graphs[1]).answer == 64 * 255.5


def test_another_way_of_rounding_halves_is_refused():
    """A misspelt option that silently means the default."""
    graph = exact_graph(random.Random(1))
    for run in (
        execute,
        lambda graph, ties: execute_many([graph], ties=ties),
        lambda graph, ties: sweep(graph, {}, ties=ties),
    ):
        with pytest.raises(UsageError, match="up"):
            run(graph, ties="up")


def test_no_graphs_no_answers():
    """An empty batch that raises."""
    assert len(execute_many([]).values) == 0


@settings(max_examples=300)
@given(SEEDS, st.booleans())
def test_a_sweep_is_a_loop_of_runs(seed, away):
    """Rows mixed up, or an odd row computed by the arrays."""
    rng = random.Random(seed)
    graph = messy_graph(rng)
    ties = "away" if away else "even"
    names = [node.id for node in graph.nodes if node.op == "const"]
    inputs = {name: [rng.choice([0, 1, 2.5, -3, 7, 1e17, 0.125]) for _ in range(5)] for name in names[:3]}
    answers = sweep(graph, inputs, ties=ties)
    for row in range(5):
        changed = {name: column[row] for name, column in inputs.items()}
        nodes = tuple(
            type(node)(node.id, node.op, float(changed[node.id]), None, node.distractor, node.label)
            if node.id in changed
            else node
            for node in graph.nodes
        )
        alone = outcome(lambda nodes=nodes: execute(Graph(nodes), ties=ties).answer)
        assert same(str(answers.errors[row]) if row in answers.errors else answers.values[row], alone)


@settings(max_examples=1_000)
@given(SEEDS)
def test_aliases_and_case_change_nothing(seed):
    """An alias that means another operation."""
    rng = random.Random(seed)
    graph = messy_graph(rng)
    document = json.loads(graph.to_json())
    for node in document["nodes"]:
        name = rng.choice([node["op"], *OPS[node["op"]].aliases])
        node["op"] = rng.choice([name, name.upper(), f" {name.title()} "])
    assert read(json.dumps(document)).graph == graph


@pytest.mark.parametrize("op", sorted(set(OPS) - {"const"}))
def test_the_generators_reach_every_operation(op):
    """A differential test that never runs an operation."""
    for make in (messy_graph, exact_graph):
        graphs = (make(random.Random(seed)) for seed in range(400))
        assert any(node.op == op for graph in graphs for node in graph.nodes), make
