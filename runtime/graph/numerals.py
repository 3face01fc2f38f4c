"""Numbers as text: reading JSON numbers and what models write instead, writing values, both scripts of digits."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from fractions import Fraction

MAX_DIGITS = 40

_ASCII = "0123456789"
_BENGALI = "০১২৩৪৫৬৭৮৯"
_TO_BENGALI = str.maketrans(_ASCII, _BENGALI)
_TO_ASCII = str.maketrans(_BENGALI, _ASCII)
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")

# 1,250,000 and 12,50,000, each without a leading zero.
_GROUPED = r"[1-9][0-9]{0,2}(?:,[0-9]{3})+|[1-9][0-9]?(?:,[0-9]{2})*,[0-9]{3}"
_WRITTEN_NUMBER = re.compile(
    r"(?P<sign>[+\-−]?)"
    r"(?:(?P<top>[0-9]+) ?/ ?(?P<bottom>[0-9]+)"
    rf"|(?P<decimal>(?:{_GROUPED})(?:\.[0-9]+)?|[0-9]*\.?[0-9]+)"
    r"(?:[eE](?P<exponent>[+-]?[0-9]{1,3})| ?(?P<percent>%))?)"
)

# Outside these sizes a float is written with an exponent, as JavaScript does for large ones.
_PLAIN_BELOW = 1e21
_PLAIN_FROM = 1e-10
_PLAIN_DECIMALS = 40


def to_bengali_digits(text: str) -> str:
    """``text`` with ASCII digits as Bengali digits; all else, signs and points included, as it is."""
    return text.translate(_TO_BENGALI)


def to_ascii_digits(text: str) -> str:
    """``text`` with Bengali digits as ASCII digits; all else as it is."""
    return text.translate(_TO_ASCII)


def read_number(text: str) -> int | float:
    """The value of a number in JSON's grammar: an exact int, or a double where it has a point or exponent.

    Raises ValueError, with the reason, for anything else: more than 40 digits, or a size no double holds.
    """
    match = _JSON_NUMBER.fullmatch(text)
    if match is None:
        raise ValueError("not a plain number")
    if len(text) > MAX_DIGITS and sum(char in _ASCII for char in text) > MAX_DIGITS:
        raise ValueError(f"a number of more than {MAX_DIGITS} digits")
    if match[1] is None and match[2] is None:
        return int(text)
    value = float(text)
    if math.isinf(value):
        raise ValueError("a number too large for a double")
    if value == 0 and re.search("[1-9]", re.split("[eE]", text)[0]):
        raise ValueError("a number too small for a double")
    return value


def read_written_number(text: str) -> Fraction:
    """The exact value of a number as models write it in a string: ``"১২.৫"``, ``"1,25,000"``, ``"3/4"``, ``"50%"``.

    Digits of one script, a sign, thousands separators in western or Indian grouping, an exponent of at most
    three digits, a fraction of integers, or a percent sign (a hundredth). Raises ValueError, with the reason,
    for anything else: a number that would have to be guessed is none.
    """
    digits = to_ascii_digits(text)
    if digits != text and any(char in _ASCII for char in text):
        raise ValueError("digits of two scripts in one number")
    if len(digits) > MAX_DIGITS and sum(char in _ASCII for char in digits) > MAX_DIGITS:
        raise ValueError(f"a number of more than {MAX_DIGITS} digits")
    match = _WRITTEN_NUMBER.fullmatch(digits.strip())
    if match is None:
        raise ValueError("not a number")
    value = _written_size(match)
    return value if match["sign"] in {"", "+"} else -value


def _written_size(match: re.Match[str]) -> Fraction:
    """The value of a match of ``_WRITTEN_NUMBER`` without its sign."""
    if match["top"] is not None:
        if int(match["bottom"]) == 0:
            raise ValueError("a fraction over zero")
        return Fraction(int(match["top"]), int(match["bottom"]))
    # Three digits of exponent keep the power below a thousand decimal places.
    value = Fraction(match["decimal"].replace(",", "")) * Fraction(10) ** int(match["exponent"] or 0)
    return value / 100 if match["percent"] else value


def decimal_value(value: Fraction) -> int | float | None:
    """``value`` as a JSON number that reads back as exactly that: an int, or a double; None where there is none."""
    if value.denominator == 1 and abs(value) < 10**MAX_DIGITS:
        return value.numerator
    try:
        nearest = float(value)
    except OverflowError:
        return None
    return nearest if Fraction(repr(nearest)) == value else None


def plain_value(value: float | Fraction) -> int | float:
    """``value`` for a result: an int where it is integral (and of ordinary size), else a double."""
    if isinstance(value, int):
        return value
    if isinstance(value, Fraction):
        return value.numerator if value.denominator == 1 else float(value)
    return int(value) if value.is_integer() and abs(value) < _PLAIN_BELOW else value


def format_number(value: float | Fraction) -> str:
    """``value`` in ASCII digits: the shortest text that reads back the same, without a trailing ``.0``.

    Exponents appear from 1e21 up and below 1e-10 only. A fraction that is no short decimal is ``1/3``.
    Raises ValueError for NaN and infinities.
    """
    if isinstance(value, Fraction):
        return _format_fraction(value)
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value):
        raise ValueError(f"{value} has no text as a number")
    if value.is_integer() and abs(value) < _PLAIN_BELOW:
        return str(int(value))
    if _PLAIN_FROM <= abs(value) < _PLAIN_BELOW:
        return format(Decimal(repr(value)), "f")
    return repr(value)


def _format_fraction(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value.numerator)
    decimals = _decimal_places(value.denominator)
    if decimals is None:
        return f"{value.numerator}/{value.denominator}"
    digits = str(abs(value.numerator) * 10**decimals // value.denominator).zfill(decimals + 1)
    sign = "-" if value < 0 else ""
    return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}"


def _decimal_places(denominator: int) -> int | None:
    """How many decimals 1/denominator has: None if it does not end, or not within a readable length."""
    twos = (denominator & -denominator).bit_length() - 1
    rest, fives = denominator >> twos, 0
    if rest > 5**_PLAIN_DECIMALS:
        return None
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    places = max(twos, fives)
    return places if rest == 1 and places <= _PLAIN_DECIMALS else None
