"""What the parity gate reads: a prompt of the product, the beginning of an answer, and more, past the window."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from ..runtime.manifest import Architecture
from ..runtime.prompt import Prompt
from .calibration import QUESTIONS

# The answer to the first question, as DAGGER writes it: what the model is given where decoding would read all weights
# for every token.
_ANSWER = """```json
{
  "nodes": [
    {"id": "n1", "op": "const", "val": 12, "distractor": true, "label": "রহিমের আম"},
    {"id": "n2", "op": "const", "val": 5, "distractor": false, "label": "বিক্রি করা আম"},
    {"id": "n3", "op": "const", "val": 7.5, "distractor": false, "label": "প্রতিটি আমের দাম"},
"""
_ANSWER_TOKENS = 48
_JUDGED_WITHOUT_ANSWER = 16
_BEYOND_WINDOW = 32
_CHUNK_TOKENS = 61


@dataclass(frozen=True, slots=True)
class Probe:
    """Token ids that a model is measured on.

    Attributes:
        ids: all of them; the model's context may have cut them short.
        prompt: how many are the prompt with the question.
        answer: how many after these are an answer's.
    """

    ids: list[int]
    prompt: int
    answer: int

    @property
    def given(self) -> range:
        """The positions whose likeliest token is looked at: those before each token of the answer, which is given
        whatever the model would have said; without an answer the last ones."""
        if self.answer:
            return range(self.prompt - 1, self.prompt - 1 + self.answer)
        return range(max(0, len(self.ids) - _JUDGED_WITHOUT_ANSWER), len(self.ids))

    def bounds(self, window: int) -> list[tuple[int, int]]:
        """`chunks` of all tokens, with single steps through the answer."""
        return chunks(len(self.ids), window, self.given)

    def late(self, window: int) -> list[tuple[int, int]]:
        """Blocks of the positions that are compared without a cache too: all from the answer or before the window on.

        At Gemma's vocabulary, logits of all of them at once are gigabytes.
        """
        start, length = min(self.given.start, max(0, window - 2)), len(self.ids)
        return [(first, min(first + _CHUNK_TOKENS, length)) for first in range(start, length, _CHUNK_TOKENS)]


def probe(tokenizer: Path, template: str, shape: Architecture) -> Probe:
    """The first of `QUESTIONS` inside ``template``, 48 tokens of its answer, and questions until the sliding window is
    passed, as far as the context goes.

    Args:
        tokenizer: path of ``tokenizer.json``.
        template: the prompt template, with ``{question}``.
        shape: the architecture in the manifest.
    """
    encoder = Tokenizer.from_file(str(tokenizer))
    ids = Prompt(encoder, template).encode(QUESTIONS[0])
    prompt = len(ids)
    ids += _encode(encoder, _ANSWER)[:_ANSWER_TOKENS]
    answered, wanted = len(ids), min(shape.sliding_window + _BEYOND_WINDOW, shape.context_length)
    for number in itertools.count(1):
        if len(ids) >= wanted:
            break
        ids += _encode(encoder, f"\n{number}. {QUESTIONS[number % len(QUESTIONS)]}")
    ids = ids[: shape.context_length]
    return Probe(ids, min(prompt, len(ids)), max(0, min(answered, len(ids)) - prompt))


def chunks(length: int, window: int, single: range = range(0)) -> list[tuple[int, int]]:
    """Bounds of steps that cover ``length`` tokens: of 61 at most, ending just before, at and just after ``window``,
    and after each token of ``single``."""
    edges = (window - 1, window, window + 1, *(index + 1 for index in single))
    inner = (edge for edge in edges if 0 < edge < length)
    return list(itertools.pairwise(sorted({*range(0, length, _CHUNK_TOKENS), *inner, length})))


def _encode(encoder: Tokenizer, text: str) -> list[int]:
    ids: list[int] = encoder.encode(text, add_special_tokens=False).ids
    return ids
