"""The parity gate: the exported graph in onnxruntime against the checkpoint in torch fp32.

A graph can load, run and answer garbage (a window off by one, a missing scale), so every export is measured:
logits of every position of a prompt with an answer that is longer than the sliding window, read in steps that stop at
the window's edge, and again without a cache; and greedy decoding with a cache, without one, and by torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ..runtime.bundle import MODEL_FILE, TOKENIZER_FILE, Bundle
from ..runtime.errors import BundleError
from ..runtime.manifest import Architecture, Parity, PrecisionName
from ..runtime.session import REMOVED_LOGIT, Cache, Session
from .calibration import QUESTIONS
from .limits import AGREED, LIMITS
from .probe import chunks, probe
from .reference import CutReference, Reference

GREEDY_TOKENS = 16


@dataclass(frozen=True, slots=True)
class ExportedGraph:
    """What is measured.

    Attributes:
        folder: holds the graph, its weights, ``tokenizer.json``, and perhaps a snapshot.
        shape: the architecture in the manifest.
        template: the prompt template, with ``{question}``.
        precision: of the graph; it says how far the graph may be from the reference (`LIMITS`).
        stream_scale: the power of two that its residual stream is scaled by.
        head_rows: how many rows its head keeps, which alone are compared; None is all.
    """

    folder: Path
    shape: Architecture
    template: str
    precision: PrecisionName = "fp32"
    stream_scale: float = 1.0
    head_rows: int | None = None

    @classmethod
    def of(cls, bundle: Bundle) -> Self:
        """That of a bundle."""
        manifest, recipe = bundle.manifest, bundle.manifest.precision.recipe
        rows = recipe.get("head_rows")
        return cls(
            bundle.path,
            manifest.architecture,
            bundle.prompt_template,
            cast("PrecisionName", manifest.precision.name),
            float(recipe.get("stream_scale", 1.0)),
            None if rows is None else int(rows),
        )


def over_kept_rows(reference: Reference, graph: ExportedGraph, row: NDArray[np.float32]) -> Reference:
    """``reference`` with those rows alone that the head of ``graph`` keeps, as its logits ``row`` [vocab] show.

    Raises:
        BundleError: they are not as many as they should be.
    """
    if graph.head_rows is None:
        return reference
    removed = row == REMOVED_LOGIT
    if int((~removed).sum()) != graph.head_rows:
        raise _wrong(f"its head has {int((~removed).sum())} rows, not {graph.head_rows}")
    return CutReference(reference, removed)


@dataclass(frozen=True, slots=True)
class Distance:
    """How far logits are from the reference's, over all positions: absolute differences, mean Kullback-Leibler
    divergence in nats, share of positions with the same likeliest token, and with one that is `AGREED`. NaN where any
    logit is not finite."""

    worst: float
    mean: float
    divergence: float
    top1: float
    agreed: float


def read(session: Session, ids: Sequence[int], cache: Cache) -> tuple[NDArray[np.float32], Cache]:
    """Logits float32 [len(ids), vocab] of ``ids`` after what ``cache`` holds, and the longer cache."""
    logits, longer = session.step(np.array([ids], np.int64), cache, keep=0)
    return logits[0], longer


def measure_parity(reference: Reference, graph: ExportedGraph) -> Parity:
    """Compares ``graph``, loaded as a whole, with the checkpoint in fp32 on Bengali prompts made of its template.

    Raises:
        BundleError: logits are not finite, or too far from the reference; its head has another number of rows; or,
            in fp32, a greedily decoded token differs.
    """
    shape, precision, tokenizer_path = graph.shape, graph.precision, graph.folder / TOKENIZER_FILE
    exported = Session(graph.folder / MODEL_FILE)
    text = probe(tokenizer_path, graph.template, shape)
    reference = over_kept_rows(reference, graph, read(exported, text.ids[:1], exported.empty_cache())[0][0])
    (hidden,) = reference.hidden([text.ids])
    bounds, late = text.bounds(shape.sliding_window), text.late(shape.sliding_window)
    cached = compare(reference, hidden, bounds, _read_all(exported, text.ids, bounds)).distance
    uncached = compare(reference, hidden, late, _read_late(exported, text.ids, late)).distance
    check_distances(cached, uncached, precision)
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    prompts = [tokenizer.encode(question).ids[: shape.context_length - GREEDY_TOKENS] for question in QUESTIONS]
    equal = greedy_agreement(reference, exported, prompts, GREEDY_TOKENS)
    parity = parity_of(cached, uncached, len(text.ids), (equal, len(prompts) * GREEDY_TOKENS))
    check_tokens(parity, precision)
    return parity


def logit_distance(reference: Reference, exported: Session, ids: list[int], window: int) -> Distance:
    """The distance of all logits of ``ids``, read in chunks over a cache.

    ``window`` is the sliding window in tokens: chunks end just before, at and just after it.
    """
    (hidden,) = reference.hidden([ids])
    bounds = chunks(len(ids), window)
    return compare(reference, hidden, bounds, _read_all(exported, ids, bounds)).distance


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
class Comparison:
    """A distance, and the likeliest token of every row by the reference and by the graph."""

    distance: Distance
    expected: NDArray[np.int64]
    found: NDArray[np.int64]


def compare(
    reference: Reference,
    hidden: torch.Tensor,
    bounds: Iterable[tuple[int, int]],
    logits: Iterable[NDArray[np.float32]],
) -> Comparison:
    """Holds ``logits`` of the rows between each of ``bounds`` against those of ``hidden``."""
    rows, expected, found = [], [], []
    for (start, end), block in zip(bounds, logits, strict=True):
        wanted = reference.logits(hidden[start:end])
        rows.append(row_distances(wanted, block))
        expected.append(wanted.argmax(-1))
        found.append(block.argmax(-1))
    every = RowDistances(*np.concatenate(rows, axis=1))
    _, mean, divergence, top1, agreed = (float(values.mean()) for values in every)
    distance = Distance(float(every.worst.max()), mean, divergence, top1, agreed)
    return Comparison(distance, np.concatenate(expected), np.concatenate(found))


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


def check_distances(cached: Distance, uncached: Distance, precision: PrecisionName) -> None:
    """Raises a `BundleError` where a distance is beyond the `LIMITS` of ``precision``."""
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
        if distance.agreed < limits.agreed:
            raise _wrong(
                f"its likeliest token{how} is the checkpoint's, or one that this finds half as likely, at"
                f" {distance.agreed:.1%} of the positions ({distance.top1:.1%} are the checkpoint's), the limit in"
                f" {precision} is {limits.agreed:.0%}"
            )


def check_tokens(parity: Parity, precision: PrecisionName) -> None:
    """Raises a `BundleError` where tokens differ that must not in ``precision``."""
    if LIMITS[precision].same_tokens and parity.greedy_equal != parity.greedy_tokens:
        raise _wrong("it decodes other tokens than the checkpoint")


def parity_of(
    cached: Distance, uncached: Distance, positions: int, tokens: tuple[int, int], *, forced: bool = False
) -> Parity:
    """The report of both distances, and of how many tokens are equal, of how many."""
    return Parity(
        reference=f"torch {torch.__version__} fp32",
        positions=positions,
        max_logit_diff=cached.worst,
        mean_logit_diff=cached.mean,
        greedy_equal=tokens[0],
        greedy_tokens=tokens[1],
        kl_divergence=cached.divergence,
        top1_agreement=cached.top1,
        uncached_max_logit_diff=uncached.worst,
        uncached_kl_divergence=uncached.divergence,
        teacher_forced=forced,
    )


class RowDistances(NamedTuple):
    """Of every row, float64 [rows]: largest and mean difference, divergence in nats, 1 where the likeliest token is the
    same, and 1 where it is `AGREED`."""

    worst: NDArray[np.float64]
    mean: NDArray[np.float64]
    divergence: NDArray[np.float64]
    top1: NDArray[np.float64]
    agreed: NDArray[np.float64]


def row_distances(expected: NDArray[np.float32], found: NDArray[np.float32]) -> RowDistances:
    """How far the logits ``found`` [rows, vocab] are from those that were ``expected``."""
    difference = np.abs(expected - found)
    mean = difference.mean(-1, dtype=np.float64, where=expected != REMOVED_LOGIT)
    chances, others = (_log_softmax(logits) for logits in (expected, found))
    divergence = (np.exp(chances) * (chances - others)).sum(-1)
    likeliest = found.argmax(-1)
    lead = expected.max(-1) - np.take_along_axis(expected, likeliest[:, None], -1)[:, 0]
    same = (expected.argmax(-1) == likeliest).astype(np.float64)
    agreed = (lead <= AGREED).astype(np.float64)
    return RowDistances(difference.max(-1).astype(np.float64), mean, divergence, same, agreed)


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = (logits - logits.max(-1, keepdims=True)).astype(np.float64)
    normed: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return normed


def _wrong(what: str) -> BundleError:
    return BundleError(f"the bundle is too far from its checkpoint: {what}")
