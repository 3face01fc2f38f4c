"""How wide a text will be, and breaking it into lines, without a font.

The viewer shapes the text, with a font that is not known here. Widths are in em, by kinds of characters, from
Noto Sans and Noto Sans Bengali in semi-bold, a little rounded up; the tests have widths that Chromium
measured. An estimate all the same: drawings clip what is wider.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_WIDTHS = {
    char: width
    for width, chars in (
        (0.3, " !',.:;ijl·"),
        (0.4, "()[]{}-/\\If"),
        (0.48, 'rt"J'),
        (0.56, "^_*?sczvy"),
        (0.6, "aexFELST"),
        (0.85, "mwMNOQGDHU@%…"),
        (0.98, "W"),
        # Bengali: vowel signs that take room, then letters that are far from the common width.
        (0.32, "ািীৗ"),
        (0.44, "ংঃেৈ"),
        (0.72, "োৌ"),
        (0.6, "ইহটঢচঠড়"),
        (0.9, "কফঝঊঔঐঋ"),
        (1.02, "অজঞ"),
        (1.28, "আ"),
    )
    for char in chars
}
_DIGIT = 0.62
_LETTER = 0.67
_BENGALI = 0.72
_OTHER = 0.8
_WIDE = 1.1
# A consonant that joins the one before it.
_JOINED = 0.45

_MARKS = ("Mn", "Me", "Cf")
_VIRAMA_CLASS = 9
_MARGIN = 1.04


def width_of(text: str, size: float) -> float:
    """The estimated width of ``text`` at a font size of ``size`` pixels, in pixels."""
    total, joined = 0.0, False
    for char in text:
        total += _char_width(char) * (_JOINED if joined else 1.0)
        joined = unicodedata.combining(char) == _VIRAMA_CLASS
    return total * size * _MARGIN


def clusters(text: str) -> list[str]:
    """``text`` in pieces that must not be cut: a base with its marks, and consonants joined to one letter."""
    pieces: list[str] = []
    joined = False
    for char in text:
        mark = unicodedata.category(char) in ("Mn", "Mc", "Me", "Cf")
        if pieces and (mark or joined):
            pieces[-1] += char
        else:
            pieces.append(char)
        # A joiner keeps what comes before it joined to what follows; so does a virama.
        joined = char == "\u200d" or unicodedata.combining(char) == _VIRAMA_CLASS
    return pieces


def cut(text: str, size: float, limit: float) -> str:
    """``text`` if it fits into ``limit`` pixels, else as much as does, and an ellipsis."""
    if width_of(text, size) <= limit:
        return text
    room = limit - width_of("…", size)
    shown: list[str] = []
    for piece in clusters(text):
        room -= width_of(piece, size)
        if room < 0:
            break
        shown.append(piece)
    return "".join(shown).rstrip() + "…"


def wrap(text: str, size: float, limit: float, lines: int) -> list[str]:
    """``text`` in at most ``lines`` lines of ``limit`` pixels; the last is cut where there is more."""
    words = text.split(" ")
    wrapped: list[str] = []
    while words and len(wrapped) < lines - 1:
        count = _fitting(words, size, limit)
        if count == 0:
            words[:1] = _split_word(words[0], size, limit)
            count = 1
        wrapped.append(" ".join(words[:count]))
        words = words[count:]
    if words:
        wrapped.append(cut(" ".join(words), size, limit))
    return [line for line in wrapped if line]


def _fitting(words: Sequence[str], size: float, limit: float) -> int:
    """How many of ``words`` fit on one line."""
    used, space = 0.0, width_of(" ", size)
    for count, word in enumerate(words):
        used += width_of(word, size) + (space if count else 0.0)
        if used > limit:
            return count
    return len(words)


def _split_word(word: str, size: float, limit: float) -> list[str]:
    """``word`` in two, the first as long as fits, though never empty."""
    pieces = clusters(word)
    count, used = 0, 0.0
    for piece in pieces:
        used += width_of(piece, size)
        if used > limit and count:
            break
        count += 1
    rest = "".join(pieces[count:])
    return ["".join(pieces[:count]), *([rest] if rest else [])]


def _char_width(char: str) -> float:
    if char in _WIDTHS:
        return _WIDTHS[char]
    category = unicodedata.category(char)
    if category in _MARKS:
        return 0.0
    if unicodedata.east_asian_width(char) in ("W", "F"):
        return _WIDE
    if category == "Nd":
        return _DIGIT
    if char.isascii():
        return _LETTER
    return _BENGALI if "\u0980" <= char <= "\u09ff" else _OTHER
