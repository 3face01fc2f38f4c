"""Running a batch: rows are read, worked on where they are not done yet, and written down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from msgspec import Raw, UnsetType

from ..errors import ModelError
from .ledger import Ledger
from .order import AsInInput, AsTheyCome
from .work import BadRow, Engine, Outcome, Row, Task, line_of


@dataclass(slots=True)
class Progress:
    """How far a batch is.

    Attributes:
        before: rows that were done when it was opened.
        done: rows that are done now, those included.
        failed: those of ``done`` that have no result.
    """

    before: int
    done: int
    failed: int


def run_batch(
    rows: Iterable[Row | BadRow],
    task: Task,
    engine: Engine,
    ledger: Ledger,
    *,
    ordered: bool = False,
    stopped: Callable[[], bool] = lambda: False,
    tell: Callable[[Progress], None] = lambda _progress: None,
) -> Progress:
    """Works on all ``rows`` that are not in ``ledger``, and writes each into it once.

    Rows are held only as long as they are worked on, so that memory does not grow with their number.

    Args:
        rows: of the input, each number once.
        task: how they are worked on. It is opened only where there is a row to do.
        engine: where.
        ledger: what is done.
        ordered: write lines as the rows stand in ``rows``; else as they come.
        stopped: whether to take no more rows.
        tell: called after every row that is written.

    Returns:
        How far it came: all of it, unless ``stopped()``.

    Raises:
        JournalError: a line could not be written.
        ModelError: the engine gave no outcome for some rows. They can be done by running it again.
        DaggerEdgeError: of the engine and the task; UsageError of ``rows``.
    """
    book = _Book(ledger, tell, ordered=ordered)
    for outcome in engine.work(task, book.take(rows, stopped), stopped):
        book.settle(outcome)
    ledger.sync()
    if book.held and not stopped():
        raise ModelError(f"{len(book.held)} rows came back without an outcome: the same command does them again")
    return book.progress


class _Book:
    """Which rows are being worked on, and what is written of them."""

    def __init__(self, ledger: Ledger, tell: Callable[[Progress], None], *, ordered: bool) -> None:
        self.progress = Progress(len(ledger.done), len(ledger.done), ledger.failed)
        # The ids of rows that are being worked on.
        self.held: dict[int, Raw | UnsetType] = {}
        self._ledger = ledger
        self._tell = tell
        self._order: AsTheyCome[tuple[bytes, bool]] = AsInInput() if ordered else AsTheyCome()

    def take(self, rows: Iterable[Row | BadRow], stopped: Callable[[], bool]) -> Iterator[Row]:
        """The rows that are to be worked on. Bad ones are written down on the way."""
        for row in rows:
            if stopped():
                return
            if row.number in self._ledger.done:
                continue
            self.held[row.number] = row.id
            self._order.expect(row.number)
            if isinstance(row, BadRow):
                self.settle(Outcome(row.number, failure=row.failure))
            else:
                yield row

    def settle(self, outcome: Outcome) -> None:
        """Writes what became of a row, or keeps it until its turn. An outcome that came before is left out."""
        if outcome.number not in self.held:
            return
        line = line_of(outcome, self.held.pop(outcome.number))
        for number, (text, is_error) in self._order.settle(outcome.number, (line, outcome.failure is not None)):
            self._ledger.write(number, text, is_error=is_error)
            self.progress.done += 1
            self.progress.failed += is_error
            self._tell(self.progress)
