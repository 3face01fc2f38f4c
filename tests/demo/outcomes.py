"""Solves the questions of `tests/data/demo_questions.jsonl` with the demo and writes what came of each.

    python tests/demo/outcomes.py docs/questions.md

None is in the training stream (`test_corpus.py`). `test_questions.py` holds the document against the model.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import dagger_edge as de

QUESTIONS = Path(__file__).resolve().parents[1] / "data" / "demo_questions.jsonl"
_HEAD = """\
# Questions and what the demo made of them

The first is the DAGGER model card's own example; the others were written for this list: the first ten before the model
was trained, the rest after, in one go, and every one of them is here. None is in the training data. The list is made by
`python tests/demo/outcomes.py docs/questions.md`, and a test holds it against the model in the package.

**{right} of {total} answers are right.**
"""


def read_questions() -> list[dict]:
    """The questions with their answers."""
    return [json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]


def document() -> str:
    """The list as Markdown."""
    parts, right = [], 0
    with de.demo() as solver:
        for number, row in enumerate(read_questions(), start=1):
            answer, graph = _outcome(solver, row["question"])
            good = answer == row["answer"]
            right += good
            verdict = "right" if good else f"**wrong**: {'no usable graph' if answer is None else answer}"
            parts.append(f"## {number}. {row['answer']}: {verdict}\n\n{row['question']}\n\n{graph}\n")
    return "\n".join([_HEAD.format(right=right, total=len(parts)), *parts])


def _outcome(solver: de.Solver, question: str) -> tuple[int | float | None, str]:
    try:
        solution = solver.solve(question)
    except de.NoAnswerError as error:
        return None, f"{error}\n\n```\n{error.text}\n```"
    return solution.answer, f"```json\n{solution.graph.to_json()}\n```"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(document(), encoding="utf-8")
