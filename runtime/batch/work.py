"""What a batch is made of: rows, the operator that works on them, and the lines that come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from ..errors import DaggerEdgeError

# What is made of a row's text, as anything that msgspec encodes. Raises RowFailedError where nothing can be.
Operator = Callable[[str], Any]

_ENCODER = msgspec.json.Encoder()


class RowFailedError(DaggerEdgeError):
    """A row that an operator can make nothing of (exit code 1, were it not a line in the file of errors).

    ``code`` is stable, the message is for people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type[RowFailedError], tuple[str, str]]:
        return type(self), (self.code, str(self))


class Task(Protocol):
    """How rows are worked on. It travels to other processes, so it can be pickled and holds nothing large."""

    def open(self) -> AbstractContextManager[Operator]:
        """The operator, with all that it needs loaded; let go of at the end of the context."""


class Failure(Struct, frozen=True):
    """Why a row has no result. ``code`` is stable, ``message`` is for people; docs/batch.md lists the codes."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row to work on. ``number`` is its place in the input and says which row it is; ``id`` is its own, as JSON."""

    number: int
    text: str
    id: Raw | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be worked on. ``number`` and ``id`` are as of `Row`."""

    number: int
    failure: Failure
    id: Raw | UnsetType = UNSET


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the row ``number``: a ``document`` (JSON in one line), or else a ``failure``."""

    number: int
    document: bytes = b""
    failure: Failure | None = None


class Engine(Protocol):
    """Where rows are worked on: in this process, in several, or on several machines."""

    def work(self, task: Task, rows: Iterator[Row], stopped: Callable[[], bool]) -> Iterator[Outcome]:
        """The outcome of every one of ``rows``, in any order. ``rows`` are taken as they can be worked on, so that no
        more of them are held than are being worked on.

        The iterator of ``rows`` ends when ``stopped()``; those that were taken are finished, or abandoned where this
        would take long.

        Raises:
            DaggerEdgeError: the operator cannot be opened, or nothing can be worked on any more.
        """


class ResultRow(Struct, frozen=True, kw_only=True):
    """A line of the output. ``row`` is the row's number in the input, ``id`` its own id, if it has one."""

    row: int
    id: Raw | UnsetType = UNSET
    result: Raw


class ErrorRow(Struct, frozen=True, kw_only=True):
    """A line of the file of errors. ``row`` and ``id`` are as in a line of the output."""

    row: int
    id: Raw | UnsetType = UNSET
    error: Failure


def work_on(operator: Operator, row: Row) -> Outcome:
    """What ``operator`` makes of ``row``.

    An error that is not ours is the row's own: whatever it is, a night's work does not end for it.

    Raises:
        DaggerEdgeError: any but RowFailedError; it is of the operator, not of the row.
        MemoryError: there is none left.
    """
    try:
        return Outcome(row.number, _ENCODER.encode(operator(row.text)))
    except RowFailedError as error:
        return Outcome(row.number, failure=Failure(error.code, str(error)))
    except (DaggerEdgeError, MemoryError):
        raise
    except Exception as error:
        return Outcome(row.number, failure=Failure("internal", f"{type(error).__name__}: {error}"))


def line_of(outcome: Outcome, row_id: Raw | UnsetType) -> bytes:
    """The line that is written for ``outcome``, its end included."""
    if outcome.failure is not None:
        return _ENCODER.encode(ErrorRow(row=outcome.number, id=row_id, error=outcome.failure)) + b"\n"
    return _ENCODER.encode(ResultRow(row=outcome.number, id=row_id, result=Raw(outcome.document))) + b"\n"
