"""Writes docs/quirks.md from the quirks that the tests hold.

    PYTHONPATH=src python tests/graph/quirk_table.py docs/quirks.md

A test holds the file against them.
"""

import math
import sys
from pathlib import Path

from quirk import Ours, Quirk
from quirks_of_numbers import ARGUMENTS, NUMBERS, OPERATIONS
from quirks_of_text import STRUCTURE, TEXT

from dagger_edge.runtime.graph import Graph, GraphParseError, format_number

SECTIONS = {
    "Numbers as text": NUMBERS,
    "Arguments": ARGUMENTS,
    "Operations": OPERATIONS,
    "Nodes": STRUCTURE,
    "The text around the nodes": TEXT,
}
QUIRKS = [quirk for rows in SECTIONS.values() for quirk in rows]

_HEAD = """\
# Quirks of the reference

The authors' public repository, [dipta007/DAGGER](https://github.com/dipta007/DAGGER) at 3173f86, runs graphs in three
places that do not agree: `src/eval/helpers.py` (the evaluation, and the reference of ours for numbers),
`src/train/grpo/grpo_rewards.py` (the reward of the training), `gpt_evaluation/graph_eval.py` (the evaluation of GPT; it
and its copies beside it). Every case in which one of them does something that a reader of the prompt would not expect
stands here, with what each returned when it was run on Python 3.11, and with what ours does.

Where a graph is well formed and the evaluation gives a finite real number, ours gives the same (within 1e-9), but for
the rows whose id has a star: a text that is cut up before it is parsed, an overflow or a complex number on the way, and
integers by tolerance in `gcd` and `lcm`.

- *none*: an error message in place of a number, or `None`. *raises*: an exception leaves the function. *hangs*: nothing
  after ten seconds. *big int*: an int that no double holds.
- Ours is an answer with the codes of its fixes and warnings ([graph.md](graph.md)), `rejected` (no graph) or `error` (a
  graph without an answer), with the reason.
- The test of a row has its id: `pytest tests/graph/test_quirks.py -k Q101`. This page is made from the tests by
  `PYTHONPATH=src python tests/graph/quirk_table.py docs/quirks.md`, and a test holds it against them. The columns of
  the reference are held by `PYTHONPATH=src python benchmarks/against_authors.py --clone DIR` on your own clone.

The same command runs random well-formed graphs of up to 60 nodes. Of 24,000 (seed 0, Python 3.11) the evaluation gave
19,684 a finite number. Ours gave the same to 19,643, an error to 29 (Q305 to Q314) and another number to 12 (Q321,
Q322).
"""


def document():
    """The table as Markdown."""
    parts = [_HEAD]
    for title, rows in SECTIONS.items():
        parts.append(f"\n## {title}\n\n| id | what | example | evaluation | reward | GPT evaluation | ours |")
        parts.append("\n|---|---|---|---|---|---|---|\n")
        parts.extend(_line(quirk) for quirk in rows)
    return "".join(parts)


def differs(quirk: Quirk):
    """Whether a well-formed graph has a finite real number in the evaluation and another outcome in ours."""
    try:
        theirs = float(quirk.theirs[0])
        Graph.parse(quirk.text)
    except (ValueError, GraphParseError):
        return False
    ours = quirk.ours.answer
    return math.isfinite(theirs) and (ours is None or not math.isclose(ours, theirs, rel_tol=1e-9))


def _line(quirk: Quirk):
    name = f"{quirk.id}\\*" if differs(quirk) else quirk.id
    cells = [name, quirk.what, quirk.shown, *quirk.theirs, _ours(quirk.ours)]
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n"


def _ours(ours: Ours):
    if ours.answer is None:
        return f"{'rejected' if ours.rejected else 'error'}: {ours.reason}".removesuffix(": ")
    text = ", ".join([format_number(ours.answer), *(f"`{code}`" for code in ours.codes)])
    return f"{text}; exact mode: {ours.exact_text}" if ours.exact_text else text


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(document(), encoding="utf-8")
