"""The characters that the text of a graph may be made of when it is generated.

The grammar that decoding is held to (ids, numbers and labels of graphs) allows these and no others, and an output
head that is cut for it (``dagger-edge export --head``) keeps the tokens that spell them. Reading a graph is not
bound to them: labels that others wrote may hold anything.

They are: what Unicode assigns in the Bengali block, with the dandas that Bengali shares with Devanagari; printable
ASCII and the newline; the two invisible joiners that Bengali spelling needs; and signs of money, arithmetic, units
and quotation that word problems have. Written out as ranges, so that they are the same on every Python.
"""

from __future__ import annotations

_BENGALI = (
    (0x0964, 0x0965),
    (0x0980, 0x0983),
    (0x0985, 0x098C),
    (0x098F, 0x0990),
    (0x0993, 0x09A8),
    (0x09AA, 0x09B0),
    (0x09B2, 0x09B2),
    (0x09B6, 0x09B9),
    (0x09BC, 0x09C4),
    (0x09C7, 0x09C8),
    (0x09CB, 0x09CE),
    (0x09D7, 0x09D7),
    (0x09DC, 0x09DD),
    (0x09DF, 0x09E3),
    (0x09E6, 0x09FE),
)
BENGALI = frozenset(chr(code) for first, last in _BENGALI for code in range(first, last + 1))
ASCII = frozenset({"\n", *map(chr, range(0x20, 0x7F))})
# Zero-width non-joiner and joiner.
JOINERS = frozenset("\u200c\u200d")
# The taka is in the Bengali block.
SIGNS = frozenset("₹£€¥" + "×÷−±√π≤≥≠≈" + "²³½¼¾⅓⅔" + "°′″" + "–—‘’“”…•·→")
CHARSET = BENGALI | ASCII | JOINERS | SIGNS
_BYTES = frozenset(byte for char in CHARSET for byte in char.encode())


def writes_graphs(spelled: bytes) -> bool:
    """Whether a token that spells this can be in the text of a graph: of its characters alone, or a byte of one."""
    if len(spelled) == 1:
        return spelled[0] in _BYTES
    try:
        return CHARSET.issuperset(spelled.decode())
    except UnicodeDecodeError:
        return False
