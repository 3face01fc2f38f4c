"""Whether this machine computes what the export measured: making a known answer, and comparing with it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from .errors import BundleError
from .known_answer import KnownAnswer
from .manifest import PrecisionName
from .session import REMOVED_LOGIT, Session, Start

_NEW_TOKENS, _TOP = 16, 8
# By how many standard deviations of the logits (of one position) two right machines may differ. Measured on Gemma 3
# 270M: see docs/export.md. Another model is off by one and more.
_TOLERANCE: dict[PrecisionName, float] = {"fp32": 0.002, "fp16": 0.05, "int8": 0.5, "int4": 0.5}


class Agreement(Struct, frozen=True):
    """How a machine's logits compare with the known answer's: the largest difference at the tokens that the answer
    names, the tolerance, and at how many of ``tokens`` steps the token that was likeliest is so here too."""

    max_logit_diff: float
    tolerance: float
    tokens: int
    equal: int


def measure_known_answer(
    session: Session,
    question: str,
    prompt: Sequence[int],
    context: int,
    precision: PrecisionName,
    start: Start | None = None,
) -> KnownAnswer | None:
    """What the model of ``session`` says after ``prompt``, the ids of ``question``, whose beginning ``start`` may hold;
    None where ``context`` tokens leave no room for it.

    Raises:
        ModelError: onnxruntime fails.
    """
    count = min(_NEW_TOKENS, context - len(prompt))
    if count < 1:
        return None
    cache, read = start or (session.empty_cache(), 0)
    feed = list(prompt[read:])
    answer, rows = [], []
    for _ in range(count):
        logits, cache = session.step(np.array([feed], np.int64), cache)
        rows.append(logits[0, -1])
        feed = [int(rows[-1].argmax())]
        answer += feed
    return known_answer_of(question, prompt, answer, rows, precision, read)


def known_answer_of(
    question: str,
    prompt: Sequence[int],
    answer: Sequence[int],
    rows: Sequence[NDArray[np.float32]] | NDArray[np.float32],
    precision: PrecisionName,
    prefix_tokens: int = 0,
) -> KnownAnswer:
    """What a model said after ``prompt``, the ids of ``question``, where it was then given ``answer`` token by token:
    ``rows`` are the logits [vocab] before each of these. The first ``prefix_tokens`` were a snapshot's."""
    top = [np.argsort(-row, kind="stable")[:_TOP] for row in rows]
    return KnownAnswer(
        question,
        tuple(prompt),
        tuple(answer),
        tuple(tuple(ids.tolist()) for ids in top),
        tuple(tuple(row[ids].tolist()) for row, ids in zip(rows, top, strict=True)),
        tolerance=_TOLERANCE[precision] * float(np.mean([row[row != REMOVED_LOGIT].std() for row in rows])),
        prefix_tokens=prefix_tokens,
    )


def compare_known_answer(session: Session, known: KnownAnswer, start: Start | None = None) -> Agreement:
    """Feeds the known prompt, whose beginning ``start`` may hold, then the known tokens one by one, and compares the
    logits.

    Raises:
        BundleError: they differ by more than the tolerance, or are not finite.
        ModelError: onnxruntime fails.
    """
    cache, read = start or (session.empty_cache(), 0)
    feed = list(known.prompt_ids[read:])
    worst, equal = 0.0, 0
    for token, ids, expected in zip(known.answer_ids, known.top_ids, known.top_logits, strict=True):
        logits, cache = session.step(np.array([feed], np.int64), cache)
        row: NDArray[np.float32] = logits[0, -1]
        differences = np.abs(row[list(ids)] - np.array(expected))
        # A token that is not among those may not be far above them either.
        above = row.max() - max(expected)
        # Unlike Python's maximum, numpy's keeps NaN.
        worst = float(np.max([worst, above, *differences]))
        # The likeliest at export: the answer's own token, but where a fixed text was given instead.
        equal += int(row.argmax()) == ids[0]
        feed = [token]
        if not np.isfinite(worst):
            break
    agreement = Agreement(worst, known.tolerance, len(known.answer_ids), equal)
    if not worst <= known.tolerance:
        raise BundleError(
            f"this machine does not compute what the export measured: logits differ by {worst:.3g}, allowed are"
            f" {known.tolerance:.3g}; another onnxruntime may help, else export the bundle again"
        )
    return agreement
