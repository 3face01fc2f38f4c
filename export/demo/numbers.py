"""Numbers as Bengali word problems write them: digits of either script, grouping, and number words."""

from __future__ import annotations

import random
from fractions import Fraction

from ...runtime.graph import to_bengali_digits

# 0 to 100. Every one is irregular enough to be listed.
WORDS = (
    "শূন্য এক দুই তিন চার পাঁচ ছয় সাত আট নয় দশ এগারো বারো তেরো চৌদ্দ পনেরো ষোলো সতেরো আঠারো উনিশ "
    "কুড়ি একুশ বাইশ তেইশ চব্বিশ পঁচিশ ছাব্বিশ সাতাশ আটাশ উনত্রিশ ত্রিশ একত্রিশ বত্রিশ তেত্রিশ চৌত্রিশ "
    "পঁয়ত্রিশ ছত্রিশ সাঁইত্রিশ আটত্রিশ উনচল্লিশ চল্লিশ একচল্লিশ বিয়াল্লিশ তেতাল্লিশ চুয়াল্লিশ পঁয়তাল্লিশ "
    "ছেচল্লিশ সাতচল্লিশ আটচল্লিশ উনপঞ্চাশ পঞ্চাশ একান্ন বাহান্ন তিপ্পান্ন চুয়ান্ন পঞ্চান্ন ছাপ্পান্ন সাতান্ন "
    "আটান্ন উনষাট ষাট একষট্টি বাষট্টি তেষট্টি চৌষট্টি পঁয়ষট্টি ছেষট্টি সাতষট্টি আটষট্টি উনসত্তর সত্তর "
    "একাত্তর বাহাত্তর তিয়াত্তর চুয়াত্তর পঁচাত্তর ছিয়াত্তর সাতাত্তর আটাত্তর উনআশি আশি একাশি বিরাশি তিরাশি "
    "চুরাশি পঁচাশি ছিয়াশি সাতাশি আটাশি উননব্বই নব্বই একানব্বই বিরানব্বই তিরানব্বই চুরানব্বই পঁচানব্বই "
    "ছিয়ানব্বই সাতানব্বই আটানব্বই নিরানব্বই একশো"
).split()

Value = int | float


def group_indian(value: int) -> str:
    """``value`` with the separators of South Asia: 1,25,000."""
    digits = str(value)
    head, tail = digits[:-3], digits[-3:]
    if not head:
        return tail
    groups: list[str] = []
    while head:
        groups.insert(0, head[-2:])
        head = head[:-2]
    return ",".join([*groups, tail])


def tidy(value: Fraction | float) -> Value:
    """``value`` as an int where it is one, else as the float with its shortest decimal form."""
    if isinstance(value, int) or value == int(value):
        return int(value)
    return float(value)


class NumberStyle:
    """How one problem writes its numbers: the script, and how often it uses words and separators."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._bengali_share = rng.choices((1.0, 0.0, 0.5), weights=(62, 28, 10))[0]
        self._word_share = rng.choices((0.0, 0.25, 0.9), weights=(70, 22, 8))[0]
        self._grouped = rng.random() < 0.15
        self.space_before_classifier = rng.random() < 0.25

    def digits(self, value: Value) -> str:
        """``value`` in digits of the script drawn for this number."""
        text = group_indian(value) if self._grouped and isinstance(value, int) and value >= 1000 else str(value)
        return to_bengali_digits(text) if self._rng.random() < self._bengali_share else text

    def write(self, value: Value, *, words: bool = True) -> tuple[str, bool]:
        """``value`` as text, and whether it is a word (a word takes its classifier without a space)."""
        small = isinstance(value, int) and 0 < value <= 100
        # Past twenty, words are rare in real problems.
        share = self._word_share if small and value <= 20 else self._word_share / 4
        if words and small and self._rng.random() < share:
            return WORDS[int(value)], True
        if words and isinstance(value, int) and value >= 1000 and value % 1000 == 0 and self._rng.random() < 0.2:
            return self.digits(value // 1000) + " হাজার", False
        return self.digits(value), False
