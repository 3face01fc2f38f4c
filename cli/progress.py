"""Bars on stderr, for what takes long."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..runtime.batch.batch import Progress

# Seconds between two lines, on a terminal (where one takes the other's place) and in a log.
_REDRAWN_S, _LOGGED_S = 0.25, 60.0


@contextmanager
def byte_bar(total: int) -> Iterator[Callable[[int], None]]:
    """A bar of ``total`` bytes with the time left; nothing where stderr is no terminal.

    It gives a function that is told of the number of bytes that were done.
    """
    if not sys.stderr.isatty():
        yield lambda _count: None
        return

    def describe(done: int | None) -> str:
        return f"{(done or 0) / 1e6:,.0f} of {total / 1e6:,.0f} MB"

    with click.progressbar(length=total, file=sys.stderr, item_show_func=describe) as shown:
        yield lambda count: shown.update(count, shown.pos + count)


class RowLine:
    """A line on stderr that says how many of ``total`` rows are done, and how long the others will take.

    Where stderr is no terminal, it is a line a minute.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._redraws = sys.stderr.isatty()
        self._told_at = time.monotonic()
        self._first: tuple[float, int] | None = None

    def tell(self, progress: Progress) -> None:
        """Says how far it is, unless that was said a moment ago."""
        now = time.monotonic()
        # From the first row on: loading a model says nothing about rows.
        self._first = self._first or (now, progress.done)
        if now - self._told_at >= (_REDRAWN_S if self._redraws else _LOGGED_S):
            self._told_at = now
            click.echo(
                f"\r{self._text(progress, now)}\033[K" if self._redraws else self._text(progress, now),
                nl=not self._redraws,
                err=True,
            )

    def close(self) -> None:
        """Leaves the line, so that the next one stands alone."""
        if self._redraws:
            click.echo("\r\033[K", nl=False, err=True)

    def _text(self, progress: Progress, now: float) -> str:
        assert self._first is not None
        began, before = self._first
        text = f"{progress.done:,} of {self._total:,} rows, {progress.failed:,} without a result"
        done = progress.done - before
        if not done:
            return text
        rate = done / (now - began)
        return f"{text}; {rate:,.3g} rows/s, {duration((self._total - progress.done) / rate)} left"


def duration(seconds: float) -> str:
    """``seconds`` in the two largest units that say something: ``2 h 5 min``."""
    whole = round(seconds)
    for name, size, smaller, part in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // part} {smaller}"
    return f"{whole} s"
