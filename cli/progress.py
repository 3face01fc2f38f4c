"""Bars on stderr, for what takes long."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click


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
