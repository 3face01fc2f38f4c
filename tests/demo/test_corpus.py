"""The training stream, the evaluation sets and the scoring."""

import json
import re
from pathlib import Path

import pytest
import realistic
from outcomes import read_questions

from dagger_edge.export.demo.card import wilson
from dagger_edge.export.demo.corpus import Corpus, evaluation_set
from dagger_edge.export.demo.evaluate import answer_is_right, flags_right
from dagger_edge.export.demo.msvamp import HELD_OUT_ROWS, LABELS, TRAINED_ROWS, read_rows
from dagger_edge.export.demo.shapes import SHAPES
from dagger_edge.export.demo.tokenizer import CONTROL_TOKENS, train_tokenizer
from dagger_edge.runtime.graph import Graph, execute

GOLD = Path(__file__).resolve().parents[1] / "data" / "msvamp_bn_gold.jsonl"


@pytest.fixture(scope="module")
def pool():
    return Corpus(GOLD, 0).pool(0, 3000)


def test_a_pool_is_the_same_in_every_process_and_pools_differ():
    corpus = Corpus(GOLD, 0)
    assert corpus.pool(3, 40) == Corpus(GOLD, 0).pool(3, 40)
    assert corpus.pool(3, 40) != corpus.pool(4, 40)
    assert corpus.pool(3, 40) != Corpus(GOLD, 1).pool(3, 40)


def test_the_realistic_graphs_are_the_generators():
    """Steps are counted over them: a file that was edited by hand would count what no one can make again."""
    assert realistic.GRAPHS.read_text(encoding="utf-8") == realistic.document()


def test_held_out_rows_and_our_questions_are_never_trained_on(pool):
    def masked(questions):
        return {re.sub("[0-9০-৯]+", "0", question) for question in questions}

    assert not set(TRAINED_ROWS) & set(HELD_OUT_ROWS)
    trained = masked(problem.question for problem in pool)
    trained |= masked(row.question for row in read_rows(GOLD, TRAINED_ROWS))
    assert not trained & masked(row.question for row in read_rows(GOLD, HELD_OUT_ROWS))
    assert not trained & masked(row["question"] for row in read_questions())


def test_every_trained_row_has_real_labels_and_its_gold_answer():
    labels = [json.loads(line) for line in LABELS.read_text(encoding="utf-8").splitlines()]
    assert [record["row_index"] for record in labels] == list(TRAINED_ROWS)
    for row in read_rows(GOLD, TRAINED_ROWS):
        assert execute(row.graph).answer == pytest.approx(row.answer, rel=1e-9)
        assert not any(node.label.startswith("number") for node in row.graph.nodes)


def test_rows_with_new_numbers_answer_as_their_graph_does(pool):
    varied = [problem for problem in pool if problem.shape == "msvamp"]
    assert len(varied) > 100
    for problem in varied:
        assert execute(problem.graph).answer == pytest.approx(problem.answer, rel=1e-9)


def test_an_evaluation_set_takes_every_shape_in_turn():
    problems = evaluation_set(len(SHAPES), held_out=True)
    assert {problem.shape for problem in problems} == {shape.name for shape in SHAPES}


@pytest.fixture(scope="module")
def tokenizer(pool):
    return train_tokenizer((t for p in pool for t in (p.question, p.graph.to_json(fenced=True))), 1200)


def test_the_tokenizer_loses_nothing(tokenizer, pool):
    for text in ["x = ৯½ € 😀\t\n", *(problem.graph.to_json(fenced=True) for problem in pool[:200])]:
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_every_digit_is_a_token_of_its_own(tokenizer):
    assert tokenizer.encode("১২৫০ 3407").tokens == ["১", "২", "৫", "০", "▁", "3", "4", "0", "7"]


def test_control_tokens_come_first_and_are_single(tokenizer):
    assert [tokenizer.token_to_id(token) for token in CONTROL_TOKENS] == list(range(len(CONTROL_TOKENS)))
    assert tokenizer.encode("<end_of_turn>").ids == [tokenizer.token_to_id("<end_of_turn>")]


GRAPH = Graph.parse(
    '{"nodes": [{"id": "n1", "op": "const", "val": 5, "distractor": false, "label": "a"}, '
    '{"id": "n2", "op": "const", "val": 7, "distractor": true, "label": "b"}, '
    '{"id": "final_result", "op": "identity", "args": ["n1"], "distractor": false, "label": "c"}]}'
)


def test_flags_of_a_missing_graph_are_all_wrong():
    assert flags_right(GRAPH, GRAPH) == (2, 2)
    assert flags_right(None, GRAPH) == (0, 2)


def test_a_wrong_flag_and_an_invented_constant_both_count():
    flipped = Graph.parse(GRAPH.to_json().replace('"val": 7, "distractor": true', '"val": 7, "distractor": false'))
    assert flags_right(flipped, GRAPH) == (1, 2)
    more = GRAPH.to_json().replace('{"id": "n2"', '{"id": "n3", "op": "const", "val": 9}, {"id": "n2"')
    assert flags_right(Graph.parse(more), GRAPH) == (2, 3)


def test_answers_are_compared_as_the_authors_do():
    assert answer_is_right(3.0000001, 3)
    assert not answer_is_right(3.001, 3)


def test_wilson_against_published_values():
    # Newcombe (1998), Statistics in Medicine 17, table I: 81/263 and 0/20.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
