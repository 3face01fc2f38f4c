"""A run: every question that is not in the file yet is answered, scored and written, one after another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ... import __version__
from ..errors import UsageError
from ..options import DecodeOptions
from ..solution import NoAnswerError, Timings
from .questions import Question, QuestionSet
from .row_file import RowFile
from .rows import FORMAT, Draws, EvalRow, Header, SetEntry, Settings
from .score import Output, score

if TYPE_CHECKING:
    from ..bench.rows import Provenance
    from ..solver import Solver

Answer = Callable[[Question], Output]


def missing(questions: Iterable[Question], file: RowFile) -> list[Question]:
    """Those of ``questions`` that have no row yet."""
    done = {row.key for row in file.rows}
    return [question for question in questions if (question.set, question.row) not in done]


def evaluate(questions: Iterable[Question], answer: Answer, file: RowFile) -> Iterator[EvalRow]:
    """The rows of ``questions`` as they are written, those that ``file`` has already left out.

    Raises:
        JournalError: a row cannot be written.
        ModelError: as of ``answer``.
    """
    for question in missing(questions, file):
        row = score(question, answer(question))
        file.append(row)
        yield row


def check_sets(sets: Sequence[QuestionSet]) -> None:
    """Refuses sets that rows could not be told apart by.

    Raises:
        UsageError: two of one name.
    """
    names = [item.name for item in sets]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"two test sets are called {twice}: give one another name, as in --data other={twice}.jsonl")


def set_entries(sets: Sequence[QuestionSet]) -> tuple[SetEntry, ...]:
    """What a header says of ``sets``."""
    return tuple(SetEntry(item.name, item.sha256, len(item.questions)) for item in sets)


def make_header(settings: Settings, provenance: Provenance | None = None) -> Header:
    """The header of a run that begins now."""
    return Header(
        evaluation=FORMAT,
        settings=settings,
        dagger_edge=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        provenance=provenance,
    )


def model_answers(solver: Solver, options: DecodeOptions, samples: int | None) -> Answer:
    """Answers of ``solver``: greedy, drawn, or (with ``samples``) the vote of several drawn graphs."""

    def answer(question: Question) -> Output:
        started = time.perf_counter()
        confidence: float | None = None
        try:
            if samples is None:
                solution = solver.solve(question.question, options)
            else:
                vote = solver.vote(question.question, samples, options)
                solution, confidence = vote.solution, vote.confidence
            text, timings = solution.text, solution.timings
        except NoAnswerError as error:
            text, timings = error.text, error.timings
        except UsageError as error:
            # A question that this model has no room for. The others go on.
            return Output(text="", error=str(error), seconds=time.perf_counter() - started)
        return _output(text, timings, time.perf_counter() - started, confidence)

    return answer


def _output(text: str, timings: Timings, seconds: float, confidence: float | None) -> Output:
    return Output(text=text, tokens=timings.new_tokens, steps=timings.steps, seconds=seconds, confidence=confidence)


def model_settings(
    solver: Solver,
    sets: Sequence[QuestionSet],
    options: DecodeOptions,
    samples: int | None,
    *,
    prompt: str,
    provider: str,
    threads: int | None,
) -> Settings:
    """What decides the rows of a run of ``solver``."""
    from ..bundle import WEIGHTS_FILE

    manifest, drawn = solver.bundle.manifest, options.sampling
    return Settings(
        sets=set_entries(sets),
        bundle=manifest.name,
        precision=manifest.precision.name,
        weights_sha256=manifest.files[WEIGHTS_FILE].sha256,
        prompt=prompt,
        provider=provider,
        threads=threads,
        max_new_tokens=options.max_new_tokens,
        grammar=options.grammar,
        drafts=options.drafts,
        draws=None if drawn is None else Draws(drawn.temperature, drawn.top_k, drawn.top_p, drawn.min_p, drawn.seed),
        samples=samples,
    )
