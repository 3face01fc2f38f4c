"""The parity gate: the exported graph in onnxruntime against the checkpoint in torch, both in fp32.

A graph can load, run and answer garbage (a window off by one, a missing scale), so every export is measured:
logits of every position of a prompt longer than the sliding window, read in chunks that stop at the window's
edge; and greedy decoding with a cache, without one, and by torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ..runtime.bundle import MODEL_FILE, TOKENIZER_FILE
from ..runtime.errors import BundleError
from ..runtime.manifest import Architecture, Parity
from ..runtime.prompt import PLACEHOLDER
from ..runtime.session import Cache, Session

# Measured on Gemma 3 270M: 4e-4. A wrong graph is off by whole units.
MAX_LOGIT_DIFF = 1e-2
GREEDY_TOKENS = 16

_CHUNK_TOKENS = 61
_BEYOND_WINDOW = 32
_QUESTIONS = (
    "রহিমের কাছে ১২টি আম ছিল। সে ৫টি আম বিক্রি করল এবং প্রতিটির দাম ৭.৫ টাকা। সে কত টাকা পেল?",
    "একটি বাগানে ৮ সারি গাছ আছে, প্রতি সারিতে ১৪টি গাছ। ঝড়ে ২৯টি গাছ ভেঙে গেলে কয়টি গাছ থাকে?",
    "সুমি প্রতিদিন 45 মিনিট পড়ে। তার ভাই প্রতিদিন 20 মিনিট খেলে। সুমি এক সপ্তাহে মোট কত ঘণ্টা পড়ে?",
)


def read(session: Session, ids: Sequence[int], cache: Cache) -> tuple[NDArray[np.float32], Cache]:
    """Logits float32 [len(ids), vocab] of ``ids`` after what ``cache`` holds, and the longer cache."""
    logits, longer = session.step(np.array([ids], np.int64), cache, keep=0)
    return logits[0], longer


def measure_parity(model: Any, folder: Path, shape: Architecture, template: str) -> Parity:
    """Compares the graph in ``folder`` with ``model`` on Bengali prompts made of ``template``.

    Args:
        model: the ``Gemma3ForCausalLM`` in fp32.
        folder: holds the graph, its weights and ``tokenizer.json``.
        shape: the architecture in the manifest.
        template: the prompt template, with ``{question}``.

    Raises:
        BundleError: a logit differs by more than `MAX_LOGIT_DIFF`, or a greedily decoded token differs.
    """
    exported = Session(folder / MODEL_FILE)
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    longest = _long_prompt(tokenizer, template, shape)
    worst, mean = logit_difference(model, exported, longest, shape.sliding_window)
    if not worst <= MAX_LOGIT_DIFF:
        raise BundleError(
            f"the exported graph is wrong: its logits differ from the checkpoint's by up to {worst:.3g}, the"
            f" limit is {MAX_LOGIT_DIFF:g}; no bundle was written"
        )
    for question in _QUESTIONS:
        prompt = tokenizer.encode(question).ids[: shape.context_length - GREEDY_TOKENS]
        if not greedy_agrees(model, exported, prompt, GREEDY_TOKENS):
            raise BundleError(
                "the exported graph is wrong: it decodes other tokens than the checkpoint; no bundle was written"
            )
    return Parity(
        reference=f"torch {torch.__version__} fp32",
        positions=len(longest),
        max_logit_diff=worst,
        mean_logit_diff=mean,
        greedy_tokens=len(_QUESTIONS) * GREEDY_TOKENS,
    )


def logit_difference(model: Any, exported: Session, ids: list[int], window: int) -> tuple[float, float]:
    """The largest and the mean absolute difference of all logits of ``ids``, read in chunks over a cache.

    ``window`` is the sliding window in tokens: chunks end just before, at and just after it. The largest is
    NaN if any logit is.
    """
    with torch.no_grad():
        hidden = model.model(torch.tensor([ids]), use_cache=False).last_hidden_state[0]
    worst, total, count = np.float32(0), 0.0, 0
    cache = exported.empty_cache()
    for start, end in _chunks(len(ids), window):
        # Logits chunk by chunk: at Gemma's vocabulary, all of them at once are gigabytes.
        logits, cache = read(exported, ids[start:end], cache)
        with torch.no_grad():
            difference = np.abs(logits - model.lm_head(hidden[start:end]).numpy())
        worst = np.maximum(worst, difference.max())  # unlike max(), it keeps NaN
        total += float(difference.sum(dtype=np.float64))
        count += difference.size
    return float(worst), total / count


def greedy_agrees(model: Any, exported: Session, prompt: list[int], count: int) -> bool:
    """Whether ``count`` tokens decoded greedily with a cache are also the graph's without one, and torch's.

    Without a cache it takes one pass: each token must be the most likely one after all before it.
    """
    ids, fed, cache = list(prompt), 0, exported.empty_cache()
    while len(ids) < len(prompt) + count:
        logits, cache = read(exported, ids[fed:], cache)
        fed = len(ids)
        ids.append(int(logits[-1].argmax()))
    decoded = np.array(ids[len(prompt) :])
    uncached = read(exported, ids[:-1], exported.empty_cache())[0][-count:].argmax(-1)
    with torch.no_grad():
        expected = model(torch.tensor([ids[:-1]]), use_cache=False, logits_to_keep=count).logits[0].argmax(-1)
    return bool((uncached == decoded).all() and (expected.numpy() == decoded).all())


def _long_prompt(tokenizer: Tokenizer, template: str, shape: Architecture) -> list[int]:
    """Ids of a prompt that is longer than the sliding window, where the model's context allows it."""
    wanted = min(shape.sliding_window + _BEYOND_WINDOW, shape.context_length)
    ids: list[int] = tokenizer.encode(template.replace(PLACEHOLDER, _QUESTIONS[0])).ids
    for number in range(1, wanted):
        if len(ids) >= wanted:
            break
        text = f"\n{number}. {_QUESTIONS[number % len(_QUESTIONS)]}"
        ids = ids + tokenizer.encode(text, add_special_tokens=False).ids
    return ids[: shape.context_length]


def _chunks(length: int, window: int) -> Iterator[tuple[int, int]]:
    """Bounds of chunks that cover ``length``, with single steps around ``window``."""
    edges = (edge for edge in (window - 1, window, window + 1) if 0 < edge < length)
    return itertools.pairwise(sorted({*range(0, length, _CHUNK_TOKENS), *edges, length}))
