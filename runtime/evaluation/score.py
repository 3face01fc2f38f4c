"""Scoring: what a model's text is worth against the gold answer."""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

from msgspec import Struct

from ..graph import Graph, GraphError, Reading, Result, execute, read
from ..graph.errors import printable
from ..graph.parse import MAX_TEXT_BYTES
from .questions import Question
from .rows import EvalRow, Flags, Outcome

_MAX_ERROR = 400


class Output(Struct, frozen=True, kw_only=True):
    """A text for a question, and what it took; see `rows.EvalRow`. ``error``: why there is no text."""

    text: str
    error: str | None = None
    tokens: int | None = None
    steps: int | None = None
    seconds: float | None = None
    confidence: float | None = None


def same_answer(answer: float, gold: float) -> bool:
    """Whether an answer is the gold one: a relative difference of 1e-6 at most, and nothing but 0 is 0.

    As the authors compare (dipta007/DAGGER at 3173f86, ``src/eval/eval.py``); their earlier ``mgsm_eval.py`` takes an
    absolute 0.01 instead.
    """
    return math.isclose(answer, gold, rel_tol=1e-6)


def score(question: Question, output: Output) -> EvalRow:
    """The row of ``question`` with ``output``: read in the levels of `graph.read`, run, and compared."""
    made = make(output.text)
    return EvalRow(
        set=question.set,
        row=question.row,
        question=question.question,
        gold=question.answer,
        kind=question.kind,
        outcome=_outcome(made, question.answer),
        level=None if made.reading is None else made.reading.level,
        fixes=() if made.reading is None else tuple(dict.fromkeys(fix.code for fix in made.reading.fixes)),
        answer=None if made.result is None else made.result.answer,
        error=made.error if output.error is None else printable(output.error)[:_MAX_ERROR],
        # More is rejected whatever it says, and would only fill the file.
        text=output.text[: MAX_TEXT_BYTES + 1],
        flags=None if question.gold is None else count_flags(made.graph, question.gold),
        tokens=output.tokens,
        steps=output.steps,
        seconds=output.seconds,
        confidence=output.confidence,
    )


class Made(NamedTuple):
    """What a text is: its reading, its result, and why one of them is missing."""

    reading: Reading | None
    result: Result | None
    error: str | None

    @property
    def graph(self) -> Graph | None:
        """The graph, where the text is one."""
        return None if self.reading is None else self.reading.graph


def make(text: str) -> Made:
    """Reads ``text`` and runs it."""
    reading: Reading | None = None
    try:
        reading = read(text)
        return Made(reading, execute(reading.graph), None)
    except GraphError as error:
        return Made(reading, None, printable(str(error))[:_MAX_ERROR])


def _outcome(made: Made, gold: float) -> Outcome:
    if made.result is None:
        return "rejected" if made.reading is None else "failed"
    return "correct" if same_answer(made.result.answer, gold) else "wrong"


def count_flags(graph: Graph | None, gold: Graph) -> Flags:
    """Which distractors ``graph`` found, by the numbers of constants; without a graph none."""
    marked = _distractors(graph) if graph is not None else Counter[float]()
    wanted = _distractors(gold)
    return Flags(marked.total(), wanted.total(), (marked & wanted).total())


def _distractors(graph: Graph) -> Counter[float]:
    return Counter(float(node.val) for node in graph.nodes if node.val is not None and node.distractor)
