"""The Bengali words that numbers are made of: cardinals, fractions, multiples, ordinals, units and endings.

Tables alone; `words` reads with them. A table is a text of words between spaces, in any spelling; `normalise` makes
one spelling of them.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from typing import Literal

from msgspec import Struct

# number: a cardinal. share: the denominator of a fraction. measure: a unit that counts things, as the dozen.
# score: কুড়ি, a number or, behind one, a measure. plus: what shifts the number after it, as in "three and a half".
# half: a fraction that needs no numerator.
Kind = Literal["number", "score", "hundred", "scale", "plus", "half", "measure", "share", "percent", "ordinal"]

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
AFTER: dict[Kind, frozenset[Kind]] = {
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


def normalise(word: str) -> str:
    """``word`` in one spelling: composed vowel signs, letters with a nukta in two codepoints, no joiners."""
    return unicodedata.normalize("NFC", word.translate(_DROPPED))


def stems(words: str) -> tuple[str, ...]:
    """The words of a list, in the spelling of `normalise`."""
    return tuple(normalise(words).split())


def _spellings(word: str) -> set[str]:
    found = {word, word.replace("উন", "ঊন", 1) if word.startswith("উন") else word}
    found |= {spelling.replace("ব্বই", "ব্বুই") for spelling in found}
    # কুঁড়ি is a bud, but no number word changes its meaning when it loses a chandrabindu.
    return found | {spelling.replace("ঁ", "") for spelling in found}


def _table() -> dict[str, Part]:
    table = {}
    for value, words in enumerate(stems(_CARDINALS)):
        for word in words.split("/"):
            table.update(dict.fromkeys(_spellings(word), Part("number", Fraction(value))))
    for kind, entries in _OTHERS.items():
        for word, number in _pairs(entries):
            table[word] = Part(kind, number)
    for word, number in _pairs(_BOUND):
        table[word] = Part("number", number, bound=True)
    return table


def _pairs(entries: str) -> list[tuple[str, Fraction]]:
    split = [entry.split("=") for entry in stems(entries)]
    return [(word, Fraction(number)) for word, number in split]


_DROPPED = {ord(char): None for char in "'’ʼ\u200c\u200d"}
STEMS = _table()
LONGEST = max(map(len, STEMS))
# Letters before normalising: no stem begins with a letter that has two spellings.
FIRST_LETTERS = frozenset(word[0] for word in STEMS)
REJECTED = frozenset(stems(_NOT_NUMBERS))
UNSURE = frozenset(stems(_AMBIGUOUS))
ENDING = re.compile(f"(?P<classifier>{'|'.join(stems(_CLASSIFIERS))})?(?:{'|'.join(stems(_CASES))}){{0,3}}")
DIGIT_ORDINALS = frozenset(stems("ম য় র্থ ষ্ঠ তম"))
# ২১শে is a day of the month, not শ (hundred) with a case ending.
DATE_TAIL = "শে"
DIGIT_ORDINAL = Part("ordinal", Fraction(0))
