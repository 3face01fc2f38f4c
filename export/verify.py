"""The parity gate: the exported graph in onnxruntime against the checkpoint in torch fp32.

A graph can load, run and answer garbage (a window off by one, a missing scale), so every export is measured:
logits of every position of a prompt with an answer that is longer than the sliding window, read in steps that stop at
the window's edge, and again without a cache; and tokens one by one, with a cache, without one, and by torch. Where the
bundle does not fit in memory, its graph is run layer by layer (`staged`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ..runtime.agreement import known_answer_of, measure_known_answer
from ..runtime.bundle import MODEL_FILE, TOKENIZER_FILE, WEIGHTS_FILE
from ..runtime.errors import BundleError
from ..runtime.known_answer import KnownAnswer
from ..runtime.manifest import Architecture, Parity, PrecisionName
from ..runtime.memory import available_memory
from ..runtime.session import Cache, Session
from .calibration import QUESTIONS
from .limits import LIMITS
from .probe import Probe, chunks, probe
from .staged import StagedGraph, StagedReading

GREEDY_TOKENS = 16

# What running a bundle takes beside its weights: their largest matrix twice, and logits of a chunk.
_RUNNING_FACTOR, _RUNNING_BYTES = 1.3, 2 << 30
# Rows of logits compared at a time: at Gemma's vocabulary, all of them at once are gigabytes.
_ROWS = 61
_CACHED, _UNCACHED = 0, 1


class Reference(Protocol):
    """The model that the graph must be: `LayerwiseReference`, or one that is in memory as a whole."""

    def hidden(self, sequences: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """Hidden states [length, hidden] after the final norm, of each of ``sequences``."""

    def logits(self, hidden: torch.Tensor) -> NDArray[np.float32]:
        """Logits [n, vocab] of ``hidden`` [n, hidden]."""


@dataclass(frozen=True, slots=True)
class WholeReference:
    """A ``Gemma3ForCausalLM`` in fp32."""

    model: Any

    def hidden(self, sequences: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """As of `Reference`."""
        with torch.no_grad():
            return [self.model.model(torch.tensor([ids]), use_cache=False).last_hidden_state[0] for ids in sequences]

    def logits(self, hidden: torch.Tensor) -> NDArray[np.float32]:
        """As of `Reference`."""
        with torch.no_grad():
            logits: NDArray[np.float32] = self.model.lm_head(hidden).numpy()
        return logits


@dataclass(frozen=True, slots=True)
class Distance:
    """How far logits are from the reference's, over all positions: absolute differences, mean Kullback-Leibler
    divergence in nats, share of positions with the same likeliest token. NaN where any logit is not finite."""

    worst: float
    mean: float
    divergence: float
    top1: float


def read(session: Session, ids: Sequence[int], cache: Cache) -> tuple[NDArray[np.float32], Cache]:
    """Logits float32 [len(ids), vocab] of ``ids`` after what ``cache`` holds, and the longer cache."""
    logits, longer = session.step(np.array([ids], np.int64), cache, keep=0)
    return logits[0], longer


@dataclass(frozen=True, slots=True)
class Measurement:
    """What the gate found, and the bundle's known answer where the context has room for the prompt."""

    parity: Parity
    known_answer: KnownAnswer | None


def measure_parity(
    reference: Reference, folder: Path, shape: Architecture, template: str, precision: PrecisionName = "fp32"
) -> Parity:
    """The parity of `measure`."""
    return measure(reference, folder, shape, template, precision).parity


def measure(
    reference: Reference, folder: Path, shape: Architecture, template: str, precision: PrecisionName = "fp32"
) -> Measurement:
    """Compares the graph in ``folder`` with ``reference`` on Bengali prompts made of ``template``.

    A bundle that does not fit in memory is run layer by layer. It decodes nothing then, since every token would read
    all weights anew: tokens of a fixed answer are given instead, and the likeliest after each is compared.

    Args:
        reference: the checkpoint in fp32.
        folder: holds the graph, its weights and ``tokenizer.json``.
        shape: the architecture in the manifest.
        template: the prompt template, with ``{question}``.
        precision: of the graph; it says how far the graph may be from the reference (`LIMITS`).

    Raises:
        BundleError: logits are not finite, or too far from the reference; or, in fp32, a greedily decoded token
            differs.
    """
    text = probe(folder / TOKENIZER_FILE, template, shape)
    (hidden,) = reference.hidden([text.ids])
    bounds = text.bounds(shape.sliding_window)
    late = _blocks(text.uncached(shape.sliding_window))
    if fits_in_memory(folder / WEIGHTS_FILE):
        return _measure_whole(reference, hidden, text, bounds, late, folder, shape, template, precision)
    reading = StagedReading(StagedGraph(folder), text.ids, [bounds, [(0, len(text.ids))]])
    cached = _compare(reference, hidden, bounds, reading.logits(_CACHED, bounds))
    uncached = _compare(reference, hidden, late, reading.logits(_UNCACHED, late))
    _check_distances(cached.distance, uncached.distance, precision)
    given, first = np.array(text.given), late[0][0]
    same = (cached.found == cached.expected)[given] & (uncached.found == uncached.expected)[given - first]
    known = None
    if text.answer:
        rows = next(reading.logits(_CACHED, [(text.given.start, text.given.start + min(GREEDY_TOKENS, text.answer))]))
        answer = text.ids[text.prompt : text.prompt + len(rows)]
        known = known_answer_of(QUESTIONS[0], text.ids[: text.prompt], answer, rows, precision)
    parity = _parity(cached.distance, uncached.distance, len(text.ids), len(given), int(same.sum()), forced=True)
    return Measurement(_checked_tokens(parity, precision), known)


def _measure_whole(
    reference: Reference,
    hidden: torch.Tensor,
    text: Probe,
    bounds: Sequence[tuple[int, int]],
    late: Sequence[tuple[int, int]],
    folder: Path,
    shape: Architecture,
    template: str,
    precision: PrecisionName,
) -> Measurement:
    exported = Session(folder / MODEL_FILE)
    cached = _compare(reference, hidden, bounds, _read_all(exported, text.ids, bounds)).distance
    uncached = _compare(reference, hidden, late, _read_late(exported, text.ids, late)).distance
    _check_distances(cached, uncached, precision)
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    prompts = [tokenizer.encode(question).ids[: shape.context_length - GREEDY_TOKENS] for question in QUESTIONS]
    equal = greedy_agreement(reference, exported, prompts, GREEDY_TOKENS)
    parity = _parity(cached, uncached, len(text.ids), len(prompts) * GREEDY_TOKENS, equal, forced=False)
    _checked_tokens(parity, precision)
    prompt = text.ids[: text.prompt]
    return Measurement(parity, measure_known_answer(exported, QUESTIONS[0], prompt, shape.context_length, precision))


def fits_in_memory(weights: Path) -> bool:
    """Whether onnxruntime can hold ``weights`` now, which it copies into its kernels' layout part by part."""
    return weights.stat().st_size * _RUNNING_FACTOR + _RUNNING_BYTES < available_memory()


def logit_distance(reference: Reference, exported: Session, ids: list[int], window: int) -> Distance:
    """The distance of all logits of ``ids``, read in chunks over a cache.

    ``window`` is the sliding window in tokens: chunks end just before, at and just after it.
    """
    (hidden,) = reference.hidden([ids])
    bounds = chunks(len(ids), window)
    return _compare(reference, hidden, bounds, _read_all(exported, ids, bounds)).distance


def greedy_agreement(reference: Reference, exported: Session, prompts: list[list[int]], count: int) -> int:
    """How many of ``count`` tokens a prompt, decoded greedily with a cache, are also the graph's choice without
    one, and the reference's: each must be the likeliest one after all before it."""
    sequences = [_decode(exported, prompt, count) for prompt in prompts]
    states = reference.hidden([ids[:-1] for ids in sequences])
    equal = 0
    for ids, hidden in zip(sequences, states, strict=True):
        decoded = np.array(ids[-count:])
        uncached = exported.step(np.array([ids[:-1]], np.int64), exported.empty_cache(), keep=count)[0][0].argmax(-1)
        expected = reference.logits(hidden[-count:]).argmax(-1)
        equal += int(((uncached == decoded) & (expected == decoded)).sum())
    return equal


def _decode(exported: Session, prompt: list[int], count: int) -> list[int]:
    ids, fed, cache = list(prompt), 0, exported.empty_cache()
    while len(ids) < len(prompt) + count:
        logits, cache = exported.step(np.array([ids[fed:]], np.int64), cache)
        fed = len(ids)
        ids.append(int(logits[0, -1].argmax()))
    return ids


@dataclass(frozen=True, slots=True)
class _Comparison:
    """A distance, and the likeliest token of every row by the reference and by the graph."""

    distance: Distance
    expected: NDArray[np.int64]
    found: NDArray[np.int64]


def _compare(
    reference: Reference,
    hidden: torch.Tensor,
    bounds: Iterable[tuple[int, int]],
    logits: Iterable[NDArray[np.float32]],
) -> _Comparison:
    """Holds ``logits`` of the rows between each of ``bounds`` against those of ``hidden``."""
    rows, expected, found = [], [], []
    for (start, end), block in zip(bounds, logits, strict=True):
        wanted = reference.logits(hidden[start:end])
        rows.append(_row_distances(wanted, block))
        expected.append(wanted.argmax(-1))
        found.append(block.argmax(-1))
    worst, mean, divergence, top1 = np.concatenate(rows, axis=1)
    distance = Distance(float(worst.max()), float(mean.mean()), float(divergence.mean()), float(top1.mean()))
    return _Comparison(distance, np.concatenate(expected), np.concatenate(found))


def _read_all(
    exported: Session, ids: Sequence[int], bounds: Iterable[tuple[int, int]]
) -> Iterator[NDArray[np.float32]]:
    cache = exported.empty_cache()
    for start, end in bounds:
        logits, cache = read(exported, ids[start:end], cache)
        yield logits


def _read_late(
    exported: Session, ids: Sequence[int], bounds: Sequence[tuple[int, int]]
) -> Iterator[NDArray[np.float32]]:
    """Logits of the last rows, from the first of ``bounds`` on, in one step without a cache."""
    first = bounds[0][0]
    logits = exported.step(np.array([ids], np.int64), exported.empty_cache(), keep=len(ids) - first)[0][0]
    for start, end in bounds:
        yield logits[start - first : end - first]


def _blocks(rows: range) -> list[tuple[int, int]]:
    return [(start, min(start + _ROWS, rows.stop)) for start in range(rows.start, rows.stop, _ROWS)]


def _check_distances(cached: Distance, uncached: Distance, precision: PrecisionName) -> None:
    """Refuses what is beyond the `LIMITS` of ``precision``."""
    limits = LIMITS[precision]
    for distance, how in ((cached, ""), (uncached, " without a cache")):
        if not np.isfinite(distance.worst):
            remedy = "; export in fp32" if precision == "fp16" else ""
            raise _wrong(f"it gives logits that are not finite{how}{remedy}")
        if limits.logit_diff is not None and distance.worst > limits.logit_diff:
            raise _wrong(
                f"its logits{how} differ from the checkpoint's by up to {distance.worst:.3g}, the limit is"
                f" {limits.logit_diff:g}"
            )
        if distance.divergence > limits.divergence:
            raise _wrong(
                f"its logits{how} differ from the checkpoint's by {distance.divergence:.3g} nats (Kullback-Leibler),"
                f" the limit in {precision} is {limits.divergence:g}"
            )
        if distance.top1 < limits.top1:
            raise _wrong(
                f"its likeliest token{how} is the checkpoint's at {distance.top1:.1%} of the positions, the limit in"
                f" {precision} is {limits.top1:.0%}"
            )


def _checked_tokens(parity: Parity, precision: PrecisionName) -> Parity:
    if LIMITS[precision].same_tokens and parity.greedy_equal != parity.greedy_tokens:
        raise _wrong("it decodes other tokens than the checkpoint")
    return parity


def _parity(cached: Distance, uncached: Distance, positions: int, tokens: int, equal: int, *, forced: bool) -> Parity:
    return Parity(
        reference=f"torch {torch.__version__} fp32",
        positions=positions,
        max_logit_diff=cached.worst,
        mean_logit_diff=cached.mean,
        greedy_tokens=tokens,
        greedy_equal=equal,
        kl_divergence=cached.divergence,
        top1_agreement=cached.top1,
        uncached_max_logit_diff=uncached.worst,
        uncached_kl_divergence=uncached.divergence,
        teacher_forced=forced,
    )


def _row_distances(expected: NDArray[np.float32], found: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of every row: largest and mean difference, divergence, and 1 where the likeliest token is the same."""
    difference = np.abs(expected - found)
    chances, others = (_log_softmax(logits) for logits in (expected, found))
    divergence = (np.exp(chances) * (chances - others)).sum(-1)
    same = expected.argmax(-1) == found.argmax(-1)
    return np.stack([difference.max(-1), difference.mean(-1, dtype=np.float64), divergence, same])


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = (logits - logits.max(-1, keepdims=True)).astype(np.float64)
    normed: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return normed


def _wrong(what: str) -> BundleError:
    return BundleError(f"the graph is not the checkpoint's model: {what}")
