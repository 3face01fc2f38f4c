"""JSON Lines: rows out of a file of any length, one after another, and what is in a row.

A row is a JSON object whose text is under a key, a JSON string (the text itself), or a graph (an object with
``nodes``, or a list of nodes). Blank lines are skipped and counted; a byte order mark at the start is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

from ..runtime.errors import UsageError
from ..runtime.graph.errors import quote
from ..runtime.prompt import MAX_QUESTION_CHARS
from .documents import ErrorCode
from .inputs import Source

# Room for the prompt, its ids and the log probabilities that some servers write beside the text.
MAX_ROW_BYTES = 8 * 1024 * 1024

# Where the text is, in this order; the paths are those of vLLM's outputs and of files in OpenAI's batch format.
TEXT_FIELDS = (
    "output",
    "text",
    "response",
    "completion",
    "generated_text",
    "graph",
    "outputs.0.text",
    "response.body.choices.0.message.content",
    "response.body.choices.0.text",
    "choices.0.message.content",
    "choices.0.text",
)
# A batch file's "id" is the server's, "custom_id" the user's.
ID_FIELDS = ("custom_id", "id", "request_id")
QUESTION_FIELD = "question"

_CHUNK_BYTES = 64 * 1024
_BOM = b"\xef\xbb\xbf"
_WHITE = b" \t\r"
_MAX_SHOWN_KEYS = 8
_MAX_INDEX_DIGITS = 9

_ANY: Final = msgspec.json.Decoder(Raw)
_OBJECT: Final = msgspec.json.Decoder(dict[str, Raw])
_LIST: Final = msgspec.json.Decoder(list[Raw])
_STRING: Final = msgspec.json.Decoder(str)

_T = TypeVar("_T")


class RowError(UsageError):
    """A row that holds no text to work on (exit code 2, were it not written as a row of the output).

    ``code`` is stable, see `documents.RowFailure`; ``reason`` says what is wrong, ``field`` is the key or None.
    """

    def __init__(self, code: ErrorCode, reason: str, *, field: str | None = None) -> None:
        super().__init__(f"row: {reason}" if field is None else f"row, field {quote(field)}: {reason}")
        self.code: ErrorCode = code
        self.field = field


@dataclass(frozen=True, slots=True)
class Fields:
    """Where the parts of a row are: keys, or paths of keys and indices joined by points. None: the usual ones."""

    text: str | None = None
    id: str | None = None
    question: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One row. ``id`` is the row's own, as JSON, or UNSET; ``values`` is empty for a row that is no object."""

    id: Raw | UnsetType
    fields: Fields
    values: dict[str, Raw] = field(default_factory=dict)
    whole: str | bytes | None = None

    def text(self) -> str | bytes:
        """What `read` takes: the text, or the JSON of a graph that is there as such. Raises RowError."""
        if self.whole is not None:
            return self.whole
        if self.fields.text is not None:
            return self._named_text(self.fields.text)
        for path in TEXT_FIELDS:
            value = _find(self.values, path)
            if value is not None and (_starts(value, b'"') or _is_graph(value)):
                return _content(value)
        raise RowError("no_text", f"no text and no graph in the usual fields; {self._keys()}; name it with --field")

    def question(self) -> str | None:
        """The question of the row, None where it has none and none was asked for. Raises RowError."""
        path = self.fields.question or QUESTION_FIELD
        value = _find(self.values, path)
        if value is None or _starts(value, b"n"):
            if self.fields.question is None:
                return None
            raise RowError("no_question", f"no question; {self._keys()}", field=path)
        if not _starts(value, b'"'):
            raise RowError("no_question", "a question is a string", field=path)
        question = _decoded(_STRING, value)
        if len(question) > MAX_QUESTION_CHARS:
            raise RowError("no_question", f"longer than {MAX_QUESTION_CHARS:,} characters", field=path)
        return question

    def _named_text(self, path: str) -> str | bytes:
        value = _find(self.values, path)
        if value is None:
            raise RowError("no_text", f"not there; {self._keys()}", field=path)
        if not _starts(value, b'"{['):
            raise RowError("no_text", "neither a text nor a graph", field=path)
        return _content(value)

    def _keys(self) -> str:
        names = [quote(key) for key in self.values]
        shown = ", ".join(names[:_MAX_SHOWN_KEYS]) + (", …" if len(names) > _MAX_SHOWN_KEYS else "")
        return f"the row has {shown or 'no fields'}"


def read_lines(source: Source, before_read: Callable[[], None]) -> Iterator[tuple[int, bytes | None]]:
    """The lines of ``source`` that are not blank, each with its number from 1; None for one that is too long.

    White space around a line is left out, as is a byte order mark.
    Holds no more than one line of `MAX_ROW_BYTES`. ``before_read`` is called before anything is waited for.

    Raises:
        UsageError: the source cannot be read.
    """
    number = 1
    held: bytearray | None = bytearray()
    while True:
        before_read()
        chunk = source.read_some(_CHUNK_BYTES)
        # The last line may lack its end.
        *ended, rest = chunk.split(b"\n") if chunk else (b"", b"")
        for piece in ended:
            line = _joined(held, piece)
            if line is None:
                yield number, None
            elif data := bytes(line.removeprefix(_BOM) if number == 1 else line).strip(_WHITE):
                yield number, data
            number += 1
            held = bytearray()
        if not chunk:
            return
        held = _joined(held, rest)


def read_row(data: bytes | None, fields: Fields) -> Row:
    """The row that the line ``data`` of `read_lines` is. Raises RowError."""
    if data is None:
        raise RowError("row_too_long", f"longer than {MAX_ROW_BYTES:,} bytes")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise RowError("not_utf8", f"not UTF-8 (byte {error.start})") from None
    if data.startswith(b"{"):
        return _row_of(data, fields)
    if data.startswith(b'"'):
        return Row(UNSET, fields, whole=_decoded(_STRING, data))
    _decoded(_ANY, data)
    if not data.startswith(b"["):
        raise RowError("not_json", "expected an object, a text or a graph")
    return Row(UNSET, fields, whole=data)


def id_text(row_id: Raw | UnsetType) -> str:
    """The id as text: a string without its quotes, anything else as JSON, nothing where there is none."""
    if isinstance(row_id, UnsetType):
        return ""
    return _decoded(_STRING, row_id) if _starts(row_id, b'"') else bytes(row_id).decode()


def _row_of(data: bytes, fields: Fields) -> Row:
    values = _decoded(_OBJECT, data)
    row_id = _id_of(values, (fields.id,) if fields.id is not None else ID_FIELDS)
    nodes = values.get("nodes")
    if fields.text is not None or nodes is None or not _starts(nodes, b"["):
        return Row(row_id, fields, values)
    # Whole where it can be: strict reading then sees a key that is there twice.
    return Row(row_id, fields, values, data if len(values) == 1 else b'{"nodes":%b}' % bytes(nodes))


def _id_of(values: dict[str, Raw], paths: tuple[str, ...]) -> Raw | UnsetType:
    found = (_find(values, path) for path in paths)
    value = next((value for value in found if value is not None and not _starts(value, b"n")), None)
    if value is None or not _starts(value, b"{["):
        return UNSET if value is None else value
    # Without white space: it may hold what some readers take for the end of a line. Decoded first for its depth.
    return Raw(msgspec.json.format(_decoded(_ANY, value), indent=-1))


def _find(values: dict[str, Raw], path: str) -> Raw | None:
    """The value under the key ``path``, else at the end of the path that it is."""
    if path in values:
        return values[path]
    head, *rest = path.split(".")
    value = values.get(head)
    for key in rest:
        value = None if value is None else _inside(value, key)
    return value


def _inside(value: Raw, key: str) -> Raw | None:
    if _starts(value, b"{"):
        return _decoded(_OBJECT, value).get(key)
    if _starts(value, b"[") and key.isdecimal() and len(key) <= _MAX_INDEX_DIGITS:
        return next(iter(_decoded(_LIST, value)[int(key) :]), None)
    return None


def _is_graph(value: Raw) -> bool:
    return _starts(value, b"{") and "nodes" in _decoded(_OBJECT, value)


def _content(value: Raw) -> str | bytes:
    return _decoded(_STRING, value) if _starts(value, b'"') else bytes(value)


def _decoded(decoder: msgspec.json.Decoder[_T], data: bytes | Raw) -> _T:
    """What ``data`` is. Raises RowError."""
    try:
        return decoder.decode(data)
    except msgspec.DecodeError as error:
        raise RowError("not_json", str(error)) from None
    except RecursionError:
        # Also for a part of what could be read as a whole: the limit is that of Python's own stack.
        raise RowError("not_json", "brackets nested too deeply") from None


def _starts(value: Raw, marks: bytes) -> bool:
    """Whether the JSON ``value`` begins with one of ``marks``, which tells its type."""
    return memoryview(value)[0] in marks


def _joined(held: bytearray | None, piece: bytes) -> bytearray | None:
    """``held`` and ``piece``; None where together they are too long, or ``held`` is already."""
    if held is None or len(held) + len(piece) > MAX_ROW_BYTES:
        return None
    held += piece
    return held
