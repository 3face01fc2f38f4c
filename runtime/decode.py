"""Greedy decoding over token ids: with the KV cache, and the slow way that it is held against.

Knows nothing of text. A decode is a generator: one step, one ``yield``; closing it stops the work.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import ModelError, UsageError
from .session import Cache

# Why a decode ended: a stop token, or the limit on new tokens, or the end of the model's context.
Stop = Literal["stop", "max_new_tokens", "context"]
Decode = Generator[int, None, Stop]


class Start(NamedTuple):
    """The beginning of a prompt that need not be read: its cache, and of how many ids that is."""

    cache: Cache
    length: int


class Decoder(Protocol):
    """What decoding needs of a model: `Session`, or a fake of a few lines in a test."""

    def empty_cache(self) -> Cache:
        """The cache before the first token."""

    def step(self, ids: NDArray[np.int64], cache: Cache) -> tuple[NDArray[np.float32], Cache]:
        """Logits [1, step, vocab] for ``ids`` [1, step] after ``cache``, and the longer cache."""


def decode_greedy(
    model: Decoder,
    prompt: Sequence[int],
    *,
    stop_ids: Collection[int],
    max_new_tokens: int,
    context: int,
    start: Start | None = None,
) -> Decode:
    """Yields the likeliest token, step by step; the stop token is not yielded.

    Args:
        model: gives logits and keeps the cache.
        prompt: ids to prefill, those of ``start`` included.
        stop_ids: ids that end the decode.
        max_new_tokens: ids to yield at most.
        context: positions that the model has, prompt included.
        start: the beginning of ``prompt``, where it was read already; less than all of it.

    Raises:
        UsageError: the limits leave no room for a single new token.
        ModelError: the logits are not finite.
    """
    check_limits(prompt, context, max_new_tokens)
    cache, read = start or (model.empty_cache(), 0)
    feed = list(prompt[read:])
    for position in range(len(prompt), len(prompt) + max_new_tokens):
        if position >= context:
            return "context"
        logits, cache = model.step(np.array([feed], np.int64), cache)
        token = greedy_token(logits[0, -1])
        if token in stop_ids:
            return "stop"
        yield token
        feed = [token]
    return "max_new_tokens"


def decode_naive(
    model: Decoder, prompt: Sequence[int], *, stop_ids: Collection[int], max_new_tokens: int, context: int
) -> Decode:
    """`decode_greedy` without a cache: every step reads the whole sequence again. The oracle of the tests."""
    check_limits(prompt, context, max_new_tokens)
    ids = list(prompt)
    for _ in range(max_new_tokens):
        if len(ids) >= context:
            return "context"
        logits, _ = model.step(np.array([ids], np.int64), model.empty_cache())
        token = greedy_token(logits[0, -1])
        if token in stop_ids:
            return "stop"
        yield token
        ids.append(token)
    return "max_new_tokens"


def greedy_token(logits: NDArray[np.float32]) -> int:
    """The index of the largest of ``logits`` [vocab], the first of equals.

    Raises:
        ModelError: a logit is NaN or infinite.
    """
    if not np.isfinite(logits).all():
        raise ModelError("the model returned logits that are not finite: verify the bundle, or export it again")
    return int(logits.argmax())


def check_limits(prompt: Sequence[int], context: int, max_new_tokens: int) -> None:
    """Refuses a prompt that fills the context, and a limit that allows no token.

    Raises:
        UsageError: with the numbers.
    """
    if max_new_tokens < 1:
        raise UsageError(f"max_new_tokens is {max_new_tokens}: it must be 1 or more")
    if len(prompt) >= context:
        raise UsageError(
            f"the question makes a prompt of {len(prompt):,} tokens, the model's context is {context:,}: shorten it"
        )
