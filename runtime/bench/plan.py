"""What another machine would do, from what was measured on this one.

A step of k tokens takes ``fixed + reading + k * slope`` seconds. The line through the measured steps gives the slope
and the rest; of the rest, reading is what the weights take at the measured memory speed, and the fixed part (starting
the operators one by one) is what remains. On the other machine reading goes by its bandwidth, the slope by its cores,
the fixed part stays, and so does all work outside the model, which is of one core: a core is taken to be like one of
these. Answers are put together of that: as many steps of as many tokens as were measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from msgspec import Struct

from ..context import CHUNK
from ..errors import UsageError
from .rows import MODEL_PART, READING_PART, BenchResult, BenchRun, Ceiling, Row, Setting

# Beside one process: the system, and what the model needs for the longest question.
_SPARE_BYTES, _SPARE_FACTOR = 512 << 20, 1.1


class Figures(Struct, frozen=True):
    """What a machine does with a bundle.

    Attributes:
        plain_tokens_per_s: of tokens that are decoded one by one.
        prefill_tokens_per_s: of the longest prompt that was measured.
        first_token_s: seconds of reading a question.
        answer_s: seconds of an answer, mean over the questions.
        answers_per_hour: one after the other.
    """

    plain_tokens_per_s: float
    prefill_tokens_per_s: float
    first_token_s: float
    answer_s: float
    answers_per_hour: float


class Prediction(Struct, frozen=True):
    """What `dagger-edge bench plan --format json` prints.

    Attributes:
        bundle, precision: of the run that it is made from.
        from_threads: that run's threads.
        cores: of the other machine.
        bytes_per_s: at which it reads memory.
        memory_bytes: that it has.
        ceiling_tokens_per_s: what its memory and cores allow a decoder of one token a step.
        predicted: what it would do.
        here: what the run did.
        fits: whether one process has room in its memory.
        needed_bytes: that a process takes, with something to spare.
        measured: what was measured with as many threads as ``cores``, if the same result holds such a run.
        notes: what the prediction takes for granted.
    """

    bundle: str
    precision: str
    from_threads: int
    cores: int
    bytes_per_s: float
    memory_bytes: int
    ceiling_tokens_per_s: float
    predicted: Figures
    here: Figures
    fits: bool
    needed_bytes: int
    measured: Figures | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine that is asked about.

    Attributes:
        cores: that the model may use.
        bytes_per_s: at which memory is read.
        memory_bytes: that there are.
    """

    cores: int
    bytes_per_s: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class _Step:
    """Seconds of a step of k tokens: ``fixed + reading + k * slope``."""

    fixed: float
    reading: float
    slope: float

    def of(self, tokens: float) -> float:
        return self.fixed + self.reading + tokens * self.slope

    def moved(self, reading: float, cores: float) -> _Step:
        """On a machine that reads in another time and has ``cores`` times as many cores."""
        return _Step(self.fixed, reading, self.slope / cores)


@dataclass(frozen=True, slots=True)
class _Measured:
    """What a run says, as far as a prediction needs it.

    Attributes:
        figures: what it did.
        step: what its steps cost.
        model_s, rest_s: of an answer after the question was read: the model's steps, and everything else.
        size: tokens of such a step.
        threads: that it had.
    """

    figures: Figures
    step: _Step
    model_s: float
    rest_s: float
    size: float
    threads: int


def predict(result: BenchResult, machine: Machine, *, threads: int | None = None) -> Prediction:
    """What ``machine`` would do, from the run of ``result`` with ``threads``; by default from the one with the fewest.

    Raises:
        UsageError: no such run, or it lacks rows that are needed.
    """
    index = _choose(result, threads)
    run = result.runs[index]
    found, ceiling = _measured(result, index)
    scale = machine.cores / found.threads
    reading = _reading(ceiling, machine.bytes_per_s, scale)
    moved = found.step.moved(reading, scale)
    peak = _row(result, index, "peak memory").median * 1e6
    needed = round(peak * _SPARE_FACTOR) + _SPARE_BYTES
    twin = next(
        (place for place in _alike(result, run) if place != index and _threads(result, place) == machine.cores), None
    )
    return Prediction(
        bundle=run.bundle,
        precision=run.precision,
        from_threads=found.threads,
        cores=machine.cores,
        bytes_per_s=machine.bytes_per_s,
        memory_bytes=machine.memory_bytes,
        ceiling_tokens_per_s=1 / max(reading, _products(ceiling) / scale),
        predicted=_predicted(found, moved),
        here=found.figures,
        fits=needed <= machine.memory_bytes,
        needed_bytes=needed,
        measured=None if twin is None else _figures(result, twin),
        notes=tuple(_notes(ceiling, found, machine)),
    )


def _predicted(found: _Measured, moved: _Step) -> Figures:
    """Each measured time, as its steps change."""
    here, step = found.figures, found.step
    plain = 1 / here.plain_tokens_per_s
    outside = max(plain - step.of(1), 0.0)
    # A prompt is read in long steps.
    longer = moved.of(CHUNK) / step.of(CHUNK)
    first = here.first_token_s * longer
    answer = first + found.model_s * moved.of(found.size) / step.of(found.size) + found.rest_s
    return Figures(
        plain_tokens_per_s=1 / (outside + (plain - outside) * moved.of(1) / step.of(1)),
        prefill_tokens_per_s=here.prefill_tokens_per_s / longer,
        first_token_s=first,
        answer_s=answer,
        answers_per_hour=3600 / answer,
    )


def _choose(result: BenchResult, threads: int | None) -> int:
    places = range(len(result.runs))
    if threads is None:
        return min(places, key=lambda place: _threads(result, place))
    for place in places:
        if _threads(result, place) == threads:
            return place
    known = ", ".join(str(_threads(result, place)) for place in places)
    raise UsageError(f"the result has no run with {threads} threads: it has {known}")


def _alike(result: BenchResult, run: BenchRun) -> list[int]:
    """Runs of the same bundle on the same provider."""
    same = (run.engine, run.weights_sha256, run.provider)
    return [
        place for place, other in enumerate(result.runs) if (other.engine, other.weights_sha256, other.provider) == same
    ]


def _threads(result: BenchResult, place: int) -> int:
    # onnxruntime starts one per physical core, which may be half of those that count here.
    return result.runs[place].threads or result.provenance.cores


def _measured(result: BenchResult, index: int) -> tuple[_Measured, Ceiling]:
    ceiling, rows = result.runs[index].ceiling, result.rows_of(index, "step")
    if ceiling is None:
        raise UsageError(f"a run on {result.runs[index].provider} has no measured ceiling: predict from one on the cpu")
    if len(rows) < 2:
        raise UsageError("the result has no costs of steps: measure it again")
    figures = _figures(result, index)
    model = _row(result, index, "answer part", part=MODEL_PART).median
    measured = _Measured(
        figures=figures,
        step=_fit(rows, ceiling),
        model_s=model,
        rest_s=max(figures.answer_s - figures.first_token_s - model, 0.0),
        size=_row(result, index, "step size").median,
        threads=_threads(result, index),
    )
    return measured, ceiling


def _fit(rows: list[Row], ceiling: Ceiling) -> _Step:
    """The line through the costs of steps, every one of the same relative weight."""
    sizes = np.array([int(row.settings["tokens"]) for row in rows], np.float64)
    seconds = np.array([row.median for row in rows], np.float64) / 1e3
    slope, rest = (float(value) for value in np.polyfit(sizes, seconds, 1, w=1 / seconds))
    slope = max(slope, 0.0)
    # Where noise makes the line begin below zero, or the slope fall.
    rest = max(rest, 0.0)
    reading = min(rest, (ceiling.weight_bytes + ceiling.kv_read_bytes) / ceiling.read_bytes_per_s)
    return _Step(rest - reading, reading, slope)


def _reading(ceiling: Ceiling, bytes_per_s: float, scale: float) -> float:
    """Seconds in which the other machine reads what a step needs."""
    size = ceiling.weight_bytes + ceiling.kv_read_bytes
    # A cache belongs to the cores, and is taken to grow with them.
    return size / (ceiling.read_bytes_per_s * scale) if ceiling.cached else size / bytes_per_s


def _products(ceiling: Ceiling) -> float:
    """Seconds that the products of one token take here."""
    return ((ceiling.products or 0) + (ceiling.head_products or 0)) / ceiling.products_per_s


def _figures(result: BenchResult, index: int) -> Figures:
    """What was measured."""
    prompts = result.rows_of(index, "prefill")
    if not prompts:
        raise UsageError("the result has no rows of 'prefill': measure it again, with prompts that fit the context")
    answer = _row(result, index, "answer").median
    return Figures(
        plain_tokens_per_s=1e3 / _row(result, index, "plain token").median,
        prefill_tokens_per_s=max(prompts, key=lambda row: int(row.settings["tokens"])).median,
        first_token_s=_row(result, index, "answer part", part=READING_PART).median,
        answer_s=answer,
        answers_per_hour=3600 / answer,
    )


def _row(result: BenchResult, index: int, what: str, **settings: Setting) -> Row:
    row = result.find(index, what, **settings)
    if row is None:
        raise UsageError(f"the result has no row of {what!r}: measure it again")
    return row


def _notes(ceiling: Ceiling, found: _Measured, machine: Machine) -> list[str]:
    notes = ["a core of the other machine is taken to be like one of these; compare with `dagger-edge bench` there"]
    if ceiling.cached:
        notes.append(
            "the weights stay in the processor's cache: bandwidth hardly counts, and the cache is taken to do too"
        )
    if machine.cores > 4 * found.threads:
        notes.append(
            f"from {found.threads} to {machine.cores} threads is far: operators share work less well than this assumes"
        )
    return notes
