"""The one thread that has the model, and the line of questions before it."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Literal

from .documents import Event
from .failures import Refusal

if TYPE_CHECKING:
    from ...runtime.solver import Solver

# Called after every step of the model; raises where the answer is not wanted any more.
AfterStep = Callable[[], None]
Work = Callable[["Solver", AfterStep], Generator[Event, None, None]]
Phase = Literal["starting", "ready", "stopping", "failed"]

# A silent stream looks dead to proxies.
PULSE_S = 10.0
_LONGEST_RETRY_S = 600


class _Unwanted(Exception):  # noqa: N818 (nothing went wrong)
    pass


class Job:
    """One question on its way through the worker; made in an event loop, which its events come to.

    Args:
        work: what the worker does.
        seconds: from now until it is given up.

    Attributes:
        waited_s: how long it stood in line; None while it still does.
    """

    def __init__(self, work: Work, seconds: float) -> None:
        self.work = work
        self.waited_s: float | None = None
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[Event | Exception | None] = asyncio.Queue()
        self._made, self._seconds = time.monotonic(), seconds
        self._unwanted = False

    async def events(self) -> AsyncIterator[Event | None]:
        """What the work yields; None where nothing came for `PULSE_S`.

        Raises:
            Refusal: the time is up, and the work stops after the model's current step; or the server stops.
            Exception: what the work raised.
        """
        while True:
            left = self._made + self._seconds - time.monotonic()
            if left <= 0:
                # Before the client is told: what it asks next does not wait for another step of this.
                self.drop()
                raise Refusal("timeout", f"no answer within {self._seconds:g} s (--timeout of the server)")
            try:
                item = await asyncio.wait_for(self._items.get(), min(left, PULSE_S))
            except TimeoutError:
                yield None
                continue
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            yield item

    def drop(self) -> None:
        """Stops the work after the model's current step."""
        self._unwanted = True

    def put(self, item: Event | Exception | None) -> None:
        """Tells the event loop; from any thread. None is the end."""
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(self._items.put_nowait, item)

    def do(self, solver: Solver) -> None:
        """Works, in the worker's thread."""
        self.waited_s = time.monotonic() - self._made
        try:
            self._check()
            with closing(self.work(solver, self._check)) as events:
                for event in events:
                    self.put(event)
                    self._check()
        except _Unwanted:
            return
        except Exception as error:  # all of them are the client's to know, and none is the thread's end
            self.put(error)
        else:
            self.put(None)

    def _check(self) -> None:
        if self._unwanted:
            raise _Unwanted


class Worker:
    """Answers jobs one after another with one solver, which is opened, used and closed in one thread.

    Args:
        open_solver: gives a solver that is ready to answer; it may take long.
        limit: how many jobs may wait beside the one that is worked on.

    Attributes:
        phase: how far it is.
        failure: why there is no solver; None where there is.
    """

    def __init__(self, open_solver: Callable[[], Solver], limit: int) -> None:
        self.phase: Phase = "starting"
        self.failure: BaseException | None = None
        self._open, self._limit = open_solver, limit
        self._line: deque[Job] = deque()
        self._current: Job | None = None
        self._changed = threading.Condition()
        # Not waited for at exit: opening gigabytes cannot be interrupted.
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._answer_s = 0.0
        self._tell: Callable[[], None] = lambda: None

    def start(self, tell: Callable[[], None]) -> None:
        """Begins to open the solver; calls ``tell`` in the thread when it is ready, and when the thread ends."""
        self._tell = tell
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Jobs in line."""
        return len(self._line)

    @property
    def busy(self) -> bool:
        """Whether a job is worked on."""
        return self._current is not None

    def submit(self, job: Job) -> None:
        """Puts ``job`` in line.

        Raises:
            Refusal: the line is full, or the worker takes nothing any more.
        """
        with self._changed:
            if self.phase in {"stopping", "failed"}:
                raise Refusal("stopping", "the server is stopping: ask again when it is back", {"Retry-After": "5"})
            in_hand = len(self._line) + self.busy
            if in_hand > self._limit:
                raise Refusal(
                    "overloaded",
                    f"{in_hand} questions are in hand, no more are taken (--queue of the server): ask again later",
                    {"Retry-After": str(self._retry_s(in_hand))},
                )
            self._line.append(job)
            self._changed.notify()

    def withdraw(self, job: Job) -> None:
        """Takes ``job`` out of the line, or stops it after the model's current step; nothing where it is done."""
        job.drop()
        with self._changed, suppress(ValueError):
            self._line.remove(job)

    def close(self) -> None:
        """Takes nothing any more; the thread ends when the line is empty."""
        with self._changed:
            if self.phase != "failed":
                self.phase = "stopping"
            self._changed.notify()

    def abandon(self) -> None:
        """Stops what is in hand: its clients are told."""
        with self._changed:
            jobs = [*self._line, *([self._current] if self._current else [])]
            self._line.clear()
        for job in jobs:
            job.drop()
            job.put(Refusal("stopping", "the server stopped before the answer was there: ask again", {}))

    def join(self, seconds: float) -> bool:
        """Waits for the thread's end; whether it came."""
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            with self._open() as solver:
                with self._changed:
                    if self.phase == "starting":
                        self.phase = "ready"
                self._tell()
                while (job := self._next()) is not None:
                    self._answer(solver, job)
        except BaseException as error:
            self.failure = error
            with self._changed:
                self.phase = "failed"
            self.abandon()
        finally:
            self._tell()

    def _next(self) -> Job | None:
        with self._changed:
            while not self._line:
                if self.phase == "stopping":
                    return None
                self._changed.wait()
            self._current = self._line.popleft()
            return self._current

    def _answer(self, solver: Solver, job: Job) -> None:
        started = time.monotonic()
        try:
            job.do(solver)
        finally:
            seconds = time.monotonic() - started
            self._answer_s = seconds if not self._answer_s else 0.8 * self._answer_s + 0.2 * seconds
            with self._changed:
                self._current = None

    def _retry_s(self, in_hand: int) -> int:
        """Seconds until the line is probably empty."""
        return min(max(1, math.ceil(self._answer_s * in_hand)), _LONGEST_RETRY_S)
