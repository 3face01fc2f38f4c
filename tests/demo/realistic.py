"""Writes `tests/data/realistic_graphs.jsonl`: questions and graphs of the demo's generator, every shape in turn.

    PYTHONPATH=src python tests/demo/realistic.py

They are what a model writes that has learnt its task: labels are words, distractors are marked. In the wordings that
the demo is trained on, with numbers and names of their own; `test_corpus.py` holds the file against the generator.
"""

from __future__ import annotations

import json
from pathlib import Path

from dagger_edge.export.demo.corpus import evaluation_set

GRAPHS = Path(__file__).resolve().parents[1] / "data" / "realistic_graphs.jsonl"
COUNT = 60


def document() -> str:
    """The file's text."""
    problems = evaluation_set(COUNT, held_out=False)
    rows = [{"question": problem.question, "graph": json.loads(problem.graph.to_json())} for problem in problems]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


if __name__ == "__main__":
    GRAPHS.write_text(document(), encoding="utf-8")
