"""Bengali number words and their exact values: cardinals, fractions, multiples, ordinals, units and endings.

A word is read as stems and an ending ("পাঁচশোটি" is পাঁচ, শো and the ending টি); a number is a run of such parts
("দুই হাজার পাঁচশো বিশ"). Words are matched whole, never inside another one, so that তিনি (he) is not three.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from msgspec import Struct

# number: a cardinal. share: the denominator of a fraction. measure: a unit that counts things, as the dozen.
# score: কুড়ি, a number or, behind one, a measure. plus: what shifts the number after it, as in "three and a half".
# half: a fraction that needs no numerator.
Kind = Literal["number", "score", "hundred", "scale", "plus", "half", "measure", "share", "percent", "ordinal"]

# No number word is longer, with any ending; longer tokens are not looked at.
MAX_WORD = 40
_MAX_PARTS = 4

# The values 0 to 99, one line a ten, variants joined by a slash. Spellings without chandrabindu, and ঊ or
# -ব্বুই for উ and -ব্বই, are added below.
_CARDINALS = """
শূন্য এক দুই তিন চার পাঁচ ছয় সাত আট নয়
দশ এগারো/এগার বারো/বার তেরো/তের চৌদ্দ/চোদ্দ/চৌদ্দো/চোদ্দো পনেরো/পনের/পনর ষোলো/ষোল সতেরো/সতের আঠারো/আঠার/আঠেরো/আঠের উনিশ
বিশ একুশ বাইশ তেইশ চব্বিশ পঁচিশ ছাব্বিশ সাতাশ আটাশ/আঠাশ উনত্রিশ/উনতিরিশ
ত্রিশ/তিরিশ একত্রিশ/একতিরিশ বত্রিশ তেত্রিশ চৌত্রিশ পঁয়ত্রিশ ছত্রিশ সাঁইত্রিশ/সাতত্রিশ আটত্রিশ উনচল্লিশ
চল্লিশ একচল্লিশ বিয়াল্লিশ তেতাল্লিশ চুয়াল্লিশ/চৌচল্লিশ পঁয়তাল্লিশ ছেচল্লিশ/ছিচল্লিশ সাতচল্লিশ আটচল্লিশ উনপঞ্চাশ
পঞ্চাশ একান্ন বাহান্ন/বায়ান্ন তিপ্পান্ন/তেপ্পান্ন চুয়ান্ন পঞ্চান্ন ছাপ্পান্ন সাতান্ন আটান্ন উনষাট
ষাট একষট্টি বাষট্টি তেষট্টি চৌষট্টি পঁয়ষট্টি ছেষট্টি/ছিষট্টি সাতষট্টি আটষট্টি উনসত্তর
সত্তর একাত্তর বাহাত্তর তিয়াত্তর/তেয়াত্তর চুয়াত্তর পঁচাত্তর ছিয়াত্তর সাতাত্তর আটাত্তর উনআশি/উনাশি
আশি একাশি বিরাশি তিরাশি চুরাশি পঁচাশি ছিয়াশি সাতাশি আটাশি/অষ্টাশি উননব্বই
নব্বই একানব্বই বিরানব্বই তিরানব্বই চুরানব্বই পঁচানব্বই ছিয়ানব্বই সাতানব্বই আটানব্বই নিরানব্বই
"""

_OTHERS: dict[Kind, str] = {
    "number": "দেড়=3/2 আড়াই=5/2 বারটি=12 বারটা=12 বারজন=12 জিরো=0",
    "score": "কুড়ি=20",
    "hundred": "শত=100 শো=100 শ=100",
    "scale": (
        "হাজার=1000 সহস্র=1000 লাখ=100000 লক্ষ=100000 নিযুত=1000000 মিলিয়ন=1000000 কোটি=10000000 "
        "বিলিয়ন=1000000000 ট্রিলিয়ন=1000000000000"
    ),
    "plus": "সাড়ে=1/2 সোয়া=1/4 সওয়া=1/4 পৌনে=-1/4",
    "half": "আধা=1/2 আধ=1/2 আদ্ধেক=1/2 অর্ধেক=1/2 অর্ধ=1/2 অর্ধাংশ=1/2 সিকি=1/4",
    "measure": "ডজন=12 হালি=4 জোড়া=2 জোড়=2 গ্রোস=144 পোয়া=1/4",
    "share": (
        "দ্বিতীয়াংশ=1/2 তৃতীয়াংশ=1/3 চতুর্থাংশ=1/4 পঞ্চমাংশ=1/5 ষষ্ঠাংশ=1/6 ষষ্ঠমাংশ=1/6 সপ্তমাংশ=1/7 সপ্তাংশ=1/7 "
        "অষ্টমাংশ=1/8 অষ্টাংশ=1/8 নবমাংশ=1/9 দশমাংশ=1/10 দশাংশ=1/10 একাদশাংশ=1/11 দ্বাদশাংশ=1/12 ষোড়শাংশ=1/16 "
        "বিংশাংশ=1/20 সহস্রাংশ=1/1000"
    ),
    "percent": "শতাংশ=1/100 পার্সেন্ট=1/100 পারসেন্ট=1/100",
    "ordinal": (
        "প্রথম=1 পয়লা=1 পহেলা=1 দ্বিতীয়=2 তৃতীয়=3 চতুর্থ=4 পঞ্চম=5 ষষ্ঠ=6 সপ্তম=7 অষ্টম=8 নবম=9 দশম=10 একাদশ=11 "
        "দ্বাদশ=12 ত্রয়োদশ=13 চতুর্দশ=14 পঞ্চদশ=15 ষোড়শ=16 সপ্তদশ=17 অষ্টাদশ=18 ঊনবিংশ=19 বিংশ=20"
    ),
}

# Short forms that are numbers only with a classifier or a scale behind them (দুটি, ছজন, নশো, দ্বিগুণ).
_BOUND = "দু=2 ছ=6 ন=9 দ্বি=2 ত্রি=3 চতুর্=4 দি=2"

# Whole words that the endings would let through: again and again, same, stuck, acre.
_NOT_NUMBERS = "বারবার বারেবারে একই একইরকম একে একেই আটকে একর একরে একরের দশা শত্রু লক্ষে"

# These are numbers or common other words (is not; a time): the neighbours decide.
_AMBIGUOUS = "নয় বার বারে বারের বারই লক্ষ জোড় অর্ধ"

_CLASSIFIERS = "টি টা টো টে টুকু খানা খানি খান খানেক জন গুণ গুন বার দিন মাস বছর ঘণ্টা ঘন্টা সপ্তাহ রাত তলা রকম ধরন ভাগ অংশ ফালি কোণা তম ম"
_CASES = "র এর ের য়ের রা দের ের কে তে েতে য় য়ে ে এ ই ও েক"

# What may be glued behind a part of each kind.
_AFTER: dict[Kind, frozenset[Kind]] = {
    "number": frozenset({"hundred", "scale", "measure", "share", "percent"}),
    "score": frozenset({"scale"}),
    "hundred": frozenset({"number", "score", "scale"}),
    "scale": frozenset({"number", "score"}),
    "plus": frozenset({"number", "score"}),
    "half": frozenset({"scale", "measure"}),
}


class Part(Struct, frozen=True):
    """One stem of a number word. ``bound``: it is a number only with something behind it."""

    kind: Kind
    value: Fraction
    bound: bool = False


class NumberWord(Struct, frozen=True):
    """A word that is a number: its parts, its ending (classifier and case) and whether it may be another word."""

    parts: tuple[Part, ...]
    ending: str = ""
    ambiguous: bool = False

    @property
    def ordinal(self) -> bool:
        """Whether it is a place in a row (তৃতীয়, একশতম)."""
        return self.parts[-1].kind == "ordinal" or self.ending.startswith(("তম", "ম"))


def normalise(word: str) -> str:
    """``word`` in one spelling: composed vowel signs, letters with a nukta in two codepoints, no joiners."""
    return unicodedata.normalize("NFC", word.translate(_DROPPED))


def read_word(word: str) -> NumberWord | None:
    """The number that ``word`` (one token, any of its spellings) is, or None."""
    if len(word) > MAX_WORD or word[:1] not in _FIRST_LETTERS:
        return None
    return _read_spelling(word)


# Questions repeat their words; a short cache halves the time of a long one.
@lru_cache(maxsize=1024)
def _read_spelling(word: str) -> NumberWord | None:
    word = normalise(word)
    if word in _REJECTED:
        return None
    parts, rest = _stems(word, None)
    ending = _ENDING.fullmatch(rest)
    if not parts or ending is None or (parts[-1].bound and not ending["classifier"]):
        return None
    return NumberWord(parts, rest, word in _UNSURE)


def read_tail(word: str) -> NumberWord | None:
    """What ``word`` means right behind digits (টি, হাজার, গুণ, শতাংশ, ৩ and য় for third), or None."""
    if len(word) > MAX_WORD:
        return None
    word = normalise(word)
    if word == _DATE_TAIL:
        return NumberWord((), word)
    if word in _DIGIT_ORDINALS:
        return NumberWord((_DIGIT_ORDINAL,), word)
    parts, rest = _stems(word, "number")
    return NumberWord(parts, rest) if _ENDING.fullmatch(rest) else None


def has_classifier(word: str) -> bool:
    """Whether ``word`` is a classifier, with or without case endings: the word before it is a number."""
    if len(word) > MAX_WORD:
        return False
    match = _ENDING.fullmatch(normalise(word))
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
        for length in range(min(len(word), _LONGEST), 0, -1):
            part = _STEMS.get(word[:length])
            if part is not None and (before is None or part.kind in _AFTER.get(before, frozenset())):
                break
        else:
            break
        parts.append(part)
        word, before = word[length:], part.kind
    return tuple(parts), word


def _spellings(word: str) -> set[str]:
    found = {word, word.replace("উন", "ঊন", 1) if word.startswith("উন") else word}
    found |= {spelling.replace("ব্বই", "ব্বুই") for spelling in found}
    # কুঁড়ি is a bud, but no number word changes its meaning when it loses a chandrabindu.
    return found | {spelling.replace("ঁ", "") for spelling in found}


def _table() -> dict[str, Part]:
    table = {}
    for value, words in enumerate(normalise(_CARDINALS).split()):
        for word in words.split("/"):
            table.update(dict.fromkeys(_spellings(word), Part("number", Fraction(value))))
    for kind, entries in _OTHERS.items():
        for word, number in _pairs(entries):
            table[word] = Part(kind, number)
    for word, number in _pairs(_BOUND):
        table[word] = Part("number", number, bound=True)
    return table


def _pairs(entries: str) -> list[tuple[str, Fraction]]:
    split = [entry.split("=") for entry in normalise(entries).split()]
    return [(word, Fraction(number)) for word, number in split]


_DROPPED = {ord(char): None for char in "'’ʼ\u200c\u200d"}
_STEMS = _table()
_LONGEST = max(map(len, _STEMS))
# Letters before normalising: no stem begins with a letter that has two spellings.
_FIRST_LETTERS = frozenset(word[0] for word in _STEMS)
_REJECTED = frozenset(normalise(_NOT_NUMBERS).split())
_UNSURE = frozenset(normalise(_AMBIGUOUS).split())
_ENDING = re.compile(
    f"(?P<classifier>{'|'.join(normalise(_CLASSIFIERS).split())})?(?:{'|'.join(normalise(_CASES).split())}){{0,3}}"
)
_DIGIT_ORDINALS = frozenset(normalise("ম য় র্থ ষ্ঠ তম").split())
# ২১শে is a day of the month, not শ (hundred) with a case ending.
_DATE_TAIL = "শে"
_DIGIT_ORDINAL = Part("ordinal", Fraction(0))
