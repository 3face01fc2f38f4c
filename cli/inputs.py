"""Reading what a user names, a file or standard input: as one UTF-8 text of a bounded size, or piece by piece."""

from __future__ import annotations

import sys
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import click

from ..runtime.errors import UsageError


class Source:
    """The bytes of the file ``path``, or of standard input for ``-``; a context that closes the file.

    Attributes:
        name: what to call it in messages.

    Raises:
        UsageError: it cannot be opened, or (by the methods) not be read.
    """

    def __init__(self, path: str) -> None:
        self.name = "standard input" if path == "-" else click.format_filename(path)
        self._is_ours = path != "-"
        if not self._is_ours and sys.stdin is None:
            raise UsageError(f"{self.name} is closed: give a file")
        try:
            # Closed in __exit__.
            file = Path(path).open("rb") if self._is_ours else sys.stdin.buffer  # noqa: SIM115
        except OSError as error:
            raise UsageError(f"{self.name}: {error.strerror}") from None
        self._file = cast("BufferedReader", file)

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer only where the source ends."""
        try:
            return self._file.read(size)
        except OSError as error:
            raise UsageError(f"{self.name}: {error.strerror}") from None

    def read_some(self, size: int) -> bytes:
        """What is there already, at most ``size`` bytes; waits only where nothing is. Empty at the end."""
        try:
            return self._file.read1(size)
        except OSError as error:
            raise UsageError(f"{self.name}: {error.strerror}") from None

    def read_line(self, size: int) -> bytes:
        """The next line with its end, or its next ``size`` bytes. Empty at the end."""
        try:
            return self._file.readline(size)
        except OSError as error:
            raise UsageError(f"{self.name}: {error.strerror}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_ours:
            self._file.close()


def read_text(path: str, max_bytes: int) -> str:
    """The text of the file ``path``, or of standard input for ``-``; a byte order mark is left out.

    Raises:
        UsageError: it cannot be read, is larger than ``max_bytes``, or is not UTF-8.
    """
    with Source(path) as source:
        data = source.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise UsageError(f"{source.name}: more than {max_bytes:,} bytes: nothing that this command reads is that long")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{source.name}: not UTF-8 text (byte {error.start}): save it as UTF-8") from None
