"""A fake model that wants to write anything but a graph, and the demo's tokenizer for it to write with."""

import os
from functools import cache
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

import dagger_edge
from dagger_edge.runtime.decode import Limits, decode
from dagger_edge.runtime.grammar import GraphGrammar
from dagger_edge.runtime.logits import LAST
from dagger_edge.runtime.spelling import Spelling

DEMO = Path(dagger_edge.__file__).parent / "bundles" / "demo"
RUNS = int(os.environ.get("DAGGER_EDGE_ADVERSARIAL_RUNS", "210"))
GEMMA = os.environ.get("DAGGER_EDGE_GEMMA_TOKENIZER")
# Models have rows for more ids than tokenizers, Gemma 3's 4B 63 of them, and now and then for fewer.
PADDING = 63
# Rows of logits that a model has: those of its steps are these, in an order of its own.
_ROWS = 32


@cache
def spelling(path=DEMO / "tokenizer.json"):
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True
    return Spelling(tokenizer, tokenizer.token_to_id("<end_of_turn>"))


class Adversary:
    """A `decode.Reader`; its logits depend on the run's seed and the position alone.

    Args:
        spelled: by which tokens are told apart.
        kind: of `KINDS`.
        seed: of the run.
        size: rows of the output head.
    """

    def __init__(self, spelled, kind, seed, size=None):
        self.length = 0
        self._rng = np.random.default_rng(seed)
        self._size = spelled.size + PADDING if size is None else size
        self._noise = _noise(self._size)
        self._order = self._rng.permutation(_ROWS)
        self._base = KINDS[kind](self._rng, _texts(spelled, self._size))
        self._alternating = kind == "alternating"
        self._weight = 0 if kind in ("constant", "spiked and nothing else") else 1

    def feed(self, ids, at=LAST, core=()):
        self.length += len(ids)
        return np.stack([self._logits(position) for position in np.array(at) + self.length])

    def rewind(self, length):
        self.length = min(length, self.length)

    def _logits(self, position):
        noise = self._noise[self._order[position % _ROWS]]
        if self._alternating:
            noise = self._noise[0] * (-1) ** position
        return (self._base + self._weight * noise).astype(np.float32)


@cache
def _noise(size):
    return np.random.default_rng(size).standard_normal((_ROWS, size), np.float32)


@cache
def _texts(spelled, size):
    """What every id of a head of ``size`` rows spells, as far as it is UTF-8; nothing for those that have no token."""
    return [spelled.spell([index]) if index < spelled.size else b"" for index in range(size)]


def _lengths(texts, sign):
    return sign * 3.0 * np.minimum([len(text) for text in texts], 40)


def _liked(texts, like):
    return 20.0 * np.array([bool(like(text)) for text in texts])


def _spike(rng, texts):
    base = np.zeros(len(texts))
    base[rng.integers(len(texts))] = 100
    return base


def _letters(text):
    """Labels and ids without end: words, and nothing that closes anything."""
    return text.decode(errors="replace").strip().isalpha() and len(text) > 2


def _slowness(text):
    """As many tokens as can be: all fields are as long as they may be, and spelled byte by byte."""
    if len(text) != 1:
        return -10.0 * len(text)
    return 30 if text[0] > 127 else 20 if text.isalnum() or text in b"_.-" else 10


# What the logits are, besides noise: by generator of random numbers and what ids spell.
KINDS = {
    "random": lambda rng, texts: np.zeros(len(texts)),
    "constant": lambda rng, texts: np.zeros(len(texts)),
    "alternating": lambda rng, texts: np.zeros(len(texts)),
    "spiked": _spike,
    "spiked and nothing else": _spike,
    "longest": lambda rng, texts: _lengths(texts, 1),
    "shortest": lambda rng, texts: _lengths(texts, -1) - 1000.0 * np.array([not text for text in texts]),
    "digits": lambda rng, texts: _liked(texts, bytes.isdigit),
    "words": lambda rng, texts: _liked(texts, _letters),
    "single bytes": lambda rng, texts: _liked(texts, lambda text: len(text) == 1),
    "parts of characters": lambda rng, texts: _liked(texts, lambda text: len(text) == 1 and text[0] > 127),
    "slow": lambda rng, texts: np.array([_slowness(text) for text in texts]),
    "quotes": lambda rng, texts: _liked(texts, lambda text: b'"' in text),
    "signs": lambda rng, texts: _liked(texts, lambda text: not text.decode(errors="replace").isalnum()),
    "never allowed": lambda rng, texts: _liked(texts, lambda text: not text or text[:1] in b"<[{`\\\n"),
}


class Watched(GraphGrammar):
    """A grammar that keeps what it has left where labels begin.

    Attributes:
        left: tokens, and whether the label is the last.
    """

    def __init__(self, spelled, budget):
        self.left = []
        super().__init__(spelled, budget)

    def _begin_label(self, *place):
        super()._begin_label(*place)
        self.left.append((self._left, self._is_last))


def write(spelled, model, budget, **options):
    """The grammar after a graph of at most ``budget`` tokens that ``model`` wrote, and its ids."""
    grammar, ids = Watched(spelled, budget), []
    decoding = decode(model, [2], Limits((), budget, 1 << 20), constraint=grammar, **options)
    for emitted in decoding:
        ids += emitted.ids
    return grammar, ids
