"""What one process measures, with an open solver: one sample of everything."""

from __future__ import annotations

import os
import re
import resource
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from ..context import Context
from ..logits import last
from ..options import DecodeOptions
from ..sampling import Sampling
from ..snapshot import Snapshot, state_shape
from ..solution import NoAnswerError, Timings
from ..solver import Solver
from .ceiling import machine_samples
from .energy import Meter
from .job import Findings, Job
from .rows import MODEL_PART, READING_PART, REST_PART, Sample, Settings
from .stopwatch import Stopwatch
from .yardstick import Yardstick

# Tokens of the steps whose cost is measured.
STEP_SIZES = (1, 2, 3, 4, 6, 8, 12, 16)
# Short measurements are medians of so many, after one that is not counted: of the most until they took so long. One of
# some milliseconds says more about who else had the processor just then.
_ROUNDS, _MOST_ROUNDS = 3, 25
_ENOUGH_S = 0.25
# From so many seconds on, one measurement is enough: warming up is nothing beside it.
_LONG_S = 2.0
# Questions that one token a step, and votes, are measured with.
_FEW = 3
_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
# Any will do: what a step costs does not depend on it.
_TOKEN = 0


class _Answer(NamedTuple):
    seconds: float
    timings: Timings
    # Of the model, after the prompt was read.
    model_s: float
    model_steps: int
    model_tokens: int
    answered: bool


def findings(solver: Solver, job: Job) -> Findings:
    """Measures everything once. The order matters: first the first question, memory before anything is made larger.

    Raises:
        UsageError: the context has no room for a question.
        ModelError, ProviderError: onnxruntime fails.
    """
    inside = _Inside(solver, job)
    samples = tuple(inside.samples())
    return Findings(samples, inside.context, inside.prefix_tokens, inside.number_bytes)


class _Inside:
    """The measurements of one process."""

    def __init__(self, solver: Solver, job: Job) -> None:
        self._solver, self._job, self._engine = solver, job, solver.engine
        self._yardstick = Yardstick(job.threads)
        self._watch = Stopwatch(self._engine.session, job.drag)
        self.context = len(self._engine.prompt.encode(job.questions[0]))
        self.prefix_tokens = 0
        ((_, kind), *_) = self._engine.session.cache_buffers(1, 1)
        self.number_bytes = kind.itemsize

    def samples(self) -> Iterator[Sample]:
        """All of them."""
        busy, own, started = busy_s(), time.process_time(), time.perf_counter()
        cold = self._answer(self._job.questions[0], DecodeOptions())
        self.prefix_tokens = cold.timings.prefix_tokens
        yield from self._paced([Sample("first token", 1e3 * cold.timings.ttft_s, {"start": "cold"})])
        yield from self._paced(self._answers())
        yield Sample("peak memory", _peak_memory() / 1e6)
        for part in (self._first_tokens, self._plain, self._steps, self._prefill, self._votes):
            yield from self._paced(part())
        if busy is not None and (now := busy_s()) is not None:
            others = (now - busy) - (time.process_time() - own)
            yield Sample("other work", max(others, 0.0) / (time.perf_counter() - started))
        if self._job.provider == "cpu":
            yield from machine_samples(self._solver.bundle.manifest, self._job.threads)

    def _paced(self, part: Iterable[Sample]) -> Iterator[Sample]:
        """The samples of ``part`` with the machine's pace before, between and after what it times."""
        samples = list(part)
        self._yardstick.take()
        # A GPU does not follow the processor.
        pace = self._yardstick.pace() if self._job.provider == "cpu" else None
        for sample in samples:
            yield replace(sample, pace=pace)

    def _answers(self) -> Iterator[Sample]:
        """Everything on: snapshot, grammar, drafts."""
        meter, answers, spent = Meter(), list[_Answer](), list[float | None]()
        for question in self._job.questions:
            self._yardstick.take()
            before = meter.read()
            answers.append(self._answer(question, DecodeOptions()))
            spent.append(meter.joules(before, meter.read()))
        asked: Settings = {"questions": len(answers)}
        seconds = [answer.seconds for answer in answers]
        total, count = sum(seconds), len(answers)
        tokens = sum(answer.timings.new_tokens for answer in answers)
        steps = sum(answer.timings.steps for answer in answers)
        first = sum(answer.timings.ttft_s for answer in answers)
        decoding = sum(answer.timings.decode_s for answer in answers)
        model = sum(answer.model_s for answer in answers)
        yield Sample("answer", total / count, asked)
        for name, share in _QUANTILES.items():
            yield Sample("answer quantile", float(np.quantile(seconds, share)), {"quantile": name, **asked})
        parts = {READING_PART: first, MODEL_PART: model, REST_PART: total - first - model}
        for name, part in parts.items():
            yield Sample("answer part", max(part, 0.0) / count, {"part": name, **asked})
        yield Sample("token", 1e3 * decoding / max(tokens, 1), asked)
        yield Sample("speed", tokens / total, asked)
        yield Sample("answers", 60 * count / total, asked)
        yield Sample("steps", steps / count, asked)
        yield Sample("tokens", tokens / count, asked)
        read = sum(answer.model_tokens for answer in answers)
        yield Sample("step size", read / max(sum(answer.model_steps for answer in answers), 1), asked)
        yield Sample("answered", sum(answer.answered for answer in answers) / count, asked)
        joules = [known for known in spent if known is not None]
        if len(joules) == count:
            yield Sample("energy", sum(joules) / count, asked)

    def _answer(self, question: str, options: DecodeOptions) -> _Answer:
        self._watch.steps.clear()
        started = time.perf_counter()
        try:
            timings, answered = self._solver.solve(question, options).timings, True
        except NoAnswerError as error:
            timings, answered = error.timings, False
        seconds = time.perf_counter() - started
        steps = self._watch.after_prompt(timings.prompt_tokens - timings.prefix_tokens)
        spent, read = sum(step.seconds for step in steps), sum(step.rows * step.length for step in steps)
        return _Answer(seconds, timings, spent, len(steps), read, answered)

    def _first_tokens(self) -> Iterator[Sample]:
        """Warm, of the first question, with the state that prompts begin with and without it."""
        options = DecodeOptions(grammar=False, drafts=False, max_new_tokens=1)

        def first() -> float:
            self._yardstick.take()
            return self._answer(self._job.questions[0], options).timings.ttft_s

        kept = self._engine.snapshot
        if kept is not None:
            yield Sample("first token", 1e3 * _median(first), {"start": "snapshot"})
        shape = state_shape(self._solver.bundle.manifest.architecture, 0)
        self._engine.snapshot = Snapshot([], np.empty(shape, np.float32))
        yield Sample("first token", 1e3 * _median(first), {"start": "whole prompt"})
        self._engine.snapshot = kept

    def _plain(self) -> Iterator[Sample]:
        """One token a step, without grammar and drafts."""
        options = DecodeOptions(grammar=False, drafts=False, max_new_tokens=self._job.plain_tokens)
        answers = []
        for question in self._job.questions[:_FEW]:
            self._yardstick.take()
            answers.append(self._answer(question, options))
        steps = sum(answer.model_steps for answer in answers)
        if not steps:
            return
        seconds = sum(answer.timings.decode_s for answer in answers) / steps
        asked: Settings = {"questions": len(answers), "tokens at most": self._job.plain_tokens}
        yield Sample("plain token", 1e3 * seconds, asked)
        yield Sample("plain speed", 1 / seconds, asked)

    def _steps(self) -> Iterator[Sample]:
        """Steps of several tokens behind the first question's prompt; sizes take turns."""
        context = self._new_context()
        prompt, snapshot = self._engine.prompt.encode(self._job.questions[0]), self._engine.snapshot
        if snapshot is not None:
            context.load(snapshot.state)
            context.keep_first(snapshot.common(prompt))
        context.feed(prompt[context.length :])
        sizes = [size for size in STEP_SIZES if self.context + size <= self._limit]

        def turn() -> list[float]:
            self._yardstick.take()
            return [step(size) for size in sizes]

        def step(size: int) -> float:
            started = time.perf_counter()
            context.feed([_TOKEN] * size, last(size))
            taken = time.perf_counter() - started
            context.rewind(self.context)
            return taken

        turn()
        turns = [turn() for _ in range(_ROUNDS)]
        while len(turns) < _MOST_ROUNDS and sum(map(sum, turns)) < len(sizes) * _ENOUGH_S:
            turns.append(turn())
        for size, found in zip(sizes, zip(*turns, strict=True), strict=True):
            yield Sample("step", 1e3 * statistics.median(found), {"tokens": size})

    def _prefill(self) -> Iterator[Sample]:
        """Prompts of given lengths, from an empty cache; those that the context has no room for are left out."""
        ids = [token for question in self._job.questions for token in self._engine.prompt.encode(question)]
        context = self._new_context()
        for length in self._job.prefill:
            if length > self._limit:
                continue
            prompt = (ids * (length // len(ids) + 1))[:length]

            def read(prompt: list[int] = prompt) -> float:
                context.keep_first(0)
                self._yardstick.take()
                started = time.perf_counter()
                context.feed(prompt)
                return time.perf_counter() - started

            yield Sample("prefill", length / _median(read), {"tokens": length})

    def _votes(self) -> Iterator[Sample]:
        """Several graphs of a question at once."""
        questions = self._job.questions[:_FEW]
        options = DecodeOptions(sampling=Sampling())
        for count in self._job.samples:
            self._watch.steps.clear()
            self._yardstick.take()
            started = time.perf_counter()
            for question in questions:
                try:
                    self._solver.vote(question, count, options)
                except NoAnswerError:
                    # It took its time all the same.
                    continue
            seconds = time.perf_counter() - started
            # Rows advance by one token a step; what is longer is a prompt.
            written = sum(step.rows for step in self._watch.steps if step.length == 1)
            asked: Settings = {"samples": count, "questions": len(questions)}
            yield Sample("vote", seconds / len(questions), asked)
            yield Sample("vote speed", written / seconds, asked)

    def _new_context(self) -> Context:
        return Context(self._engine.session, limit=self._limit)

    @property
    def _limit(self) -> int:
        return self._solver.bundle.manifest.architecture.context_length


def _median(measure: Callable[[], float]) -> float:
    """Of several measurements in seconds after one that warms up; of what takes long the first."""
    if (first := measure()) > _LONG_S:
        return first
    found = [measure() for _ in range(_ROUNDS)]
    while len(found) < _MOST_ROUNDS and sum(found) < _ENOUGH_S:
        found.append(measure())
    return statistics.median(found)


def busy_s(stat: Path = Path("/proc/stat")) -> float | None:
    """Seconds that all processors together worked, for whomever; None where the system does not say."""
    try:
        name, *numbers = stat.read_text().partition("\n")[0].split()
    except (OSError, ValueError):
        return None
    # user, nice, system, idle, iowait, irq, softirq, steal: what other machines on the same processor took is work too.
    ticks = [int(number) for number in numbers[:8]]
    return (sum(ticks) - sum(ticks[3:5])) / os.sysconf("SC_CLK_TCK") if name == "cpu" and len(ticks) == 8 else None


def _peak_memory() -> int:
    """Bytes of this process at its largest. Its own: getrusage counts what the parent had before it was started."""
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return (int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) << 10
