"""Questions with their answers, out of the files in which test sets are published.

- **MGSM** (google-research/url-nlp, ``mgsm/mgsm_bn.tsv``): question and answer with a tab between, no header.
- **MSVAMP** (microsoft/MathOctopus, ``test_Bengali.json``): JSON Lines of ``m_query`` and ``response``.
- **DistractMath-BN** (dipta007/DAGGER): csv, or its rows as JSON Lines, of ``modified_question``, ``ground_truth`` and
  ``augmentation_type``.
- any JSON Lines, JSON list, csv or tsv with a header, whose fields are named.

A file is untrusted: whatever is not a question with an answer is an error that names row and line.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from ..errors import UsageError
from ..graph import Graph, GraphError
from ..graph.errors import printable, quote
from ..graph.numerals import decimal_value, plain_value, read_written_number
from ..prompt import clean_question

MAX_FILE_BYTES = 1 << 28
MAX_QUESTIONS = 1 << 20

# Where the parts of a row are in published files, in this order.
QUESTION_FIELDS = ("modified_question", "m_query", "question")
ANSWER_FIELDS = ("ground_truth", "answer_number", "response", "answer")
KIND_FIELDS = ("augmentation_type",)
GOLD_FIELDS = ("graph",)
ID_FIELDS = ("custom_id", "id")
_HEADED = frozenset({*QUESTION_FIELDS, *ANSWER_FIELDS})
_MAX_TEXT = 200


@dataclass(frozen=True, slots=True)
class Fields:
    """Where a row has its parts; None: the names of the published files."""

    question: str | None = None
    answer: str | None = None
    kind: str | None = None
    gold: str | None = None
    id: str | None = None


class Question(Struct, frozen=True, kw_only=True):
    """A question with its answer.

    Attributes:
        set: the name of its test set.
        row: its number in the file, from 1.
        question: as published, without white space around it.
        answer: the gold one.
        kind: what kind of distractor was added, or None.
        gold: a graph that solves it, or None.
        id: its own name, as text, or None.
    """

    set: str
    row: int
    question: str
    answer: int | float
    kind: str | None = None
    gold: Graph | None = None
    id: str | None = None


class QuestionSet(Struct, frozen=True, kw_only=True):
    """A test set.

    Attributes:
        name: as it is told.
        sha256: of the file.
        questions: in the file's order.
    """

    name: str
    sha256: str
    questions: tuple[Question, ...]


class _Cells(NamedTuple):
    """A row that was read: its line in the file, and its fields."""

    line: int
    values: dict[str, Any]


def read_questions(path: Path, fields: Fields = Fields(), *, name: str | None = None) -> QuestionSet:
    """The questions in the file ``path``: by its ending csv, tsv, or JSON (one object a line, or one list).

    Args:
        path: the file, in UTF-8.
        fields: where rows have their parts.
        name: of the set; None is the file's, without its ending.

    Raises:
        UsageError: the file cannot be read, or a row is no question with an answer; the message names row and line.
    """
    data = _read(path)
    text = _decode(path, data)
    readers = {".csv": _csv_rows, ".tsv": _tsv_rows}
    rows = readers.get(path.suffix.lower(), _json_rows)(path, text)
    called = path.stem if name is None else name
    questions = []
    for number, cells in enumerate(rows, start=1):
        if number > MAX_QUESTIONS:
            raise UsageError(f"{path}: more than {MAX_QUESTIONS:,} rows: split the file")
        try:
            questions.append(_question(called, number, cells.values, fields))
        except (ValueError, UsageError) as error:
            raise _row_error(path, number, cells.line, str(error)) from None
    if not questions:
        raise UsageError(f"{path}: no questions in it")
    return QuestionSet(name=called, sha256=hashlib.sha256(data).hexdigest(), questions=tuple(questions))


def _row_error(path: Path, row: int, line: int, reason: str) -> UsageError:
    return UsageError(f"{path}, row {row} (line {line}): {reason}")


def _read(path: Path) -> bytes:
    if path.suffix.lower() == ".parquet":
        raise UsageError(f"{path}: parquet is not read here: save it as JSON Lines or csv")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise UsageError(f"{path}: more than {MAX_FILE_BYTES:,} bytes: split the file")
    return data


def _decode(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}, line {line}: not UTF-8 (byte {error.start}): save it as UTF-8") from None


def _json_rows(path: Path, text: str) -> Iterator[_Cells]:
    """Of JSON Lines, or of one list."""
    if text.lstrip()[:1] == "[":
        items = _json(path, 1, text)
        for item in items:
            yield _Cells(1, _object(path, 1, item))
        return
    # Not splitlines, which also parts a text at what JSON has inside strings.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield _Cells(number, _object(path, number, _json(path, number, line)))


def _json(path: Path, line: int, text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UsageError(f"{path}, line {line}: not JSON: {reason}") from None


def _object(path: Path, line: int, item: Any) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise UsageError(f"{path}, line {line}: expected an object with a question and an answer")
    return item


def _csv_rows(path: Path, text: str) -> Iterator[_Cells]:
    yield from _table_rows(path, csv.reader(io.StringIO(text, newline=""), strict=True))


def _tsv_rows(path: Path, text: str) -> Iterator[_Cells]:
    """Of lines with tabs; quotes are text. Without a header the cells are question and answer."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE)
    if _HEADED & set(text.partition("\n")[0].rstrip("\r").split("\t")):
        yield from _table_rows(path, reader)
        return
    for cells in _lines(path, reader):
        if len(cells) != 2:
            told = f"{len(cells)} cells, expected a question and an answer with one tab between"
            raise UsageError(f"{path}, line {reader.line_num}: {told}")
        yield _Cells(reader.line_num, dict(zip(("question", "answer"), cells, strict=True)))


def _table_rows(path: Path, reader: Any) -> Iterator[_Cells]:
    """Of a table with a header."""
    lines = _lines(path, reader)
    header = next(lines, [])
    if len(set(header)) < len(header):
        raise UsageError(f"{path}: two columns of one name in the header")
    for cells in lines:
        if len(cells) != len(header):
            raise UsageError(f"{path}, line {reader.line_num}: {len(cells)} cells, the header has {len(header)}")
        yield _Cells(reader.line_num, {name: cell or None for name, cell in zip(header, cells, strict=True)})


def _lines(path: Path, reader: Any) -> Iterator[list[str]]:
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UsageError(f"{path}, line {reader.line_num}: not csv: {error}") from None
        if cells:
            yield cells


def _question(name: str, row: int, values: dict[str, Any], fields: Fields) -> Question:
    """The question of a row. Raises ValueError or UsageError, with the reason."""
    text = _value(values, fields.question, QUESTION_FIELDS)
    if not isinstance(text, str):
        raise UsageError(f"no question; {_missing(values, fields.question, 'question')}")
    answer = _value(values, fields.answer, ANSWER_FIELDS)
    if answer is None:
        raise UsageError(f"no answer; {_missing(values, fields.answer, 'answer')}")
    kind = _value(values, fields.kind, KIND_FIELDS)
    own = _value(values, fields.id, ID_FIELDS)
    return Question(
        set=name,
        row=row,
        question=clean_question(text),
        answer=read_answer(answer),
        kind=None if kind is None else printable(str(kind)[:_MAX_TEXT]),
        gold=_gold(_value(values, fields.gold, GOLD_FIELDS)),
        id=None if own is None else str(own)[:_MAX_TEXT],
    )


def _value(values: dict[str, Any], named: str | None, usual: tuple[str, ...]) -> Any:
    names = usual if named is None else (named,)
    return next((values[name] for name in names if values.get(name) is not None), None)


def _missing(values: dict[str, Any], named: str | None, part: str) -> str:
    shown = ", ".join(quote(key) for key in list(values)[:8]) or "no fields"
    return f"the row has {shown}" + (f": name it with --{part}-field" if named is None else f", not {quote(named)}")


def read_answer(value: Any) -> int | float:
    """The number that ``value`` is: one of JSON, or a text such as ``"8.0"``, ``"1,250"``, ``"১২"``.

    Raises:
        ValueError: it is none, with the reason.
    """
    if isinstance(value, str):
        number = decimal_value(_written(value))
        if number is None:
            raise ValueError(f"the answer {quote(value)} has no exact value as a number")
        return plain_value(number)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("the answer is no number")
    return plain_value(value)


def _written(value: str) -> Fraction:
    try:
        return read_written_number(value.strip())
    except ValueError as error:
        raise ValueError(f"the answer {quote(value)}: {error}") from None


def _gold(value: Any) -> Graph | None:
    """The gold graph; a text, or an object."""
    if value is None:
        return None
    try:
        return Graph.parse(value if isinstance(value, str) else msgspec.json.encode(value))
    except GraphError as error:
        raise ValueError(f"its gold graph: {error}") from None
