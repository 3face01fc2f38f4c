import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagger_edge.runtime.graph import format_number, to_ascii_digits, to_bengali_digits
from dagger_edge.runtime.graph.numerals import read_number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5.0, "5"),
        (-0.0, "0"),
        (45.6, "45.6"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1e20, "100000000000000000000"),
        (1e22, "1e+22"),
        (0.00001, "0.00001"),
        (1.5e-7, "0.00000015"),
        (1e-300, "1e-300"),
        (10**40 - 1, "9" * 40),
        (Fraction(228, 5), "45.6"),
        (Fraction(-1, 8), "-0.125"),
        (Fraction(-1, 3), "-1/3"),
        (Fraction(6, 3), "2"),
        (Fraction(1, 10**6), "0.000001"),
        (Fraction(1, 2**100), f"1/{2**100}"),
    ],
)
def test_format(value, text):
    """A trailing .0, an exponent that nobody reads, or a rounded number."""
    assert format_number(value) == text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_format_refuses_what_is_no_number(value):
    """An answer "nan"."""
    with pytest.raises(ValueError, match="no text"):
        format_number(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_format_loses_nothing(value):
    """A text that reads back as another number."""
    assert float(format_number(value)) == value


@given(st.fractions())
def test_format_of_fractions_loses_nothing(value):
    """A decimal cut short."""
    assert Fraction(format_number(value)) == value


def test_digits_of_both_scripts():
    """A digit, sign or point lost between the scripts."""
    assert to_bengali_digits("-1,234,567,890.5e+7") == "-১,২৩৪,৫৬৭,৮৯০.৫e+৭"
    assert to_ascii_digits("১২৩৪৫৬৭৮৯০ টাকা") == "1234567890 টাকা"


@given(st.text())
def test_digits_go_back(text):
    """A text that changes beyond its digits."""
    assert to_ascii_digits(to_bengali_digits(text)) == to_ascii_digits(text)


@pytest.mark.parametrize("text", ["", "-", "+1", "01", "1.", ".5", "1e", " 1", "1_0", "১", "١", "1,2", "inf", "nan"])
def test_only_plain_numbers_are_read(text):
    """What Python's float() takes and JSON does not."""
    with pytest.raises(ValueError, match="not a plain number"):
        read_number(text)
