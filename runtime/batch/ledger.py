"""The files of a batch: the output, the errors, and the state. What is in the first two is what was done.

There is no third record that could disagree with them: each line says which row it is of.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from msgspec import Struct

from ..errors import UsageError
from ..files import sync_folder
from ..journal import Journal, JournalError
from .row_set import RowSet
from .state import State, differences, read_state, state_path, write_state

# Seconds between syncs where rows come quickly: what a machine that loses its power has to do again.
SYNC_S = 0.25


class _Line(Struct):
    """What is read of a line again: which row it is of."""

    row: int


_DECODER = msgspec.json.Decoder(_Line)


class Ledger:
    """The output ``out`` of the batch ``state``, new or to be gone on with. A context that syncs and closes.

    Attributes:
        done: the numbers of the rows that are in one of the files.
        failed: how many of them are errors.
        torn: bytes of unfinished lines that were cut off.

    Raises:
        BusyError: another batch is writing to one of the files.
        UsageError: a file cannot be written, or is of something else; the batch is another one.
    """

    def __init__(self, out: Path, state: State) -> None:
        self.done = RowSet()
        self.failed = self.torn = 0
        self._synced_at = 0.0
        with ExitStack() as stack:
            self._out = stack.enter_context(Journal(out))
            self._errors = stack.enter_context(Journal(out.parent / state.errors))
            self._begin(out, state)
            self.torn += self._out.recover(self._visit)
            answered = len(self.done)
            self.torn += self._errors.recover(self._visit)
            self.failed = len(self.done) - answered
            self._files = stack.pop_all()

    def write(self, number: int, line: bytes, *, is_error: bool) -> None:
        """Writes the line of the row ``number``, and makes it safe, unless that was done a moment ago.

        Raises:
            JournalError: it could not be written; all earlier ones are there.
        """
        try:
            (self._errors if is_error else self._out).append(line)
            # Written is done, also where it is not safe yet: of this process, only these lines are left.
            self.done.add(number)
            self.failed += is_error
            if time.monotonic() - self._synced_at >= SYNC_S:
                self.sync()
        except JournalError as error:
            raise JournalError(
                f"{error}: the {len(self.done):,} rows that are done stay done; mend it, and the same command goes on"
            ) from None

    def sync(self) -> None:
        """Makes all lines safe. Raises JournalError: they are not."""
        self._out.sync()
        self._errors.sync()
        self._synced_at = time.monotonic()

    def close(self) -> None:
        """Syncs, and lets go of the files. Raises JournalError, as `sync`."""
        with self._files:
            self.sync()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        # The first error is the one that is told.
        with self._files:
            try:
                self.sync()
            except JournalError:
                return

    def _begin(self, out: Path, state: State) -> None:
        """Writes the state of a new batch, or compares it with the one that is there."""
        path = state_path(out)
        before = read_state(path)
        if before is None:
            for journal in (self._out, self._errors):
                if journal.size:
                    raise UsageError(
                        f"{journal.path}: is there already, and no batch that could be gone on with ({path.name} is"
                        " missing): take another output, or move it away"
                    )
            write_state(path, state)
            for folder in {out.parent, self._errors.path.parent}:
                sync_folder(folder)
        elif found := differences(before, state):
            raise UsageError(
                f"{out}: belongs to another batch: {'; '.join(found)}. Give what was given then, or take another output"
            )

    def _visit(self, line: bytes) -> None:
        """Notes the row that ``line`` is of. Raises ValueError: it is of none."""
        try:
            number = _DECODER.decode(line).row
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise ValueError("not a line of a batch") from None
        if number < 0 or not self.done.add(number):
            raise ValueError(f"row {number} is there twice")
