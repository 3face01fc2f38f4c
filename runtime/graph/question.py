"""The numbers that a Bengali question holds, as digits of either script and as words."""

from __future__ import annotations

from fractions import Fraction

from msgspec import Struct

from .tokens import PERCENT, Token, plain_word, read_tokens
from .vocabulary import normalise, stems
from .words import has_classifier, read_run

_MAX_RUN = 12
_HYPHENS = frozenset("-‐‑–")

_PER_HUNDRED = stems("শতকরা")
_TIMES = stems("গুণ গুন")
_PARTS_OF_DAY = stems("সকাল বিকাল বিকেল দুপুর সন্ধ্যা সন্ধ্যে রাত ভোর মধ্যরাত")
_MONTHS = stems(
    "জানুয়ারি জানুয়ারী ফেব্রুয়ারি ফেব্রুয়ারী মার্চ এপ্রিল মে জুন জুলাই আগস্ট অগাস্ট সেপ্টেম্বর অক্টোবর নভেম্বর ডিসেম্বর "
    "বৈশাখ জ্যৈষ্ঠ আষাঢ় শ্রাবণ ভাদ্র আশ্বিন কার্তিক অগ্রহায়ণ পৌষ মাঘ ফাল্গুন চৈত্র"
)
CASES = stems("ে র ের এর তে য় ই ও")
_DATE_WORDS = (*_MONTHS, *stems("সাল খ্রিস্টাব্দ খ্রিষ্টাব্দ তারিখ শ্রেণি শ্রেণী"))
_AFTER_DATE = frozenset({*_DATE_WORDS, *(word + case for word in _DATE_WORDS for case in CASES)})
_BEFORE_DATE = frozenset({*_MONTHS, *stems("শ্রেণি শ্রেণী ক্লাস নম্বর")})
_DATE_ENDINGS = frozenset(stems("ই শে লা রা ঠা"))
_CLOCK, _AT_CLOCK = stems("টা টায়")
# "দুজনের" is "of both", more often than a number to reckon with.
_BOTH = stems("জনে জনকে")
_OF_PARTS = "ভাগের"

# How many of the next smaller unit are in a unit: two and a half hours may be 150, and 30 minutes 0.5.
_SMALLER = {
    **dict.fromkeys(stems("ঘণ্টা ঘন্টা মিনিট"), 60),
    **dict.fromkeys(stems("দিন"), 24),
    **dict.fromkeys(stems("বছর ফুট"), 12),
    **dict.fromkeys(stems("সপ্তাহ"), 7),
    **dict.fromkeys(stems("টাকা ডলার মিটার"), 100),
    **dict.fromkeys(stems("কিলোমিটার কিমি কেজি কিলোগ্রাম কিলো লিটার"), 1000),
}
_LARGER = {
    **dict.fromkeys(stems("মিনিট সেকেন্ড"), 60),
    **dict.fromkeys(stems("মাস ইঞ্চি"), 12),
    **dict.fromkeys(stems("পয়সা সেন্ট সেমি"), 100),
    **dict.fromkeys(stems("গ্রাম মিলি"), 1000),
}


class QuestionNumber(Struct, frozen=True):
    """A number of a question: its exact value, and ``text`` = ``question[start:end]``, as written.

    ``expected``: a graph should mention it. Not so an article (একটি), an ordinal, a bare unit (ডজন), zero, a
    date or time: those explain a constant at most. ``also`` has the other values a graph may write for it: 50
    for ৫০%, whose value is 1/2; 3 and 4 for ৩/৪; 12 and 1000 for ১২ হাজার.
    """

    value: Fraction
    text: str
    start: int
    end: int
    expected: bool
    also: tuple[Fraction, ...] = ()


def find_numbers(question: str) -> tuple[QuestionNumber, ...]:
    """The numbers of ``question``, in its order, at most the first 500: digits of either script, and words.

    Reads thousands separators, decimals, percentages, fractions and mixed numbers, and number words with their
    endings. A run of more than 40 digits is no number; a sign before a number is not read. Raises nothing.
    """
    return read_numbers(question, read_tokens(question))


def read_numbers(question: str, tokens: list[Token]) -> tuple[QuestionNumber, ...]:
    """The numbers that the tokens of ``question`` make up together."""
    numbers: list[QuestionNumber] = []
    index = 0
    while index < len(tokens):
        run = _run_at(question, tokens, index) if tokens[index].parts else []
        number, used = _read_run(question, tokens, index, run)
        if number is not None:
            numbers.append(_one_of_parts(question, numbers, number))
        index += max(used, 1)
    return tuple(numbers)


def _run_at(question: str, tokens: list[Token], first: int) -> list[Token]:
    """The tokens from ``first`` that may be one number: next to each other, no ending before the last."""
    run = [tokens[first]]
    for token in tokens[first + 1 : first + _MAX_RUN]:
        last = run[-1]
        gap = question[last.end : token.start]
        if not token.parts or _never_join(last, token) or (last.ending and token.parts != (PERCENT,)) or last.calendar:
            break
        if not (gap.isspace() or gap in _HYPHENS or not gap):
            break
        run.append(token)
    return run


def _never_join(last: Token, token: Token) -> bool:
    """A quick look: two numbers, or two of another kind, are never one; only scales are (লাখ কোটি)."""
    kind = token.parts[0].kind
    return kind == last.parts[-1].kind and kind != "scale"


def _read_run(question: str, tokens: list[Token], first: int, run: list[Token]) -> tuple[QuestionNumber | None, int]:
    """The number that ``run`` begins with, and how many of its tokens it takes."""
    if not run:
        return None, 1
    if run[0].ordinal:
        return _question_number(question, tokens, first, run[:1], run[0].parts[0].value, ()), 1
    while run:
        parts = [part for token in run for part in token.parts]
        value, used, pieces = read_run(parts)
        if used == len(parts):
            return _question_number(question, tokens, first, run, value, pieces), len(run)
        run = _tokens_within(run, used)
    return None, 1


def _tokens_within(run: list[Token], parts: int) -> list[Token]:
    """The tokens of ``run`` that lie in its first ``parts`` parts."""
    kept = []
    for token in run:
        parts -= len(token.parts)
        if parts < 0:
            break
        kept.append(token)
    return kept


def _question_number(
    question: str, tokens: list[Token], first: int, run: list[Token], value: Fraction, pieces: tuple[Fraction, ...]
) -> QuestionNumber:
    start, end = run[0].start, run[-1].end
    before = tokens[first - 1] if first else None
    after = tokens[first + len(run)] if first + len(run) < len(tokens) else None
    percent = run[-1].parts[-1].kind == "percent"
    if plain_word(before) in _PER_HUNDRED and not percent:
        value, percent = value / 100, True
    unit = run[-1].ending or plain_word(after)
    also = [*pieces, *_forms(value, run, percent=percent, multiple=unit.startswith(_TIMES))]
    also += _in_other_units(value, unit)
    return QuestionNumber(
        value=value,
        text=question[start:end],
        start=start,
        end=end,
        expected=_is_expected(question, run, value, before, after),
        also=tuple(form for form in dict.fromkeys(also) if 0 < form != value),
    )


def _forms(value: Fraction, run: list[Token], *, percent: bool, multiple: bool) -> list[Fraction]:
    """The other ways to write a percentage, a fraction or a multiple: with its complement, as its two numbers."""
    decimal = len(run) == 1 and run[0].digits and not run[0].written_fraction
    forms: list[Fraction] = []
    if percent:
        forms += [100 * value, 1 - value, 1 + value, 100 - 100 * value, 100 + 100 * value]
    elif value.denominator != 1 and not decimal:
        whole = value.numerator // value.denominator
        forms += [Fraction(value.numerator), Fraction(value.denominator), 100 * value]
        forms += [Fraction(whole), value - whole] if whole else [1 - value, 1 + value]
    elif value < 1:
        forms.append(100 * value)
    if multiple and value:
        forms += [1 / value, value + 1]
    return forms


def _in_other_units(value: Fraction, unit: str) -> list[Fraction]:
    """``value`` in the next smaller unit, where it is no integer, and in the next larger one."""
    forms = [value / count for stem, count in _LARGER.items() if unit.startswith(stem)]
    if value.denominator != 1:
        forms += [value * count for stem, count in _SMALLER.items() if unit.startswith(stem)]
    return forms


def _one_of_parts(question: str, earlier: list[QuestionNumber], number: QuestionNumber) -> QuestionNumber:
    """``number``, or 3/5 where it is the three of পাঁচ ভাগের তিন ভাগ: then the five is taken from ``earlier``."""
    if not earlier:
        return number
    whole = earlier[-1]
    between = (whole.text[-len(_OF_PARTS) :] + question[whole.end : number.start]).strip()
    if not between.endswith(_OF_PARTS) or len(between) > 2 * len(_OF_PARTS) or not 0 < number.value < whole.value:
        return number
    earlier.pop()
    value = number.value / whole.value
    also = (number.value, whole.value, 1 - value, 1 + value, 100 * value)
    text = question[whole.start : number.end]
    return QuestionNumber(value, text, whole.start, number.end, expected=True, also=also)


def _is_expected(question: str, run: list[Token], value: Fraction, before: Token | None, after: Token | None) -> bool:
    first, last = run[0], run[-1]
    if value == 0 or last.ordinal or _is_calendar(last, before, after):
        return False
    kinds = [part.kind for token in run for part in token.parts]
    article = first.parts[0].value == 1 and not first.digits
    if value == 2 and not last.digits and normalise(last.ending).startswith(_BOTH):
        return False
    if article and kinds in (["number"], ["number", "measure"]):
        return False
    if kinds[0] not in {"number", "score", "half", "share"} and kinds[1:] in ([], ["measure"]):
        return False
    if last.ambiguous and len(run) == 1 and not (after is not None and has_classifier(after.word)):
        return False
    named = question[max(first.start - 1, 0) : first.start]
    return not (named.isascii() and named.isalpha())


def _is_calendar(number: Token, before: Token | None, after: Token | None) -> bool:
    """Whether ``number`` is a date, a year, a time of day or the number of a class."""
    ending = normalise(number.ending)
    if number.calendar or ending.startswith(_AT_CLOCK) or (number.digits and ending in _DATE_ENDINGS):
        return True
    if plain_word(before) in _PARTS_OF_DAY and ending.startswith(_CLOCK):
        return True
    if plain_word(after) in _AFTER_DATE and not ending:
        return True
    return plain_word(before) in _BEFORE_DATE and not ending and not (after is not None and has_classifier(after.word))
