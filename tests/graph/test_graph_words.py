import re
import time
import unicodedata
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagger_edge.export.demo.numbers import WORDS
from dagger_edge.runtime.graph.words import has_classifier, read_tail, read_word, word_value


@pytest.mark.parametrize(("value", "word"), list(enumerate(WORDS)))
def test_words_of_the_demo(value, word):
    """A number word that the generator writes and the reader does not know."""
    assert word_value(word) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("ছয়", 6), ("ছটি", 6), ("ছ'টি", 6), ("ছ’জন", 6), ("দু'টি", 2), ("ন'টা", 9),
        ("এগার", 11), ("বারটি", 12), ("তের", 13), ("চোদ্দ", 14), ("পনের", 15), ("ষোল", 16), ("সতের", 17),
        ("আঠার", 18), ("আঠারো", 18), ("ঊনিশ", 19), ("বিশ", 20), ("কুড়ি", 20), ("পচিশ", 25), ("ঊনত্রিশ", 29),
        ("তিরিশ", 30), ("পয়ত্রিশ", 35), ("সাতত্রিশ", 37), ("বায়ান্ন", 52), ("সত্তর", 70), ("ঊনআশি", 79),
        ("উনাশি", 79), ("নব্বুই", 90), ("নিরানব্বুই", 99),
    ],
)  # fmt: skip
def test_spellings(text, value):
    """A variant in common use that is read as no number."""
    assert word_value(text) == value


@pytest.mark.parametrize("word", ["ছয়", "কুড়ি", "আড়াই", "সাড়ে তিন", "দেড়", "জোড়া", "পঁয়ষট্টি", "পাঁচশো", "তিন-চতুর্থাংশ"])
def test_codepoints(word):
    """য়, ড় and ঢ় in one codepoint or two, ো in one or two, joiners inside: the same word to a reader."""
    composed = (
        word.replace("\u09af\u09bc", "\u09df").replace("\u09a1\u09bc", "\u09dc").replace("\u09a2\u09bc", "\u09dd")
    )
    decomposed = unicodedata.normalize("NFD", word)
    joined = decomposed.replace("া", "\u200cা").replace("্", "্\u200d")
    assert word_value(composed) == word_value(decomposed) == word_value(joined) is not None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("একশো", 100), ("দুইশত", 200), ("পাঁচশ", 500), ("পাঁচ শ'", 500), ("ন'শো", 900), ("একশোপঁচিশ", 125),
        ("তিন শত পাঁচ", 305), ("দুই হাজার পাঁচশো বিশ", 2520), ("একহাজার", 1000), ("দুহাজার", 2000),
        ("একশো পঁচিশ হাজার", 125_000), ("এক লাখ বিশ হাজার তিনশো", 120_300), ("দুই লক্ষ", 200_000),
        ("এক কোটি পঁচিশ লাখ ত্রিশ হাজার পাঁচ", 12_530_005), ("লাখ কোটি", 10**12), ("পাঁচ মিলিয়ন", 5_000_000),
        ("এক হাজার এক", 1001),
    ],
)  # fmt: skip
def test_hundreds_and_more(text, value):
    """A compound read as its first word, or a scale that multiplies the wrong part."""
    assert word_value(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("আধা", "1/2"), ("আধ", "1/2"), ("অর্ধেক", "1/2"), ("অর্ধেকের", "1/2"), ("আধা লাখ", "50000"),
        ("দেড়", "3/2"), ("দেড় হাজার", "1500"), ("দেড়শো", "150"), ("আড়াই", "5/2"), ("আড়াইশো", "250"),
        ("সাড়ে তিন", "7/2"), ("সাড়ে তিনশো", "350"), ("সাড়ে চার কোটি", "45000000"), ("সাড়ে সাতটি", "15/2"),
        ("সোয়া লাখ", "125000"), ("সোয়া তিন", "13/4"), ("সোয়া", "5/4"),
        ("পৌনে দুই লাখ", "175000"), ("পৌনে এক", "3/4"), ("পৌনে", "3/4"),
        ("এক-তৃতীয়াংশ", "1/3"), ("এক তৃতীয়াংশের", "1/3"), ("একতৃতীয়াংশ", "1/3"), ("তৃতীয়াংশ", "1/3"),
        ("তিন-চতুর্থাংশ", "3/4"), ("দুই পঞ্চমাংশ", "2/5"), ("পাঁচ শতাংশ", "1/20"),
    ],
)  # fmt: skip
def test_fractions(text, value):
    """Half, quarter and share words: a wrong sign, or the shift applied after the scale."""
    assert word_value(text) == Fraction(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("ডজন", 12), ("তিন ডজন", 36), ("দেড় ডজন", 18), ("আধা ডজন", 6), ("দুই হালি", 8), ("একজোড়া", 2),
        ("তিনজোড়া", 6), ("চার কুড়ি", 80), ("একশো কুড়ি", 120), ("কুড়ি হাজার", 20_000),
    ],
)  # fmt: skip
def test_units_that_count(text, value):
    """A dozen read as one, or the twenty of কুড়ি added where it multiplies."""
    assert word_value(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("পাঁচটি", 5), ("তিনজন", 3), ("দুটো", 2), ("চারখানা", 4), ("একটার", 1), ("দশজনের", 10), ("দুইয়ের", 2),
        ("তিনদিনে", 3), ("চারবার", 4), ("সাতটাই", 7), ("একশটি", 100), ("বারোটির", 12), ("তিনটেতে", 3),
        ("দ্বিগুণ", 2), ("দুগুণ", 2), ("তিনগুণ", 3), ("ত্রিগুণ", 3), ("চতুর্গুণ", 4), ("দশগুণের", 10), ("দেড়গুণ", "3/2"),
    ],
)  # fmt: skip
def test_endings(text, value):
    """A classifier, case ending or গুণ that hides the number before it."""
    assert word_value(text) == Fraction(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("প্রথম", 1), ("প্রথমে", 1), ("প্রথমবার", 1), ("দ্বিতীয়টি", 2), ("চতুর্থ", 4), ("দশম", 10), ("দ্বাদশ", 12),
        ("পঁচিশতম", 25), ("একশতম", 100),
    ],
)  # fmt: skip
def test_ordinals(text, value):
    """A place in a row that is taken for a count."""
    word = read_word(text)
    assert word is not None
    assert word.ordinal
    assert word_value(text) == value
    assert not read_word("দশ").ordinal


@pytest.mark.parametrize(
    "word",
    "তিনি তিনিই একই একে একর একরের বারবার আটকে আটা চারা চারপাশে বিশেষ বিশ্ব বিশাল কুঁড়ি সাতার দুধ ছবি নতুন নদী নজর লক্ষ্য "
    "শোভা দিন দিদি একা একটু একত্রে একসাথে আধুনিক হাজির ত্রিভুজ শতক দশক তিনা চার্লি ছাত্র ছিল দশা আশিস".split(),
)
def test_other_words(word):
    """A number found inside a word that has nothing to do with it."""
    assert read_word(word) is None


@pytest.mark.parametrize("text", ["", " ", "-", "সাড়ে", "টাকা", "দুই টাকা", "দুই তিন", "তিন প্রথম", "পাঁচ সাড়ে", "শত পাঁচশো"])
def test_no_single_number(text):
    """A text that is no number, or two, and gets a value."""
    assert word_value(text) is None


@pytest.mark.parametrize(
    ("word", "kinds"),
    [("টি", []), ("জনের", []), ("গুণ", []), ("হাজার", ["scale"]), ("শো", ["hundred"]), ("শতাংশ", ["percent"]),
     ("ডজন", ["measure"]), ("য়", ["ordinal"]), ("র্থ", ["ordinal"]), ("ম", ["ordinal"]), ("শে", [])],
)  # fmt: skip
def test_tails_of_digits(word, kinds):
    """What stands right behind digits, lost."""
    assert [part.kind for part in read_tail(word).parts] == kinds


def test_what_digits_cannot_have_behind_them():
    """An unknown word taken for a unit."""
    assert read_tail("কেজি") is None
    assert read_tail("ট" * 1000) is None


def test_classifiers():
    """নয় (nine, or "is not") told apart by the word behind it."""
    assert has_classifier("জন")
    assert has_classifier("টির")
    assert not has_classifier("কাজ")
    assert not has_classifier("র")
    assert not has_classifier("জ" * 1000)
    assert read_word("নয়").ambiguous
    assert not read_word("নয়টি").ambiguous


@given(st.text(alphabet="একদুইতিনচার শোহাজাড়লখটিজনগু\u09bc\u09cd\u200c'-৫"))
def test_any_text_is_read(text):
    """A crash on letters in an order that nobody writes."""
    value = word_value(text)
    assert value is None or value > 0
    for word in re.split(r"\s+", text):
        read_word(word)
        read_tail(word)


@pytest.mark.parametrize("word", ["\u09bc\u09cd" * 30_000, "এক" * 30_000, "\u200c" * 60_000])
def test_long_words_cost_nothing(word):
    """Normalising, or trying every split of, a word that cannot be a number."""
    start = time.process_time()
    assert read_word(word) is None
    assert read_tail(word) is None
    assert time.process_time() - start < 0.05
