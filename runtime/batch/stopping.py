"""Stopping: the first signal asks for it, the second does not wait."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Stop:
    """Whether a batch is to stop. Attribute ``asked``."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        return self.asked


@contextmanager
def stopped_by_signals(stop: Stop, tell: Callable[[], None]) -> Iterator[None]:
    """Within it, the first SIGINT or SIGTERM asks ``stop`` and calls ``tell``; the next raises KeyboardInterrupt.

    Signals that are ignored stay so. In another thread than the main one nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(_number: int, _frame: Any) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked = True
        tell()

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    taken = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in taken:
        signal.signal(number, ask)
    try:
        yield
    finally:
        for number, handler in taken.items():
            signal.signal(number, handler)
