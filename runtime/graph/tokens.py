"""A Bengali question cut into words and numbers: what `question` makes its numbers of."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from fractions import Fraction

from msgspec import Struct

from .numerals import MAX_DIGITS, to_ascii_digits
from .vocabulary import Part, normalise
from .words import MAX_WORD, read_tail, read_word

# A text with more numbers is no question; reading on would only cost time.
MAX_NUMBERS = 500

_DIGIT = "[0-9০-৯]"
# Bengali letters and signs, and the two joiners.
_LETTER = r"[\u0981-\u09ce\u09d7\u09dc-\u09e3\u200c\u200d]"
_TOKEN = re.compile(
    rf"(?P<date>{_DIGIT}{{1,4}}[/-]{_DIGIT}{{1,2}}[/-]{_DIGIT}{{2,4}}(?!{_DIGIT})"
    rf"|{_DIGIT}{{1,2}}:{_DIGIT}{{2}}(?=\s?(?:[AaPp]\.?[Mm]|টা)))"
    rf"|(?P<number>{_DIGIT}+(?:,{_DIGIT}+)*(?:\.{_DIGIT}+)?|\.{_DIGIT}+)(?:\s?/\s?(?P<under>{_DIGIT}+))?"
    r"|(?P<vulgar>[\u00bc-\u00be\u2150-\u215e])"
    rf"|(?P<word>{_LETTER}+(?:['’ʼ]{_LETTER}+)*)"
    r"|(?P<percent>[%٪％]+)"
)
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,2}(?:,\d{2})*,\d{3}(?:\.\d+)?")
PERCENT = Part("percent", Fraction(1, 100))


class Token(Struct):
    """A word or number of the question. ``parts`` is empty for a word that is no number."""

    start: int
    end: int
    word: str = ""
    parts: tuple[Part, ...] = ()
    ending: str = ""
    digits: bool = False
    written_fraction: bool = False
    ordinal: bool = False
    ambiguous: bool = False
    calendar: bool = False


def read_tokens(question: str) -> list[Token]:
    """The words and numbers of ``question`` in its order, up to the number with which there are `MAX_NUMBERS`."""
    tokens: list[Token] = []
    count = 0
    for match in _TOKEN.finditer(question):
        if count >= MAX_NUMBERS:
            break
        if match.lastgroup == "word" and not (tokens and tokens[-1].end == match.start()):
            # Most tokens of most texts: a word that nothing is glued to.
            tokens.append(_word_token(match[0], *match.span()))
            count += bool(tokens[-1].parts)
            continue
        for token in _read_token(match, tokens):
            tokens.append(token)
            count += bool(token.parts)
            if count >= MAX_NUMBERS:
                return tokens
    return tokens


def _read_token(match: re.Match[str], before: list[Token]) -> Iterator[Token]:
    """The tokens of one match. A word or sign right behind digits goes into their token."""
    start, end = match.span()
    last = before[-1] if before else None
    glued = last is not None and last.end == start and last.digits and not last.ending
    if match.lastgroup == "word":
        if last is not None and glued and _glue(last, match[0], end):
            return
        yield _word_token(match[0], start, end)
    elif match["percent"] is not None:
        if last is not None and last.parts:
            yield Token(start, end, parts=(PERCENT,), ending="%")
    elif match["date"] is not None:
        for part in re.finditer(f"{_DIGIT}+", match[0]):
            yield _digits_token(part[0], start + part.start(), calendar=True)
    elif match["vulgar"] is not None:
        value = Fraction(unicodedata.numeric(match[0])).limit_denominator(10)
        yield _mixed(_fraction_token(value, start, end), before, match.string)
    else:
        yield from _read_digits(match, before)


def _word_token(text: str, start: int, end: int) -> Token:
    word = read_word(text)
    if word is None:
        return Token(start, end, text)
    return Token(start, end, text, word.parts, word.ending, ordinal=word.ordinal, ambiguous=word.ambiguous)


def _glue(digits: Token, text: str, end: int) -> bool:
    """Extend the digits by the word behind them, where that is a unit or an ending."""
    tail = read_tail(text)
    if tail is None:
        return False
    digits.ordinal = bool(tail.parts) and tail.ordinal
    digits.parts += () if digits.ordinal else tail.parts
    digits.ending, digits.end = tail.ending, end
    return True


def _read_digits(match: re.Match[str], before: list[Token]) -> Iterator[Token]:
    text, under = match["number"], match["under"]
    start = match.start()
    ascii_text = to_ascii_digits(text)
    if under is not None and ascii_text.isdigit() and len(text + under) <= MAX_DIGITS and int(under):
        value = Fraction(int(ascii_text), int(under))
        yield _mixed(_fraction_token(value, start, match.end()), before, match.string)
        return
    pieces = [text] if _GROUPED.fullmatch(ascii_text) else text.split(",")
    for piece in pieces:
        yield _digits_token(piece, start)
        start += len(piece) + 1
    if under is not None:
        yield _digits_token(under, match.end() - len(under))


def _digits_token(text: str, start: int, *, calendar: bool = False) -> Token:
    plain = to_ascii_digits(text).replace(",", "")
    if len(plain) > MAX_DIGITS:
        return Token(start, start + len(text))
    value = Fraction(int(plain)) if plain.isdigit() else Fraction(plain)
    return Token(start, start + len(text), parts=(Part("number", value),), digits=True, calendar=calendar)


def _fraction_token(value: Fraction, start: int, end: int) -> Token:
    return Token(start, end, parts=(Part("number", value),), digits=True, written_fraction=True)


def _mixed(fraction: Token, before: list[Token], question: str) -> Token:
    """``fraction``, with the whole number right before it, if there is one: 2 1/2."""
    whole = before[-1] if before else None
    value = fraction.parts[0].value
    if whole is None or not whole.digits or whole.ending or whole.written_fraction or len(whole.parts) != 1:
        return fraction
    joined = question[whole.end : fraction.start] in {"", " "}
    if not joined or value >= 1 or whole.parts[0].value.denominator != 1:
        return fraction
    before.pop()
    return _fraction_token(whole.parts[0].value + value, whole.start, fraction.end)


def plain_word(token: Token | None) -> str:
    """The word of ``token``, spelt one way; empty for None."""
    return "" if token is None else normalise(token.word[:MAX_WORD])
