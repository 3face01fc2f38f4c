"""A file of lines that is only ever added to, by one process at a time, and of which no kill leaves half a line.

A line is written when the system has it (it outlives this process), and safe when it was synced (it outlives the
machine). What a kill tore is cut off when the file is opened again: it has no end, so nobody was told of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from .errors import BusyError, UsageError

# A result of the longest graph is a hundredth of it.
MAX_LINE_BYTES = 1 << 26


class JournalError(UsageError):
    """A file of rows that cannot be written, or holds something else (exit code 2)."""


class Journal:
    """The file ``path``, made where it is not there, and locked until it is closed. A context that closes it.

    Attributes:
        path: the file.

    Raises:
        BusyError: another process has it open as a journal.
        JournalError: it cannot be opened for writing, or is no regular file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise self._error(error) from None
        try:
            self._lock()
        except BaseException:
            os.close(self._fd)
            raise
        self._written = self._synced = os.fstat(self._fd).st_size

    @property
    def size(self) -> int:
        """Bytes that are written."""
        return self._written

    def recover(self, visit: Callable[[bytes], None]) -> int:
        """Gives every line, without its end, to ``visit``, and cuts off what a kill tore. Returns the bytes cut off.

        Args:
            visit: raises ValueError for a line that is none of ours.

        Raises:
            JournalError: there is a whole line that is none of ours: it is left as it is.
        """
        good = number = 0
        with open(os.dup(self._fd), "rb") as file:  # noqa: PTH123 (it is open already)
            file.seek(0)
            while line := file.readline(MAX_LINE_BYTES):
                number += 1
                if not line.endswith(b"\n"):
                    break
                try:
                    visit(line[:-1])
                except ValueError as error:
                    # Blocks that a machine lost before it wrote them are zeros.
                    if b"\0" in line and not file.read(1):
                        break
                    raise JournalError(
                        f"{self.path}, line {number}: {error}; it was edited or is of something else: take another"
                        " file, or mend it"
                    ) from None
                good += len(line)
            if line and file.read(1):
                raise JournalError(f"{self.path}, line {number}: longer than any line of ours: take another file")
        torn = self._written - good
        if torn:
            self._cut(good)
        return torn

    def append(self, line: bytes) -> None:
        """Writes ``line``, all of it or nothing.

        Raises:
            JournalError: there is no room, or it cannot be written; all earlier lines are there.
        """
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            self._withdraw(self._written)
            raise self._error(error) from None
        self._written += len(line)

    def sync(self) -> None:
        """Makes all lines safe.

        Raises:
            JournalError: they are not; those that were not safe before are taken back.
        """
        if self._synced == self._written:
            return
        try:
            os.fsync(self._fd)
        except OSError as error:
            # Which of them the system has thrown away, nobody can say.
            self._withdraw(self._synced)
            raise self._error(error) from None
        self._synced = self._written

    def close(self) -> None:
        """Lets go of the file and of the lock."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lock(self) -> None:
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            raise JournalError(f"{self.path}: not a regular file: rows are added to it, and read again to go on")
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"{self.path}: another process is writing to it: wait for its end, or stop it") from None
        except OSError as error:
            raise self._error(error) from None

    def _cut(self, length: int) -> None:
        try:
            os.ftruncate(self._fd, length)
            os.fsync(self._fd)
        except OSError as error:
            raise self._error(error) from None
        self._written = self._synced = length

    def _withdraw(self, length: int) -> None:
        # What stays of it is cut off when it is opened again.
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, length)
            os.fsync(self._fd)
        self._written = length
        self._synced = min(self._synced, length)

    def _error(self, error: OSError) -> JournalError:
        return JournalError(f"{self.path}: {error.strerror or error}")
