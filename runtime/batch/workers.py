"""Working on rows in several processes of this machine, of which each may die.

A process has one row at a time, so that it is known which row it died of. They take no signals: what ends them is the
end of the pipe to us, also where we are killed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from multiprocessing.connection import Connection, wait
from typing import Any

from ..errors import DaggerEdgeError, ModelError
from .work import Failure, Outcome, Row, Task, work_on

# How often a row may take its process with it before it is the row's fault.
TRIES = 2
# So many deaths with nothing done between them are no row's fault.
_MOST_DEATHS = 5


class Workers:
    """The engine of one machine in ``count`` processes, each with an operator of its own."""

    def __init__(self, count: int) -> None:
        self._count = count

    def work(self, task: Task, rows: Iterator[Row], stopped: Callable[[], bool]) -> Iterator[Outcome]:
        """See `Engine`. A row whose process dies is given to another one, then fails with ``worker_died``."""
        first = next(rows, None)
        if first is None:
            return
        with ExitStack() as stack:
            crew = _Crew(task, self._count, stack)
            waiting, deaths, in_a_row = deque([first]), Counter[int](), 0
            while crew.hand_out(waiting, rows, stopped):
                for worker, message in crew.hear():
                    if isinstance(message, Outcome):
                        in_a_row = 0
                        yield message
                    elif isinstance(message, Row | None):
                        in_a_row += 1
                        _check_deaths(in_a_row, worker)
                        crew.replace(worker)
                        if message is not None:
                            deaths[message.number] += 1
                            if deaths[message.number] >= TRIES:
                                yield Outcome(message.number, failure=_died(worker))
                            else:
                                waiting.append(message)


class _Worker:
    """One process, and the row that it has."""

    def __init__(self, task: Task) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.row: Row | None = None
        self.ready = False
        self.process = context.Process(target=serve, args=(theirs, task), daemon=True)
        self.process.start()
        # Or the end of the process would not be the end of the pipe.
        theirs.close()

    def end(self) -> None:
        """Kills the process, which holds nothing."""
        self.pipe.close()
        self.process.kill()
        self.process.join()


class _Crew:
    """All workers, those included that took a dead one's place."""

    def __init__(self, task: Task, count: int, stack: ExitStack) -> None:
        self._task = task
        self._workers: list[_Worker] = []
        stack.callback(self._end)
        for _ in range(count):
            self._workers.append(_Worker(task))

    def hand_out(self, waiting: deque[Row], rows: Iterator[Row], stopped: Callable[[], bool]) -> bool:
        """Gives a row to every worker that has none, first of ``waiting``. Whether there is anything left to hear."""
        if stopped():
            waiting.clear()
        for worker in self._workers:
            if worker.ready and worker.row is None:
                worker.row = waiting.popleft() if waiting else next(rows, None)
                if worker.row is None:
                    break
                # One that died meanwhile is heard of below.
                with contextlib.suppress(OSError):
                    worker.pipe.send(worker.row)
        is_busy = any(worker.row is not None for worker in self._workers)
        if not is_busy and not waiting and (row := next(rows, None)) is not None:
            # Nobody is ready, which is not the end.
            waiting.append(row)
        return is_busy or bool(waiting)

    def hear(self) -> Iterator[tuple[_Worker, Outcome | Row | bool | None]]:
        """What workers have to say: an outcome; True where one is ready; where one died, the row that it had, or None.

        Raises:
            DaggerEdgeError: the operator could not be opened.
        """
        by_pipe = {worker.pipe: worker for worker in self._workers}
        for pipe in wait(list(by_pipe)):
            assert isinstance(pipe, Connection)
            worker = by_pipe[pipe]
            try:
                message: Any = pipe.recv()
            except (EOFError, OSError):
                yield worker, worker.row
                continue
            if isinstance(message, DaggerEdgeError):
                raise message
            if isinstance(message, Outcome):
                worker.row = None
            worker.ready = True
            yield worker, message

    def replace(self, worker: _Worker) -> None:
        """Lets another one take the place of ``worker``."""
        worker.end()
        self._workers[self._workers.index(worker)] = _Worker(self._task)

    def _end(self) -> None:
        for worker in self._workers:
            worker.end()


def serve(pipe: Connection, task: Task) -> None:
    """What a process does: opens the operator and works on rows, until the pipe ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(EOFError, OSError):
        try:
            with task.open() as operator:
                pipe.send(True)
                while True:
                    pipe.send(work_on(operator, pipe.recv()))
        except DaggerEdgeError as error:
            pipe.send(error)


def _check_deaths(in_a_row: int, worker: _Worker) -> None:
    if in_a_row > _MOST_DEATHS:
        raise ModelError(
            f"{in_a_row} worker processes died one after another with nothing done between them (the last:"
            f" {_how(worker)}): is memory short? Take fewer --workers; the same command goes on"
        )


def _died(worker: _Worker) -> Failure:
    return Failure("worker_died", f"the process that worked on it died {TRIES} times ({_how(worker)})")


def _how(worker: _Worker) -> str:
    code = worker.process.exitcode
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
