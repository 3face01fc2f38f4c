"""Text from anywhere, for a terminal."""

from __future__ import annotations

_JOINERS = "\u200c\u200d"  # not printable by Python's rule, yet part of Bengali spelling


def printable(text: str) -> str:
    """``text`` with control, bidi and line-break characters escaped: a model must not steer a terminal."""
    return "".join(
        char if char.isprintable() or char in _JOINERS else char.encode("unicode_escape").decode("ascii")
        for char in text
    )
