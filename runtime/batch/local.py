"""Working on rows in this process, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .work import Outcome, Row, Task, work_on


class InProcess:
    """The engine of one machine: one model, which uses all cores for one row."""

    def work(self, task: Task, rows: Iterator[Row], stopped: Callable[[], bool]) -> Iterator[Outcome]:  # noqa: ARG002
        """See `Engine`. Nothing is opened where there is no row."""
        row = next(rows, None)
        if row is None:
            return
        with task.open() as operator:
            while row is not None:
                yield work_on(operator, row)
                row = next(rows, None)
