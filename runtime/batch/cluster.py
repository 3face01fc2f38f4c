"""Working on rows on several machines: Ray Data with a pool of actors, each with an operator of its own.

Rows go to the cluster in windows of some thousand, as blocks of a few rows, and what became of them streams back; the
driver alone writes, so that what Ray does twice after a death is still written once. Rows that do not come back (the
process that had them died more often than Ray tries) are given out again, alone in their blocks, and then fail.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import msgspec

from ..errors import DaggerEdgeError, ProviderError, UsageError
from .work import Failure, Outcome, Row, Task, work_on

# Of a window: as much as the driver holds.
_WINDOW_ROWS, _WINDOW_BYTES = 8192, 64 << 20
# How often Ray gives a block to another actor after its actor died.
_RETRIES = 2


class Cluster:
    """The engine of a Ray cluster.

    Args:
        address: of a cluster that is there, ``HOST:PORT``; None starts one on this machine, which ends with the work.
        workers: actors; None: one for each machine with processors.
        cpus: processors of an actor; None: all that each machine has.
        block_rows: rows that an actor takes at a time. More of them cost less in Ray's own work, a few milliseconds a
            block, and come back later.
        window_rows: rows that are with the cluster at a time.
    """

    def __init__(
        self,
        *,
        address: str | None = None,
        workers: int | None = None,
        cpus: int | None = None,
        block_rows: int = 1,
        window_rows: int = _WINDOW_ROWS,
    ) -> None:
        self._address, self._workers, self._cpus = address, workers, cpus
        self._block_rows, self._window_rows = block_rows, window_rows

    def work(self, task: Task, rows: Iterator[Row], stopped: Callable[[], bool]) -> Iterator[Outcome]:
        """See `Engine`. A row fails with ``worker_died`` where every process that had it died.

        Raises:
            UsageError: Ray is not installed.
            ProviderError: the cluster cannot be reached, or it has no machine with processors.
        """
        with _connected(self._address) as ray:
            cpus, workers = _sizes(ray, self._cpus, self._workers)
            pool = _Pool(ray, task, cpus, workers)
            while not stopped() and (window := _window(rows, self._window_rows)):
                missing = {row.number: row for row in window}
                for size in (self._block_rows, 1):
                    for outcome in pool.outcomes(missing.values(), size):
                        if missing.pop(outcome.number, None) is not None:
                            yield outcome
                        if stopped():
                            return
                    if not missing:
                        break
                for number in missing:
                    yield Outcome(number, failure=Failure("worker_died", "every process that worked on it died"))


class _Pool:
    """Actors that work on one window after another."""

    def __init__(self, ray: Any, task: Task, cpus: float, workers: int) -> None:
        self._ray, self._task, self._cpus, self._workers = ray, task, cpus, workers
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        # A block that is lost for good is noticed by its rows.
        context.max_errored_blocks = -1

    def outcomes(self, rows: Iterable[Row], block_rows: int) -> Iterator[Outcome]:
        """What became of ``rows``, as it comes; some may be missing."""
        import pyarrow as pa

        blocks = []
        waiting = iter(rows)
        while block := list(islice(waiting, block_rows)):
            blocks.append(pa.table({"row": [row.number for row in block], "text": [row.text for row in block]}))
        found = self._ray.data.from_arrow(blocks).map_batches(
            _Actor,
            fn_constructor_args=(self._task,),
            batch_size=block_rows,
            batch_format="pyarrow",
            compute=self._ray.data.ActorPoolStrategy(
                min_size=1, max_size=self._workers, initial_size=self._workers, max_tasks_in_flight_per_actor=2
            ),
            num_cpus=self._cpus,
            max_restarts=-1,
            max_task_retries=_RETRIES,
        )
        for batch in found.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1):
            for data in batch.column("outcome").to_pylist():
                yield _OUTCOMES.decode(data)


_OUTCOMES = msgspec.msgpack.Decoder(Outcome)


class _Actor:
    """What runs in the cluster: an operator, opened once."""

    def __init__(self, task: Task) -> None:
        self._context = task.open()
        self._operator = self._context.__enter__()

    def __call__(self, block: Any) -> Any:
        """The outcomes of ``block``, a table of rows."""
        import pyarrow as pa

        rows = zip(block.column("row").to_pylist(), block.column("text").to_pylist(), strict=True)
        found = [msgspec.msgpack.encode(work_on(self._operator, Row(number, text))) for number, text in rows]
        return pa.table({"outcome": pa.array(found, pa.binary())})


@contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """Ray, connected to a cluster until the end of the context."""
    # Before the import: nothing is told to anybody.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
        import ray.data
    except ImportError:
        raise UsageError("--engine ray needs Ray: pip install 'dagger-edge[ray]'") from None
    ours = {} if address else {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **ours)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise ProviderError(f"Ray cluster {address or 'on this machine'}: {str(error).partition('.')[0]}") from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _sizes(ray: Any, cpus: int | None, workers: int | None) -> tuple[float, int]:
    """Processors of an actor, and actors."""
    machines = [node["Resources"]["CPU"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0)]
    if not machines:
        raise ProviderError("the Ray cluster has no machine with processors")
    size = cpus or min(machines)
    return size, workers or max(1, sum(int(machine // size) for machine in machines))


def _window(rows: Iterator[Row], most: int) -> list[Row]:
    found: list[Row] = []
    size = 0
    while len(found) < most and size < _WINDOW_BYTES and (row := next(rows, None)) is not None:
        found.append(row)
        size += len(row.text) * 4
    return found
