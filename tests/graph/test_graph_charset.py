"""The characters of generated graphs."""

import json
import unicodedata
from pathlib import Path

from dagger_edge.runtime.graph.charset import BENGALI, CHARSET

DATA = Path(__file__).parents[1] / "data"


def test_the_ranges_are_what_unicode_assigns_to_bengali():
    """A letter left out could never be written by a model that is held to the characters."""
    assigned = {chr(code) for code in range(0x0980, 0x0A00) if unicodedata.category(chr(code)) != "Cn"}
    assert assigned | set("।॥") == BENGALI


def test_questions_and_graphs_of_the_test_sets_are_made_of_them():
    """A label takes its words from the question: a sign that questions have and labels may not would be lost."""
    for name in ("msvamp_bn_gold", "mgsm_bn_gold", "demo_questions"):
        for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            assert set(row["question"]) <= CHARSET
            assert set(json.dumps(row.get("graph"), ensure_ascii=False)) <= CHARSET
