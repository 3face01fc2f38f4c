"""The parity gate: the exported graph in onnxruntime against the checkpoint in torch fp32.

A graph can load, run and answer garbage (a window off by one, a missing scale), so every export is measured:
logits of every position of a prompt longer than the sliding window, read in chunks that stop at the window's
edge; and greedy decoding with a cache, without one, and by torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ..runtime.bundle import MODEL_FILE, TOKENIZER_FILE
from ..runtime.errors import BundleError
from ..runtime.manifest import Architecture, Parity, PrecisionName
from ..runtime.prompt import PLACEHOLDER
from ..runtime.session import REMOVED_LOGIT, Cache, Session
from .calibration import QUESTIONS

# Measured on Gemma 3 270M in fp32: 4e-4 and 2e-10. A wrong graph is off by whole units.
MAX_LOGIT_DIFF = 1e-2
MAX_DIVERGENCE: dict[PrecisionName, float] = {"fp32": 1e-6, "fp16": 0.02, "int8": 0.2, "int4": 2.0}
GREEDY_TOKENS = 16

_CHUNK_TOKENS = 61
_BEYOND_WINDOW = 32


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
class CutReference:
    """A reference whose head lacks the rows that are True in ``removed`` [vocab]."""

    reference: Reference
    removed: NDArray[np.bool_]

    def hidden(self, sequences: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """As of `Reference`."""
        return self.reference.hidden(sequences)

    def logits(self, hidden: torch.Tensor) -> NDArray[np.float32]:
        """As of `Reference`; those of removed rows are as in a graph."""
        logits = self.reference.logits(hidden)
        logits[:, self.removed] = REMOVED_LOGIT
        return logits


def over_kept_rows(reference: Reference, exported: Session, shape: Architecture, head_rows: int | None) -> Reference:
    """``reference`` with the rows alone that the head of ``exported`` keeps; None is all.

    Raises:
        BundleError: the head has another number of rows.
    """
    if head_rows is None:
        return reference
    removed = read(exported, [0], exported.empty_cache())[0][0] == REMOVED_LOGIT
    if shape.vocab_size - removed.sum() != head_rows:
        raise _wrong(f"its head has {shape.vocab_size - removed.sum()} rows, not {head_rows}")
    return CutReference(reference, removed)


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


def measure_parity(
    reference: Reference,
    folder: Path,
    shape: Architecture,
    template: str,
    precision: PrecisionName = "fp32",
    head_rows: int | None = None,
) -> Parity:
    """Compares the graph in ``folder`` with ``reference`` on Bengali prompts made of ``template``.

    Args:
        reference: the checkpoint in fp32.
        folder: holds the graph, its weights and ``tokenizer.json``.
        shape: the architecture in the manifest.
        template: the prompt template, with ``{question}``.
        precision: of the graph; it says how far the graph may be from the reference.
        head_rows: how many rows its head keeps, which alone are compared; None is all.

    Raises:
        BundleError: logits are not finite, or too far from the reference; its head has another number of rows; or,
            in fp32, a greedily decoded token differs.
    """
    exported = Session(folder / MODEL_FILE)
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    longest = _long_prompt(tokenizer, template, shape)
    reference = over_kept_rows(reference, exported, shape, head_rows)
    distance = logit_distance(reference, exported, longest, shape.sliding_window)
    if not np.isfinite(distance.worst):
        raise _wrong("it gives logits that are not finite" + ("; export in fp32" if precision == "fp16" else ""))
    if precision == "fp32" and distance.worst > MAX_LOGIT_DIFF:
        raise _wrong(
            f"its logits differ from the checkpoint's by up to {distance.worst:.3g}, the limit is {MAX_LOGIT_DIFF:g}"
        )
    if distance.divergence > MAX_DIVERGENCE[precision]:
        raise _wrong(
            f"its logits differ from the checkpoint's by {distance.divergence:.3g} nats (Kullback-Leibler), the limit"
            f" in {precision} is {MAX_DIVERGENCE[precision]:g}"
        )
    prompts = [tokenizer.encode(question).ids[: shape.context_length - GREEDY_TOKENS] for question in QUESTIONS]
    equal = greedy_agreement(reference, exported, prompts, GREEDY_TOKENS)
    tokens = len(prompts) * GREEDY_TOKENS
    if precision == "fp32" and equal < tokens:
        raise _wrong("it decodes other tokens than the checkpoint")
    return Parity(
        reference=f"torch {torch.__version__} fp32",
        positions=len(longest),
        max_logit_diff=distance.worst,
        mean_logit_diff=distance.mean,
        greedy_tokens=tokens,
        greedy_equal=equal,
        kl_divergence=distance.divergence,
        top1_agreement=distance.top1,
    )


def logit_distance(reference: Reference, exported: Session, ids: list[int], window: int) -> Distance:
    """The distance of all logits of ``ids``, read in chunks over a cache.

    ``window`` is the sliding window in tokens: chunks end just before, at and just after it.
    """
    (hidden,) = reference.hidden([ids])
    rows, cache = [], exported.empty_cache()
    for start, end in _chunks(len(ids), window):
        # Logits chunk by chunk: at Gemma's vocabulary, all of them at once are gigabytes.
        logits, cache = read(exported, ids[start:end], cache)
        rows.append(_row_distances(reference.logits(hidden[start:end]), logits))
    worst, mean, divergence, top1 = np.concatenate(rows, axis=1)
    return Distance(float(worst.max()), float(mean.mean()), float(divergence.mean()), float(top1.mean()))


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


def _row_distances(expected: NDArray[np.float32], found: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of every row: largest and mean difference, divergence, and 1 where the likeliest token is the same."""
    difference = np.abs(expected - found)
    mean = difference.mean(-1, dtype=np.float64, where=expected != REMOVED_LOGIT)
    chances, others = (_log_softmax(logits) for logits in (expected, found))
    divergence = (np.exp(chances) * (chances - others)).sum(-1)
    same = expected.argmax(-1) == found.argmax(-1)
    return np.stack([difference.max(-1), mean, divergence, same])


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = (logits - logits.max(-1, keepdims=True)).astype(np.float64)
    normed: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return normed


def _wrong(what: str) -> BundleError:
    return BundleError(f"the graph is not the checkpoint's model: {what}")


def _long_prompt(tokenizer: Tokenizer, template: str, shape: Architecture) -> list[int]:
    """Ids of a prompt that is longer than the sliding window, where the model's context allows it."""
    wanted = min(shape.sliding_window + _BEYOND_WINDOW, shape.context_length)
    ids: list[int] = tokenizer.encode(template.replace(PLACEHOLDER, QUESTIONS[0])).ids
    for number in range(1, wanted):
        if len(ids) >= wanted:
            break
        text = f"\n{number}. {QUESTIONS[number % len(QUESTIONS)]}"
        ids = ids + tokenizer.encode(text, add_special_tokens=False).ids
    return ids[: shape.context_length]


def _chunks(length: int, window: int) -> Iterator[tuple[int, int]]:
    """Bounds of chunks that cover ``length``, with single steps around ``window``."""
    edges = (edge for edge in (window - 1, window, window + 1) if 0 < edge < length)
    return itertools.pairwise(sorted({*range(0, length, _CHUNK_TOKENS), *edges, length}))
