"""What each constant does to the answer."""

import random

import pytest
from graph_samples import EXAMPLE, call, const, exact_graph, graph_of, messy_graph
from hypothesis import given, settings
from hypothesis import strategies as st

from dagger_edge.runtime.graph import ExecutionError, Graph, answer_path, execute, sensitivity, with_values


def test_the_example_of_the_prompt():
    """A distractor that moves the answer, or a slope of another constant."""
    influences = {influence.node: influence for influence in sensitivity(Graph.parse(EXAMPLE))}
    assert list(influences) == ["n1", "n2", "n3", "n4", "n5"]
    assert influences["n1"].slope == pytest.approx(45.6)
    assert influences["n5"].slope == pytest.approx(122195)
    for name in ("n2", "n3", "n4"):
        assert (influences[name].on_path, influences[name].moves, influences[name].slope) == (False, False, 0.0)


@given(st.integers(0, 2**48))
@settings(max_examples=60)
def test_what_is_off_the_path_moves_nothing(seed):
    """A run with a changed distractor whose change gets into the answer."""
    graph = exact_graph(random.Random(seed))
    path = answer_path(graph)
    for influence in sensitivity(graph):
        assert influence.on_path == (influence.node in path)
        assert influence.on_path or (influence.moves, influence.slope) == (False, 0.0)


@given(st.integers(0, 2**48))
@settings(max_examples=60)
def test_what_moves_gives_another_answer(seed):
    """A constant said to move the answer that does not, or one said not to that does."""
    graph = messy_graph(random.Random(seed))
    try:
        answer = execute(graph).answer
    except ExecutionError:
        with pytest.raises(ExecutionError):
            sensitivity(graph)
        return
    for influence in sensitivity(graph):
        outcomes = set()
        for value in (influence.value - 1, influence.value + 1, influence.value * 2, influence.value * 0.5):
            try:
                outcomes.add(float(execute(with_values(graph, {influence.node: value})).answer))
            except ExecutionError:
                outcomes.add(None)
        assert influence.moves or outcomes == {float(answer)}


def test_a_slope_past_every_double_is_none_without_a_warning():
    """A warning of numpy on the user's terminal; an infinite slope, which JSON does not have."""
    steep = call("it", "mul", "a", "b", "c")
    graph = graph_of(const("a", 1e-10), const("b", 1e300), const("c", 1e10), steep)
    assert sensitivity(graph)[0].slope is None
    assert sensitivity(graph)[1].slope == pytest.approx(1)
