"""The JSON documents that `run`, `check` and `show` print. `dagger-edge schema` makes their schemas of these types."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar, get_args

from msgspec import UNSET, Raw, Struct, UnsetType

from ..runtime.graph import Fix, GraphWarning, Influence, Result
from ..runtime.graph.schema import Level

Format = Literal["text", "mermaid", "svg", "html"]
FORMATS: tuple[Format, ...] = get_args(Format)

Outcome = Literal["strict", "repaired", "rejected", "failed", "unreadable"]
ErrorCode = Literal[
    "row_too_long",
    "not_utf8",
    "not_json",
    "no_text",
    "no_question",
    "no_graph",
    "no_value",
    "setting",
]


class Run(Result, frozen=True, kw_only=True):
    """What `dagger-edge run --json` prints: the answer of a graph, and how it came about.

    Attributes:
        level, fixes: how far the text was from the language, and what was mended.
        sensitivity: what each constant does to the answer; there with --sensitivity.
    """

    # Always there in a printed document.
    level: Level
    fixes: tuple[Fix, ...]
    sensitivity: tuple[Influence, ...] | UnsetType = UNSET

    @property
    def outcome(self) -> Outcome:
        """What a row of it counts as."""
        return self.level


class Check(Struct, frozen=True, kw_only=True):
    """What `dagger-edge check --json` prints: what there is to say about a graph, and about it as an answer.

    ``answer`` is null where the graph has none; ``failure`` then says why.
    """

    level: Level
    fixes: tuple[Fix, ...]
    warnings: tuple[GraphWarning, ...]
    answer: int | float | None
    failure: str | None

    @property
    def outcome(self) -> Outcome:
        """What a row of it counts as."""
        return self.level if self.failure is None else "failed"


class Show(Struct, frozen=True, kw_only=True):
    """What `dagger-edge show --json` prints: a drawing of a graph.

    ``drawing`` is the text of the drawing; with --out there is ``file`` instead, the name of the file in that folder.
    ``answer`` is null where the graph has none; ``failure`` then says why.
    """

    format: Format
    level: Level
    answer: int | float | None
    failure: str | None
    drawing: str | UnsetType = UNSET
    file: str | UnsetType = UNSET

    @property
    def outcome(self) -> Outcome:
        """What a row of it counts as."""
        return self.level if self.failure is None else "failed"


DocumentT = TypeVar("DocumentT", Run, Check, Show)


class ResultRow(Struct, Generic[DocumentT], frozen=True, kw_only=True):
    """A row that could be served. ``line`` is its line in the input, counted from 1; ``id`` its own id, if it has one.

    ``result`` is the document that the command prints for a single graph.
    """

    line: int
    id: Raw | UnsetType = UNSET
    result: DocumentT


class RowFailure(Struct, frozen=True, kw_only=True):
    """Why a row has no result. ``code`` is stable, ``message`` is for people.

    Rows that cannot be read: ``row_too_long``, ``not_utf8``, ``not_json``, ``no_text`` (no field with a text or a
    graph), ``no_question``. Rejected: ``no_graph`` (the text is no graph, and mending it would be a guess). Failed:
    ``no_value`` (a node of the answer's path has none), ``setting`` (--set names no constant of it). ``node`` and
    ``field`` say where, or are null; ``field`` is the row's where the row cannot be read, else the node's.
    """

    code: ErrorCode
    node: str | None
    field: str | None
    message: str


class ErrorRow(Struct, frozen=True, kw_only=True):
    """A row that has no result. ``line`` and ``id`` are as in a row that has one."""

    line: int
    id: Raw | UnsetType = UNSET
    error: RowFailure
