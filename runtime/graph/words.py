"""Bengali number words and their exact values, read with the tables of `vocabulary`.

A word is read as stems and an ending ("পাঁচশোটি" is পাঁচ, শো and the ending টি); a number is a run of such parts
("দুই হাজার পাঁচশো বিশ"). Words are matched whole, never inside another one, so that তিনি (he) is not three.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

from msgspec import Struct

from .vocabulary import (
    AFTER,
    DATE_TAIL,
    DIGIT_ORDINAL,
    DIGIT_ORDINALS,
    ENDING,
    FIRST_LETTERS,
    LONGEST,
    REJECTED,
    STEMS,
    UNSURE,
    Kind,
    Part,
    normalise,
)

# No number word is longer, with any ending; longer tokens are not looked at.
MAX_WORD = 40
_MAX_PARTS = 4


class NumberWord(Struct, frozen=True):
    """A word that is a number: its parts, its ending (classifier and case) and whether it may be another word."""

    parts: tuple[Part, ...]
    ending: str = ""
    ambiguous: bool = False

    @property
    def ordinal(self) -> bool:
        """Whether it is a place in a row (তৃতীয়, একশতম)."""
        return self.parts[-1].kind == "ordinal" or self.ending.startswith(("তম", "ম"))


def read_word(word: str) -> NumberWord | None:
    """The number that ``word`` (one token, any of its spellings) is, or None."""
    if len(word) > MAX_WORD or word[:1] not in FIRST_LETTERS:
        return None
    return _read_spelling(word)


# Questions repeat their words; a short cache halves the time of a long one.
@lru_cache(maxsize=1024)
def _read_spelling(word: str) -> NumberWord | None:
    word = normalise(word)
    if word in REJECTED:
        return None
    parts, rest = _stems(word, None)
    ending = ENDING.fullmatch(rest)
    if not parts or ending is None or (parts[-1].bound and not ending["classifier"]):
        return None
    return NumberWord(parts, rest, word in UNSURE)


def read_tail(word: str) -> NumberWord | None:
    """What ``word`` means right behind digits (টি, হাজার, গুণ, শতাংশ, ৩ and য় for third), or None."""
    if len(word) > MAX_WORD:
        return None
    word = normalise(word)
    if word == DATE_TAIL:
        return NumberWord((), word)
    if word in DIGIT_ORDINALS:
        return NumberWord((DIGIT_ORDINAL,), word)
    parts, rest = _stems(word, "number")
    return NumberWord(parts, rest) if ENDING.fullmatch(rest) else None


def has_classifier(word: str) -> bool:
    """Whether ``word`` is a classifier, with or without case endings: the word before it is a number."""
    if len(word) > MAX_WORD:
        return False
    match = ENDING.fullmatch(normalise(word))
    return match is not None and bool(match["classifier"])


def read_run(parts: Sequence[Part]) -> tuple[Fraction, int, tuple[Fraction, ...]]:
    """The longest number that ``parts`` begin with: its value, how many parts it takes, and the values inside it.

    Zero parts: they begin with no number.
    """
    run = _Run()
    for index, part in enumerate(parts):
        if not run.take(part):
            return run.value, index if run.complete else 0, tuple(run.pieces)
    return run.value, len(parts) if run.complete else 0, tuple(run.pieces)


def word_value(text: str) -> Fraction | None:
    """The value of ``text`` where all of it is one number in words, else None: ``"সাড়ে তিনশো"`` is 350."""
    words = [read_word(word) for word in re.split(r"[\s-]+", text.strip()) if word]
    if not words or None in words:
        return None
    parts = [part for word in words if word is not None for part in word.parts]
    if len(parts) == 1 and parts[0].kind == "ordinal":
        return parts[0].value
    value, used, _ = read_run(parts)
    return value if used == len(parts) else None


class _Run:
    """The value of a number, part by part.

    ``current`` is what the next scale multiplies, ``floor`` the lowest scale so far, ``shift`` the half or
    quarter that waits for its number.
    """

    def __init__(self) -> None:
        self.total = Fraction(0)
        self.current: Fraction | None = None
        self.floor: Fraction | None = None
        self.shift: Fraction | None = None
        self.last: Kind | None = None
        self.pieces: list[Fraction] = []

    @property
    def value(self) -> Fraction:
        if self.last == "plus" and self.shift is not None:
            return 1 + self.shift
        return self.total + (self.current or 0)

    @property
    def complete(self) -> bool:
        # "সোয়া" and "পৌনে" alone are 1 1/4 and 3/4; "সাড়ে" alone is nothing.
        return self.last is not None and not (self.last == "plus" and self.shift == Fraction(1, 2))

    def take(self, part: Part) -> bool:
        """Add ``part``; False, and no change, where the number has ended before it."""
        if part.kind == "score":
            part = Part("measure" if self.last == "number" and not self.total else "number", part.value)
        if not self._fits(part):
            return False
        if part.kind == "plus":
            self.shift = part.value
        elif part.kind in {"number", "half"}:
            self.current = (self.current or 0) + part.value + (self.shift or 0)
            self.shift = None
        elif part.kind == "hundred":
            self.current = self._coefficient() * part.value
        elif part.kind == "scale":
            self._take_scale(part.value)
        else:
            self.total, self.current = (self._coefficient() + self.total) * part.value, None
        if part.kind not in {"plus", "percent"}:
            self.pieces.append(part.value)
        self.last = part.kind
        return True

    def _fits(self, part: Part) -> bool:
        if part.kind == "plus":
            return self.last is None
        if part.kind == "ordinal" or self.last in {"measure", "share", "percent"}:
            return False
        if part.kind in {"number", "half"}:
            return self._fits_number(part.value)
        if part.kind == "hundred":
            return self.last in {"number", "plus", None} and (self.current is None or self.current < 100)
        if part.kind == "scale" and self.floor is not None:
            return part.value > self.floor if self.current is None else part.value < self.floor
        return True

    def _fits_number(self, value: Fraction) -> bool:
        if self.last == "hundred":
            return value < 100 and self.shift is None
        if self.last == "scale":
            return self.floor is not None and value < self.floor
        return self.last in {None, "plus"}

    def _take_scale(self, scale: Fraction) -> None:
        if self.current is None and self.total:
            self.total *= scale
        else:
            self.total += self._coefficient() * scale
        self.pieces.append(self.total)
        self.floor = scale if self.floor is None else min(self.floor, scale)
        self.current = None

    def _coefficient(self) -> Fraction:
        if self.current is None:
            shift, self.shift = self.shift, None
            return Fraction(0) if self.total else 1 + (shift or Fraction(0))
        return self.current


def _stems(word: str, before: Kind | None) -> tuple[tuple[Part, ...], str]:
    """The stems that ``word`` begins with, longest first, and what is left of it."""
    parts: list[Part] = []
    while word and len(parts) < _MAX_PARTS:
        for length in range(min(len(word), LONGEST), 0, -1):
            part = STEMS.get(word[:length])
            if part is not None and (before is None or part.kind in AFTER.get(before, frozenset())):
                break
        else:
            break
        parts.append(part)
        word, before = word[length:], part.kind
    return tuple(parts), word
