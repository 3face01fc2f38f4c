"""Lenient reading of a text with a graph in it, losing nothing: the first half of a repair.

What JSON does not allow and models write all the same is read where it can mean one thing only: prose around the
graph, a fence left open, single quotes, trailing commas, missing commas between nodes, Python's literals, numbers
such as ``১২``. Each is noted. A bracket that is never closed means that the text was cut off, which nothing mends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from .errors import GraphParseError, quote
from .parse import Refused, bracket_depths, read_json_number
from .structure import MAX_ARGS, MAX_NODES

# More than any node has.
MAX_KEYS = 16

_GRAPH_START = re.compile(r"""\{\s*["']nodes["']\s*:|\[\s*\{\s*["']""")
_STRICT_FENCES = {("", ""), ("```json", "```")}
_FENCES = re.compile(r"(?:\s|```(?:json)?)*", re.IGNORECASE)
# As in `parse`, with strings of both kinds.
_BRACKET = re.compile(r"""(?:[^"'\[\]{}]|"(?:[^"\\]|\\.)*+"?|'(?:[^'\\]|\\.)*+'?)*+([\[\]{}])""", re.DOTALL)
# Python's own escapes, which JSON lacks, any other escape, or a quote that needs one.
_ESCAPE_OR_QUOTE = re.compile(r"""\\x(?P<x>[0-9a-f]{2})|\\U(?P<u>00(?:0[0-9a-f]|10)[0-9a-f]{4})|\\.|\"""", re.DOTALL)
# Nothing in it that JSON forbids or writes another way.
_PLAIN_STRING = re.compile(r"""["'][^"'\\\x00-\x1f]*["']""")
_TOKEN = re.compile(
    r"""\s*(?:(?P<mark>[{}\[\]:,])|(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<word>[^\s{}\[\]:,"']+)|(?P<end>\Z))""",
    re.DOTALL,
)
_WORDS: dict[str, tuple[object, bool]] = {
    "true": (True, False),
    "false": (False, False),
    "null": (None, False),
    "True": (True, True),
    "False": (False, True),
    "None": (None, True),
}


@dataclass(frozen=True, slots=True)
class Written:
    """A number that stands in the text without quotes but not as JSON has it, such as ``১২`` or ``3/4``."""

    text: str


def load(text: str, note: Callable[[str, str], None]) -> Any:
    """The value of the one graph in ``text``: an object with "nodes", or a bare list of nodes.

    Numbers that JSON lacks arrive as `Written`, or as `Refused` where they are none. ``note`` takes the code and the
    message of each fix, once a kind. Raises GraphParseError: no graph, several, cut off, or not to be read.
    """
    start, end = _find(text)
    before, after = text[:start], text[end:]
    if text[start] == "[" and re.search(r"[\[\]{}]", before + after):
        raise GraphParseError("a list of nodes inside something else that is no graph")
    if not _FENCES.fullmatch(before) or not _FENCES.fullmatch(after):
        note("prose", "text around the graph")
    elif (before.strip(), after.strip()) not in _STRICT_FENCES:
        note("fence", "a code fence that is not closed, not opened, or not of json")
    return _Reader(text, start, end, note).read()


def _find(text: str) -> tuple[int, int]:
    """Where the one graph of ``text`` begins and ends."""
    found: tuple[int, int] | None = None
    match = _GRAPH_START.search(text)
    while match:
        if found:
            raise GraphParseError("more than one graph, and only one can be meant")
        found = match.start(), _closing(text, match.start())
        match = _GRAPH_START.search(text, found[1])
    if found is None:
        raise GraphParseError('no graph in the text: nothing begins with {"nodes": or with a list of nodes')
    return found


def _closing(text: str, start: int) -> int:
    """Behind the bracket that closes the one at ``start``."""
    for end, depth in bracket_depths(_BRACKET, text, start):
        if depth == 0:
            return end
    raise GraphParseError("a bracket is never closed: the text is cut off")


@dataclass(slots=True)
class _Reader:
    """A reader of JSON that forgives. ``_closing`` has bounded the depth, and so the recursion."""

    text: str
    at: int
    end: int
    note: Callable[[str, str], None]
    # The next token, and which of the groups of _TOKEN it is.
    _token: str = field(init=False, default="")
    _kind: str = field(init=False, default="")

    def read(self) -> Any:
        """The value that fills the text up to its end."""
        self._next()
        value = self._value()
        if self._kind != "end":
            self._fail("more text than one value")
        return value

    def _next(self) -> None:
        """Step to the next token."""
        match = _TOKEN.match(self.text, self.at, self.end)
        if match is None or match.lastgroup is None:
            self._fail("a string that is never closed")
        self.at = match.end()
        self._kind = match.lastgroup
        self._token = match[match.lastgroup]

    def _sees(self, mark: str) -> bool:
        return self._token == mark and self._kind == "mark"

    def _take(self, mark: str) -> bool:
        """Step over ``mark`` if it is next."""
        if not self._sees(mark):
            return False
        self._next()
        return True

    def _value(self) -> Any:
        if self._take("{"):
            return self._object()
        if self._take("["):
            return self._list()
        token, kind = self._token, self._kind
        if kind not in {"string", "word"}:
            self._fail("expected a value")
        self._next()
        return self._string(token) if kind == "string" else self._word(token)

    def _object(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not self._take("}"):
            if len(found) == MAX_KEYS:
                self._fail(f"an object of more than {MAX_KEYS} keys")
            key = self._key()
            if key in found:
                name = found.get("id")
                raise GraphParseError("the key is there twice", node=name if isinstance(name, str) else None, field=key)
            if not self._take(":"):
                self._fail("expected a colon")
            found[key] = self._value()
            self._separator("}")
        return found

    def _key(self) -> str:
        if self._kind != "string":
            self._fail("expected a key in quotes")
        key = self._string(self._token)
        self._next()
        return key

    def _list(self) -> list[Any]:
        found: list[Any] = []
        while not self._take("]"):
            if len(found) == MAX_NODES:
                self._fail(f"a longer list than any graph has: at most {MAX_NODES} nodes, {MAX_ARGS} arguments a node")
            found.append(self._value())
            if isinstance(found[-1], dict) and self._sees("{"):
                self.note("missing_comma", "a comma between nodes was missing")
            else:
                self._separator("]")
        return found

    def _separator(self, closing: str) -> None:
        if self._take(","):
            if self._sees(closing):
                self.note("trailing_comma", "a comma too many before a closing bracket")
        elif not self._sees(closing):
            self._fail("expected a comma or a closing bracket")

    def _string(self, token: str) -> str:
        if token[0] == "'":
            self.note("single_quotes", "strings in single quotes")
        if _PLAIN_STRING.fullmatch(token):
            return token[1:-1]
        inside = _ESCAPE_OR_QUOTE.sub(_as_in_json, token[1:-1])
        if token[0] == '"' and inside != token[1:-1]:
            self.note("python_literal", "escapes as Python writes them")
        try:
            return str(json.loads(f'"{inside}"'))
        except json.JSONDecodeError as error:
            self._fail(f"a string that JSON does not have: {error.msg}")

    def _word(self, word: str) -> Any:
        if word in _WORDS:
            value, is_python = _WORDS[word]
            if is_python:
                self.note("python_literal", "True, False or None as Python writes them")
            return value
        if word in {"NaN", "Infinity", "-Infinity"}:
            return Refused(f"{word} is not a number of JSON")
        number = read_json_number(word)
        return Written(word) if isinstance(number, Refused) else number

    def _fail(self, reason: str) -> NoReturn:
        line = self.text.count("\n", 0, self.at) + 1
        seen = f", at {quote(self._token)}" if self._token else ""
        raise GraphParseError(f"not to be read as a graph (line {line}{seen}): {reason}")


def _as_in_json(match: re.Match[str]) -> str:
    """An escape or a bare double quote inside a string of Python's, as a string of JSON has it."""
    code = match["x"] or match["u"]
    if code:
        return json.dumps(chr(int(code, 16)))[1:-1]
    return {"\\'": "'", '"': '\\"'}.get(match[0], match[0])
