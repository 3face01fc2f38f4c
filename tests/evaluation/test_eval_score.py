"""What a text is worth: outcomes, the rule of equal answers, distractors."""

import json
from pathlib import Path

import pytest

from dagger_edge.runtime.evaluation.questions import Question, read_questions
from dagger_edge.runtime.evaluation.rows import Flags
from dagger_edge.runtime.evaluation.score import Output, same_answer, score
from dagger_edge.runtime.graph import Graph

DATA = Path(__file__).resolve().parents[1] / "data"


def graph(*numbers, op="add", marked=()):
    """A graph that adds ``numbers``, and has those of ``marked`` as distractors."""
    nodes = [
        {"id": f"n{index}", "op": "const", "val": value, "distractor": value in marked, "label": "ক"}
        for index, value in enumerate(numbers)
    ]
    args = [node["id"] for node in nodes if not node["distractor"]]
    nodes.append({"id": "final_result", "op": op, "args": args, "distractor": False, "label": ""})
    return json.dumps({"nodes": nodes}, ensure_ascii=False)


def scored(text, answer=5, gold=None):
    return score(Question(set="s", row=1, question="কত?", answer=answer, gold=gold), Output(text=text))


@pytest.mark.parametrize(
    ("text", "outcome", "level"),
    [
        (graph(2, 3), "correct", "strict"),
        (graph(2, 4), "wrong", "strict"),
        (graph(2, 0, op="div"), "failed", "strict"),
        ("Sure! " + graph(2, 3), "correct", "repaired"),
        (graph(2, 3)[:-20], "rejected", None),
        ("", "rejected", None),
        ("x" * 70_000, "rejected", None),
    ],
)
def test_each_text_has_one_outcome_and_one_level(text, outcome, level):
    """A failed run counted as a rejected text, or a repair as strict."""
    row = scored(text)
    assert (row.outcome, row.level) == (outcome, level)
    assert (row.error is None) == (outcome in {"correct", "wrong"})
    assert bool(row.fixes) == (level == "repaired")


def test_answers_are_equal_within_a_millionth_as_the_authors_compare():
    """An absolute tolerance, by which 0.005 would be right for 0, or 1000000.5 wrong for 1000001."""
    assert same_answer(1_000_001, 1_000_000.5)
    assert not same_answer(1.00001, 1)
    assert not same_answer(1e-9, 0)
    assert same_answer(0, 0)


def test_distractors_are_counted_by_their_numbers():
    """A number that is there twice found once for both, or a missing graph left out of recall."""
    gold = Graph.parse(graph(2, 3, 7, 7, 9, marked=(7, 9)))
    assert scored(graph(2, 3, 7, 8, marked=(7, 8)), gold=gold).flags == Flags(2, 3, 1)
    assert scored("no graph", gold=gold).flags == Flags(0, 3, 0)
    assert scored(graph(2, 3)).flags is None


@pytest.mark.parametrize(("name", "rows"), [("mgsm_bn_gold.jsonl", 125), ("msvamp_bn_gold.jsonl", 600)])
def test_every_gold_graph_is_right(name, rows):
    """A reader, an executor or a comparison that loses any of the 725 gold graphs."""
    made = read_questions(DATA / name)
    found = [
        score(item, Output(text=item.gold.to_json(fenced=True))) for item in made.questions if item.gold is not None
    ]
    assert len(found) == rows
    assert {row.outcome for row in found} == {"correct"}
    assert all(row.flags.marked == row.flags.wanted == row.flags.found for row in found)
