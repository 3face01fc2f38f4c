"""The demo in the package on questions that it never saw, and on gold questions."""

from pathlib import Path

import pytest
from outcomes import document, read_questions

import dagger_edge as de

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def solver():
    with de.demo() as opened:
        yield opened


def test_the_list_of_outcomes_is_what_the_model_does():
    """Verdicts alone: what a wrong answer looks like may differ with the machine's last bits."""

    def verdicts(text):
        return [line.partition(": **wrong**")[0] for line in text.splitlines() if line.startswith(("## ", "**"))]

    assert verdicts((ROOT / "docs" / "questions.md").read_text(encoding="utf-8")) == verdicts(document())


def test_the_model_cards_own_example_is_answered(solver):
    row = read_questions()[0]
    assert "টেনিস" in row["question"]
    assert solver.solve(row["question"]).answer == row["answer"] == 11


def test_a_solution_names_its_distractors_and_its_tokens(solver):
    solution = solver.solve(read_questions()[8]["question"])
    assert solution.answer == 55
    assert [node.val for node in solution.distractors] == [180]
    assert solution.timings.new_tokens > 20
    assert solution.timings.prompt_tokens > 20


def test_the_demo_bundle_stays_small():
    with de.demo() as opened:
        assert opened.bundle.size_bytes <= 12_000_000


def test_a_closed_solver_answers_nothing():
    opened = de.demo()
    opened.close()
    with pytest.raises(de.UsageError, match="closed"):
        opened.solve("৫ আর ৩ যোগ করলে কত?")
