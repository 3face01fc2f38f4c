"""Questions out of a file of any length, one after another: JSON Lines, csv or parquet."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
from msgspec import UNSET, Raw, UnsetType

from ..runtime.batch.work import BadRow, Failure, Row
from ..runtime.errors import UsageError
from ..runtime.graph.errors import quote
from ..runtime.prompt import MAX_QUESTION_CHARS
from .inputs import Source
from .rows import ID_FIELDS, MAX_ROW_BYTES, QUESTION_FIELD, Fields, RowError, read_lines, read_row
from .rows import Row as JsonRow

Format = Literal["jsonl", "csv", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)

_SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
# Of parquet, which is read by columns: a few thousand questions are a megabyte.
_ROWS_AT_ONCE = 1024
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Table:
    """The questions in the file ``path``.

    Attributes:
        path: the file.
        form: how it is written; see `format_of`.
        question, id: which field or column has the question and the id; None: the usual names.
    """

    path: Path
    form: Format
    question: str | None = None
    id: str | None = None

    def rows(self) -> Iterator[Row | BadRow]:
        """All rows, each with its number from 1: the line of JSON Lines, the record of csv (after the header) and of
        parquet. Holds one row, or a few of parquet.

        Raises:
            UsageError: the file cannot be read, or has no column of that name.
        """
        return {"jsonl": self._json_rows, "csv": self._csv_rows, "parquet": self._parquet_rows}[self.form]()

    def count(self) -> int:
        """How many rows there are. Raises UsageError, as `rows`."""
        if self.form == "parquet":
            rows: int = _open_parquet(self.path).metadata.num_rows
            return rows
        return sum(1 for _ in self.rows())

    def _json_rows(self) -> Iterator[Row | BadRow]:
        fields = Fields(question=self.question, id=self.id)
        with Source(str(self.path)) as source:
            for number, line in read_lines(source, lambda: None):
                row_id: Raw | UnsetType = UNSET
                try:
                    row = read_row(line, fields)
                    row_id = row.id
                    question = _question_of(row)
                except RowError as error:
                    yield BadRow(number, Failure(error.code, str(error)), row_id)
                else:
                    yield Row(number, question, row_id)

    def _csv_rows(self) -> Iterator[Row | BadRow]:
        with Source(str(self.path)) as source:
            lines = _CsvLines(source)
            reader = csv.reader(lines, strict=True)
            header = _next_record(reader)
            if isinstance(header, Failure) or header is None or lines.flaw is not None:
                told = "empty" if header is None else (lines.flaw or header).message  # type: ignore[union-attr]
                raise UsageError(f"{self.path}: its first line is no header of csv: {told}")
            place, id_place = self._columns(header)
            number = 0
            while (record := _next_record(reader)) is not None:
                if not record:
                    continue
                number += 1
                flaw, lines.flaw = lines.flaw, None
                yield _csv_row(number, flaw or record, len(header), place, id_place)

    def _parquet_rows(self) -> Iterator[Row | BadRow]:
        file = _open_parquet(self.path)
        names = [field.name for field in file.schema_arrow]
        place, id_place = self._columns(names)
        columns = [names[place], *([names[id_place]] if id_place not in {None, place} else [])]
        number = 0
        for batch in _parquet_batches(file, self.path, columns):
            questions = batch.column(names[place]).to_pylist()
            ids = questions if id_place is None else batch.column(names[id_place]).to_pylist()
            for question, row_id in zip(questions, ids, strict=True):
                number += 1
                yield _row(number, question, UNSET if id_place is None else _json_id(row_id))

    def _columns(self, names: Sequence[str]) -> tuple[int, int | None]:
        """Where the question and the id are. Raises UsageError: a column is not there, or there twice."""
        place = self._column(names, self.question or QUESTION_FIELD, "--question-field")
        if self.id is not None:
            return place, self._column(names, self.id, "--id-field")
        return place, next((names.index(name) for name in ID_FIELDS if name in names), None)

    def _column(self, names: Sequence[str], name: str, option: str) -> int:
        if names.count(name) == 1:
            return names.index(name)
        shown = ", ".join(quote(other) for other in names[:20])
        what = "no column" if name not in names else "more than one column"
        raise UsageError(f"{self.path}: {what} {quote(name)}; it has {shown}: name it with {option}")


def format_of(path: Path, asked: Format | None) -> Format:
    """The format that was ``asked`` for, or else the one of the file's ending. Raises UsageError: it is unknown."""
    found = asked or _SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise UsageError(f"{path}: its ending is none of {', '.join(_SUFFIXES)}: say what it is with --format")
    return found


class _CsvLines:
    """The lines of ``source`` as text, for the csv reader; what is wrong with one is its ``flaw``."""

    def __init__(self, source: Source) -> None:
        self.flaw: Failure | None = None
        self._source = source

    def __iter__(self) -> Iterator[str]:
        is_first = True
        for line in self._lines():
            data = line.removeprefix(_BOM) if is_first else line
            is_first = False
            try:
                yield data.decode()
            except UnicodeDecodeError as error:
                self.flaw = Failure("not_utf8", f"not UTF-8 (byte {error.start} of the line)")
                yield data.decode(errors="replace")

    def _lines(self) -> Iterator[bytes]:
        while line := self._source.read_line(MAX_ROW_BYTES):
            rest = line
            while len(rest) == MAX_ROW_BYTES and not rest.endswith(b"\n"):
                self.flaw = Failure("row_too_long", f"longer than {MAX_ROW_BYTES:,} bytes")
                rest = self._source.read_line(MAX_ROW_BYTES)
            yield line


def _question_of(row: JsonRow) -> str:
    """The question, also where the row is one. Raises RowError: there is none."""
    question = row.whole if isinstance(row.whole, str) else row.question()
    if question is None or not question.strip():
        raise RowError("no_question", "no question; name its field with --question-field")
    return question


def _next_record(reader: Iterator[list[str]]) -> list[str] | Failure | None:
    """The next record, why it is none, or None at the end."""
    try:
        return next(reader, None)
    except csv.Error as error:
        return Failure("bad_csv", f"{error}: is a quotation mark open or doubled?")


def _csv_row(number: int, record: list[str] | Failure, width: int, place: int, id_place: int | None) -> Row | BadRow:
    if isinstance(record, Failure):
        return BadRow(number, record)
    row_id = UNSET if id_place is None or id_place >= len(record) else _json_id(record[id_place])
    if len(record) != width:
        # A comma that should have been quoted would cut a question short.
        failure = Failure("bad_csv", f"{len(record)} fields, the header has {width}: is a comma unquoted?")
        return BadRow(number, failure, row_id)
    return _row(number, record[place], row_id)


def _row(number: int, question: Any, row_id: Raw | UnsetType) -> Row | BadRow:
    if not isinstance(question, str) or not question.strip():
        return BadRow(number, Failure("no_question", "no question: the field is empty or no text"), row_id)
    if len(question) > MAX_QUESTION_CHARS:
        return BadRow(number, Failure("no_question", f"longer than {MAX_QUESTION_CHARS:,} characters"), row_id)
    return Row(number, question, row_id)


def _json_id(value: Any) -> Raw | UnsetType:
    if value is None or value == "":
        return UNSET
    return Raw(msgspec.json.encode(value if isinstance(value, str | int | float) else str(value)))


def _open_parquet(path: Path) -> Any:
    """The file, as pyarrow has it. Raises UsageError: it is none, or pyarrow is not installed."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise UsageError(f"{path}: parquet needs pyarrow: pip install 'dagger-edge[parquet]'") from None
    try:
        return parquet.ParquetFile(path)
    except (OSError, ArrowException) as error:
        raise UsageError(f"{path}: not a parquet file that can be read: {_first_line(error)}") from None


def _parquet_batches(file: Any, path: Path, columns: list[str]) -> Iterator[Any]:
    from pyarrow import ArrowException

    try:
        yield from file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=columns, use_threads=False)
    except (OSError, ArrowException) as error:
        raise UsageError(f"{path}: damaged: {_first_line(error)}") from None


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:300]
