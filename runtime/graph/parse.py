"""Strict reading: the text is one graph, with nothing around it but white space and a ```json fence.

Model output is hostile input. Python's ``json`` does the parsing, with hooks for what it lets through
(duplicate keys, NaN, numbers without limit) and a check of the nesting before it, so that it never recurses
deeply. Keys that the language does not have are refused: one may change what the node was meant to say.
``distractor`` and ``label`` may be absent (false, empty), for they never change a number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

import msgspec
from msgspec import Struct

from .errors import GraphParseError, quote
from .node import Node
from .numerals import MAX_DIGITS, read_number
from .program import Program, UnusualError, compile_nodes, compile_plain

MAX_TEXT_BYTES = 64 * 1024
MAX_DEPTH = 16
MAX_BRACKETS = 4096

_WHITE = " \t\r\n"
_FENCE_OPEN = "```json"
_FENCE_CLOSE = "```"
# A bracket and what stands before it. It gives nothing back, and an unclosed string ends with the text: one way only.
_BRACKET = re.compile(r'(?:[^"\[\]{}]|"(?:[^"\\]|\\.)*+"?)*+([\[\]{}])', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")
_BACKSLASH = ord("\\")
_LONG_NUMBER = re.compile(rb"[0-9.]{%d}" % MAX_DIGITS)
_KEYS = ("id", "op", "val", "args", "distractor", "label")


class Refused:
    """A number that JSON or the language does not have, kept in place until its node and field are known."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def parse_nodes(text: str | bytes) -> tuple[tuple[Node, ...], Program]:
    """The nodes that ``text`` holds, and the program that they are.

    Raises GraphParseError: longer than 64 KiB of UTF-8, not one JSON object, or a node of the wrong form;
    GraphStructureError among them: the nodes cannot be run in their order.
    """
    data = encode_text(text)
    plain = _read_plain(data)
    if plain is not None:
        return plain
    nodes = read_nodes(_load(_unfence(decode_text(data))))
    return nodes, compile_nodes(nodes)


def read_nodes(document: Any) -> tuple[Node, ...]:
    """The nodes of a document that has been loaded, each of the right form. Raises GraphParseError."""
    if not isinstance(document, dict):
        raise GraphParseError(f'expected an object with the key "nodes", got {_kind(document)}')
    for key in document:
        if key != "nodes":
            raise GraphParseError('unknown key; a graph has only "nodes"', field=key)
    nodes = document.get("nodes")
    if not isinstance(nodes, list):
        raise GraphParseError(f"expected a list of nodes, got {_kind(nodes)}", field="nodes")
    return tuple(_read_node(item, f"nodes[{index}]") for index, item in enumerate(nodes))


class _WrittenNode(Node, frozen=True, kw_only=True, gc=False, eq=False, forbid_unknown_fields=True):
    """A node as models write it: the keys that every node has are required, and there are no literals."""

    args: tuple[str, ...] | None = None
    distractor: bool
    label: str


_WrittenNode.__name__ = Node.__name__


class _WrittenGraph(Struct, forbid_unknown_fields=True, gc=False):
    nodes: tuple[_WrittenNode, ...]


_DECODER = msgspec.json.Decoder(_WrittenGraph)


def _read_plain(data: bytes) -> tuple[tuple[Node, ...], Program] | None:
    """The graph by msgspec, many times as fast, where nothing in ``data`` needs a closer look; else None.

    msgspec takes the last of two equal keys, any number of digits, and rounds to zero, all without a word. Without
    escapes every quote belongs to a string, so counting them shows a key too many.
    """
    if _BACKSLASH in data:
        return None
    fenced = data.startswith(b"```json") and data.endswith(b"```")
    try:
        nodes = _DECODER.decode(data[7:-3] if fenced else data).nodes
        program, arguments, has_doubles = compile_plain(nodes, {})
    except (msgspec.DecodeError, UnicodeError, UnusualError, KeyError):
        return None
    # "nodes"; five keys and three strings a node, for it has either val or args; and the arguments.
    if data.count(b'"') != 2 * (1 + 8 * len(nodes) + arguments):
        return None
    if has_doubles and (0 in [node.val for node in nodes] or _LONG_NUMBER.search(data)):
        return None
    return nodes, program


def encode_text(text: str | bytes) -> bytes:
    """``text`` in bytes, within the limit. Raises GraphParseError."""
    # Checked before and after: a text has at least as many bytes as characters.
    if len(text) <= MAX_TEXT_BYTES:
        try:
            data = text if isinstance(text, bytes) else text.encode()
        except UnicodeError as error:
            raise GraphParseError(f"the text is not valid UTF-8: {error}") from None
        if len(data) <= MAX_TEXT_BYTES:
            return data
    raise GraphParseError(f"the text is longer than {MAX_TEXT_BYTES} bytes")


def decode_text(data: bytes) -> str:
    """``data`` as a string. Raises GraphParseError where it is not valid UTF-8."""
    try:
        return data.decode()
    except UnicodeError as error:
        raise GraphParseError(f"the text is not valid UTF-8: {error}") from None


def _unfence(text: str) -> str:
    """The text inside the optional fence. It may close right behind the last brace."""
    body = text.strip(_WHITE)
    if not body.startswith(_FENCE_OPEN):
        return body
    inner = body[len(_FENCE_OPEN) :]
    if not inner.endswith(_FENCE_CLOSE):
        raise GraphParseError("the ```json fence is never closed: the text may be cut off")
    return inner.removesuffix(_FENCE_CLOSE)


def _load(text: str) -> Any:
    """The JSON value of ``text``, with refused numbers in place."""
    _check_depth(text)
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique_keys,
            parse_int=read_json_number,
            parse_float=read_json_number,
            parse_constant=lambda name: Refused(f"{name} is not a number of JSON"),
        )
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise GraphParseError(f"not one complete JSON object ({where}: {error.msg})") from None


def _check_depth(text: str) -> None:
    for _ in bracket_depths(_BRACKET, text):
        pass


def bracket_depths(bracket: re.Pattern[str], text: str, start: int = 0) -> Iterator[tuple[int, int]]:
    """Where each bracket of ``text`` from ``start`` on ends, and how deep they are nested there.

    ``bracket`` matches up to the next one, which is its group. Raises GraphParseError past `MAX_DEPTH`, or past
    `MAX_BRACKETS`.
    """
    depth = count = 0
    match = bracket.match(text, start)
    while match:
        depth += 1 if match[1] in "[{" else -1
        if depth > MAX_DEPTH:
            raise GraphParseError(f"brackets nested deeper than {MAX_DEPTH}")
        count += 1
        if count > MAX_BRACKETS:
            raise GraphParseError(f"more than {MAX_BRACKETS} brackets, which is more than any graph has")
        yield match.end(), depth
        match = bracket.match(text, match.end())


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise GraphParseError("the key is there twice", node=_usable_id(dict(pairs)), field=key)
        found[key] = value
    return found


def read_json_number(text: str) -> int | float | Refused:
    """The value of a number of JSON, or why it is none."""
    try:
        return read_number(text)
    except ValueError as error:
        return Refused(str(error))


def _usable_id(item: dict[str, Any]) -> str | None:
    node_id = item.get("id")
    return node_id if isinstance(node_id, str) and node_id else None


def _read_node(item: Any, position: str) -> Node:
    """The node that ``item`` is. ``position`` names it in messages where it has no id of its own."""
    if not isinstance(item, dict):
        raise GraphParseError(f"expected an object, got {_kind(item)}", node=position)
    name = _usable_id(item) or position
    for key in item:
        if key not in _KEYS:
            raise GraphParseError(f"unknown key; a node has {', '.join(_KEYS)}", node=name, field=key)
    for key in ("id", "op"):
        if key not in item:
            raise GraphParseError("missing", node=name, field=key)
    node_id = _read_text(item["id"], name, "id")
    if not node_id:
        raise GraphParseError("an id cannot be empty", node=name, field="id")
    distractor = item.get("distractor", False)
    if not isinstance(distractor, bool):
        _fail_type("true or false", distractor, name, "distractor")
    return Node(
        id=node_id,
        op=_read_text(item["op"], name, "op"),
        val=_read_value(item["val"], name) if "val" in item else None,
        args=_read_args(item["args"], name) if "args" in item else None,
        distractor=distractor,
        label=_read_text(item.get("label", ""), name, "label"),
    )


def _read_value(value: Any, name: str) -> int | float:
    # A bool is an int to Python.
    if isinstance(value, bool) or not isinstance(value, int | float):
        _fail_type("a number", value, name, "val")
    return value


def _read_args(args: Any, name: str) -> tuple[str | int | float, ...]:
    if not isinstance(args, list):
        _fail_type("a list", args, name, "args")
    return tuple(_read_arg(arg, name) for arg in args)


def _read_arg(arg: Any, name: str) -> str | int | float:
    if isinstance(arg, str):
        return _read_text(arg, name, "args")
    if isinstance(arg, bool) or not isinstance(arg, int | float):
        _fail_type("node ids or numbers", arg, name, "args")
    return arg


def _read_text(value: Any, name: str, field: str) -> str:
    if not isinstance(value, str):
        _fail_type("a string", value, name, field)
    # JSON's escapes can make half a surrogate pair, which no UTF-8 text can hold.
    if _SURROGATE.search(value):
        raise GraphParseError("half of a surrogate pair is no character", node=name, field=field)
    return value


def _fail_type(expected: str, value: Any, name: str, field: str) -> NoReturn:
    reason = value.reason if isinstance(value, Refused) else f"expected {expected}, got {_kind(value)}"
    raise GraphParseError(reason, node=name, field=field)


def _kind(value: Any) -> str:
    """What ``value`` is in the words of JSON, for a message."""
    if isinstance(value, str):
        return f"the string {quote(value)}"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list) else "a number"
