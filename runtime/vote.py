"""Voting: several graphs for one question, and the answer that most of them have (arXiv 2203.11171)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct

from .errors import UsageError
from .options import MAX_SAMPLES, DecodeOptions
from .prompt import clean_question
from .rows import Row
from .solution import NoAnswerError, Solution, Timings
from .writing import solution_of

if TYPE_CHECKING:
    from .engine import Engine

# Answers that differ by less are one: as the authors' evaluation compares.
_SAME = 1e-6
# Caches that are in memory at a time.
_MOST_ROWS = 8


class Candidate(Struct, frozen=True):
    """One of the answers.

    Attributes:
        answer: the number.
        votes: how many graphs have it.
    """

    answer: int | float
    votes: int


class Vote(Struct, frozen=True, kw_only=True):
    """What several graphs for one question said.

    Attributes:
        question: as it was asked, without white space around it.
        answer: the one with the most votes; of a tie, the one that was drawn first.
        confidence: its votes as a share of all graphs, those without an answer included.
        tie: whether another answer has as many votes.
        candidates: all answers, most votes first.
        failures: why graphs had no answer, one line each.
        solution: the first with that answer.
        samples: how many graphs were drawn.
        total_s: seconds that it took.
    """

    question: str
    answer: int | float
    confidence: float
    tie: bool
    candidates: tuple[Candidate, ...]
    failures: tuple[str, ...]
    solution: Solution
    samples: int
    total_s: float


def take_vote(
    engine: Engine,
    question: str,
    samples: int,
    options: DecodeOptions,
    after_step: Callable[[], None] = lambda: None,
) -> Vote:
    """Draws ``samples`` graphs over one reading of the prompt, as a batch, runs them and counts their answers.

    Graph i is drawn with the seed of ``options.sampling`` and stream i, so that graph 0 is the one that `Solver.solve`
    draws. ``after_step`` is called after every step of the model; what it raises ends the vote.

    Raises:
        UsageError: ``samples`` is less than 1 or more than `MAX_SAMPLES`, or the options do not sample; and as of
            `Solver.solve`.
        NoAnswerError: no graph has an answer.
        ModelError: the model returned logits that are not finite.
    """
    if not 1 <= samples <= MAX_SAMPLES:
        raise UsageError(f"samples is {samples}: it must be from 1 to {MAX_SAMPLES}")
    if options.sampling is None:
        raise UsageError("several samples of the likeliest graph are one: give a sampling, such as Sampling()")
    started = time.perf_counter()
    solutions: list[Solution] = []
    failures: list[NoAnswerError] = []
    for begin in range(0, samples, _MOST_ROWS):
        streams = range(begin, min(begin + _MOST_ROWS, samples))
        for drawn in _draw(engine, question, streams, options, after_step):
            if isinstance(drawn, NoAnswerError):
                failures.append(drawn)
            else:
                solutions.append(drawn)
    if not solutions:
        first = failures[0]
        raise NoAnswerError(f"none of {samples} graphs has an answer; the first: {first}", first.text, first.timings)
    return _count(solutions, failures, samples, time.perf_counter() - started)


def _draw(
    engine: Engine, question: str, streams: range, options: DecodeOptions, after_step: Callable[[], None]
) -> list[Solution | NoAnswerError]:
    """A graph for each of ``streams``."""
    started = time.perf_counter()
    prompt = engine.prompt.encode(question)
    rows: list[Row] = []
    ttft, steps = 0.0, 1
    for _ in engine.decode_samples(prompt, options, rows, streams):
        ttft = ttft or time.perf_counter() - started
        steps += 1
        after_step()
    total = time.perf_counter() - started
    drawn: list[Solution | NoAnswerError] = []
    for row in rows:
        timings = Timings(ttft, total - ttft, len(prompt), len(row.ids), engine.prefix_tokens, steps=steps)
        text = engine.spell(row.ids).decode(errors="replace")
        try:
            drawn.append(solution_of(clean_question(question), text, row.stop or "stop", timings))
        except NoAnswerError as error:
            drawn.append(error)
    return drawn


def _count(solutions: list[Solution], failures: list[NoAnswerError], samples: int, seconds: float) -> Vote:
    groups: list[list[Solution]] = []
    for solution in solutions:
        group = next((group for group in groups if _same(group[0], solution)), None)
        if group is None:
            groups.append([solution])
        else:
            group.append(solution)
    groups.sort(key=len, reverse=True)
    first = groups[0][0]
    return Vote(
        question=first.question,
        answer=first.answer,
        confidence=len(groups[0]) / samples,
        tie=len(groups) > 1 and len(groups[1]) == len(groups[0]),
        candidates=tuple(Candidate(group[0].answer, len(group)) for group in groups),
        failures=tuple(str(error) for error in failures),
        solution=first,
        samples=samples,
        total_s=seconds,
    )


def _same(one: Solution, other: Solution) -> bool:
    return math.isclose(one.answer, other.answer, rel_tol=_SAME)
