"""The file of a run: JSON Lines, a header and then a row a question, each on disk before the next is asked.

A process that is killed leaves at most one line unfinished, which is taken away when the file is opened again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

from ..errors import UsageError
from ..files import sync_folder
from ..journal import Journal
from ..untrusted import decode_document
from .rows import EvalRow, Header, Settings

# A text has 64 KiB at most; escaped, six times as many.
_MAX_LINE_BYTES = 1 << 20
_MAX_FILE_BYTES = 1 << 32


class Run(NamedTuple):
    """A file of rows that was read."""

    header: Header
    rows: tuple[EvalRow, ...]


class RowFile:
    """Writes the rows of a run to ``path``; a context that closes the file.

    A file that is there is gone on with, if it was made with the same settings.

    Args:
        path: the file; its folder must be there.
        header: of the run.

    Attributes:
        rows: those that are in the file already.

    Raises:
        BusyError: another process is writing it.
        UsageError: the file is none of a run, was made with other settings, or cannot be written.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self._journal = Journal(path)
        try:
            self.rows = self._resume(header)
        except BaseException:
            self._journal.close()
            raise

    def append(self, row: EvalRow) -> None:
        """Writes ``row``; when this returns it is on disk.

        Raises:
            JournalError: it could not be written: no space, for example.
        """
        self._write(row)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()

    def _resume(self, header: Header) -> tuple[EvalRow, ...]:
        path = self._journal.path
        if self._journal.size == 0:
            self._write(header)
            sync_folder(path.parent)
            return ()
        found = read_run(path)
        _check_settings(path, found.header.settings, header.settings)
        self._journal.recover(lambda _line: None)
        return found.rows

    def _write(self, document: msgspec.Struct) -> None:
        self._journal.append(msgspec.json.encode(document) + b"\n")
        self._journal.sync()


def read_run(path: Path) -> Run:
    """Header and rows of the file ``path``; a last line without an end is left out.

    Raises:
        UsageError: it cannot be read, or is no file of rows; the message names the line.
    """
    lines = _lines(path)
    number, first = next(lines, (1, b""))
    try:
        header = decode_document(first, Header, _MAX_LINE_BYTES)
    except ValueError as error:
        raise UsageError(f"{path}: not a file of `dagger-edge eval` (line {number}: {error})") from None
    rows: dict[tuple[str, int], EvalRow] = {}
    for number, line in lines:
        try:
            row = decode_document(line, EvalRow, _MAX_LINE_BYTES)
        except ValueError as error:
            raise UsageError(f"{path}, line {number}: {error}") from None
        if row.key in rows:
            raise UsageError(f"{path}, line {number}: row {row.row} of {row.set} is there twice")
        rows[row.key] = row
    return Run(header, tuple(rows.values()))


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > _MAX_FILE_BYTES:
                raise UsageError(f"{path}: more than {_MAX_FILE_BYTES:,} bytes: not a file of `dagger-edge eval`")
            number = 1
            while line := file.readline(_MAX_LINE_BYTES + 2):
                if not line.endswith(b"\n") and len(line) <= _MAX_LINE_BYTES:
                    return
                yield number, line.rstrip(b"\n")
                number += 1
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def _check_settings(path: Path, there: Settings, here: Settings) -> None:
    """Refuses to mix two runs in one file."""
    if there == here:
        return
    names = [name for name in Settings.__struct_fields__ if getattr(there, name) != getattr(here, name)]
    shown = "; ".join(f"{name} {_shown(there, name)} there, {_shown(here, name)} now" for name in names)
    raise UsageError(f"{path} was made with other settings ({shown}): give another --out, or those settings")


def _shown(settings: Settings, name: str) -> str:
    text = msgspec.json.encode(getattr(settings, name)).decode()
    return text if len(text) <= 60 else f"{text[:57]}…"
