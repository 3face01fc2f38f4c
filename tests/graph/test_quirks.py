"""Every known quirk of the authors' executors: what ours does there. The table of them is docs/quirks.md."""

import re
import time
from pathlib import Path

import pytest
from quirk import WORDS, outcome
from quirk_table import QUIRKS, document

TABLE = Path(__file__).parents[2] / "docs" / "quirks.md"


@pytest.mark.parametrize("quirk", QUIRKS, ids=lambda quirk: quirk.id)
def test_quirk(quirk):
    """A quirk of the reference that comes back, or an outcome that the table tells wrongly."""
    start = time.process_time()
    found = outcome(quirk.text)
    assert time.process_time() - start < 2
    assert (found.answer, found.codes, found.rejected) == (quirk.ours.answer, quirk.ours.codes, quirk.ours.rejected)
    assert quirk.ours.reason in found.reason
    assert quirk.ours.exact_text in {"", found.exact_text}


def test_the_table_is_made_from_these_tests():
    """A row without a test, or a test without a row."""
    text = TABLE.read_text(encoding="utf-8")
    assert re.findall(r"^\| (Q\d+)\b", text, re.MULTILINE) == [quirk.id for quirk in QUIRKS]
    assert text == document(), f"run PYTHONPATH=src python tests/graph/quirk_table.py {TABLE}"


def test_every_row_is_one_quirk_with_three_outcomes():
    """Two quirks of one id, of which a table shows both and -k runs both, or an outcome that is no outcome."""
    assert len({quirk.id for quirk in QUIRKS}) == len(QUIRKS)
    for quirk in QUIRKS:
        assert len(quirk.theirs) == 3, quirk.id
        assert quirk.ours.answer is not None or quirk.ours.reason, quirk.id
        for theirs in quirk.theirs:
            assert theirs in WORDS or float(theirs) == float(theirs), quirk.id
