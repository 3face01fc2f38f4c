"""Working on rows on several machines: Ray Data with a pool of actors, each with an operator of its own.

Rows go to the cluster in windows of some thousand, as blocks of a few rows, and what became of them streams back; the
driver alone writes, so that what Ray does twice after a death is still written once.

Ray starts an actor again whose process died, and gives it its blocks again; where that does not help, the block's rows
do not come back: they are given out again, each alone, and then fail. An actor whose machine died waits, with its
blocks, until there is room for it elsewhere, which may be never: where a machine is gone and nothing comes any more,
the driver leaves the cluster and joins it again, which frees everything, and gives out what is missing.
"""

from __future__ import annotations

import logging
import os
import pickle
import queue
import signal
import threading
import time
import warnings
from collections.abc import Callable, Collection, Iterator
from typing import Any

import msgspec

from ..errors import DaggerEdgeError, ModelError, ProviderError, UsageError
from .work import Failure, Operator, Outcome, Row, Task, work_on

# Of a window: as much as the driver holds.
_WINDOW_ROWS, _WINDOW_BYTES = 8192, 64 << 20
# How often Ray gives a block to an actor again, and how often we give out a row again.
_RETRIES, _TRIES = 2, 2
# Seconds without any outcome, after a machine is gone, that say that those of its rows are not coming.
PATIENCE_S = 60.0
_POLL_S = 0.5

_OUTCOMES = msgspec.msgpack.Decoder(Outcome)


class _MachineLost(Exception):  # noqa: N818 (it is told to nobody)
    """A machine is gone, and the rows that it had do not come back."""


class Cluster:
    """The engine of a Ray cluster.

    Args:
        address: of a cluster that is there, ``HOST:PORT``; None starts one on this machine, which ends with the work.
        workers: actors; None: one for each machine with processors.
        cpus: processors of an actor; None: all that the smallest machine has.
        block_rows: rows that an actor takes at a time. More of them cost less in Ray's own work, a few milliseconds a
            block, and come back later.
        window_rows: rows that are with the cluster at a time.
        patience_s: seconds without any outcome, after a machine is gone, until its rows are given out again. Less than
            a row takes is too little.
    """

    def __init__(
        self,
        *,
        address: str | None = None,
        workers: int | None = None,
        cpus: int | None = None,
        block_rows: int = 1,
        window_rows: int = _WINDOW_ROWS,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._address, self._workers, self._cpus = address, workers, cpus
        self._block_rows, self._window_rows, self._patience_s = block_rows, window_rows, patience_s

    def work(self, task: Task, rows: Iterator[Row], stopped: Callable[[], bool]) -> Iterator[Outcome]:
        """See `Engine`; where it is stopped, rows in hand are abandoned. A row that does not come back, however often
        it is given out, fails with ``worker_died``.

        Raises:
            UsageError: Ray is not installed.
            ProviderError: the cluster cannot be reached, or it has no machine with processors.
        """
        window = _window(rows, self._window_rows)
        if not window:
            return
        ray = _connected(self._address)
        try:
            while window:
                yield from self._work_window(ray, task, window, stopped)
                window = _window(rows, self._window_rows)
        finally:
            ray.shutdown()

    def _work_window(self, ray: Any, task: Task, window: list[Row], stopped: Callable[[], bool]) -> Iterator[Outcome]:
        missing = {row.number: row for row in window}
        block_rows, tries = self._block_rows, 0
        while missing and tries < _TRIES and not stopped():
            tries += 1
            stream = _Stream(ray, self._dataset(ray, task, missing.values(), block_rows))
            try:
                for outcome in stream.outcomes(stopped, self._patience_s):
                    if missing.pop(outcome.number, None) is not None:
                        yield outcome
            except _MachineLost:
                # That was no row's fault.
                tries -= 1
                ray.shutdown()
                _connected(self._address)
            else:
                # The one that takes its process with it must not take others along.
                block_rows = 1
        if not stopped():
            for number in missing:
                failure = Failure("worker_died", f"given to the cluster {tries} times, and did not come back")
                yield Outcome(number, failure=failure)

    def _dataset(self, ray: Any, task: Task, rows: Collection[Row], block_rows: int) -> Any:
        """The outcomes of ``rows``, to be worked out when they are asked for."""
        cpus, workers = _sizes(ray, self._cpus, self._workers)
        blocks = -(-len(rows) // block_rows)
        workers = min(workers, blocks)
        with warnings.catch_warnings():
            # Of max_task_retries: until another way is there, it is the only one (extra `ray` has the bound).
            warnings.simplefilter("ignore", DeprecationWarning)
            # Not from_arrow, which asks a process of the cluster what is in each block.
            items = ray.data.from_items(
                [{"row": row.number, "text": row.text} for row in rows], override_num_blocks=blocks
            )
            return items.map_batches(
                _Actor,
                fn_constructor_args=(task,),
                batch_size=block_rows,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(
                    min_size=1, max_size=workers, initial_size=workers, max_tasks_in_flight_per_actor=2
                ),
                num_cpus=cpus,
                max_restarts=-1,
                max_task_retries=_RETRIES,
            )


class _Stream:
    """What comes of a dataset. A thread waits for it, so that we need not."""

    def __init__(self, ray: Any, dataset: Any) -> None:
        self._ray = ray
        self._machines = _machines(ray)
        # It holds no more than the window.
        self._came: queue.SimpleQueue[list[dict[str, bytes]] | BaseException | None] = queue.SimpleQueue()
        threading.Thread(target=self._pull, args=(dataset,), daemon=True).start()

    def outcomes(self, stopped: Callable[[], bool], patience_s: float) -> Iterator[Outcome]:
        """Outcomes as they come.

        Raises:
            DaggerEdgeError: that of an actor; ModelError where Ray gives up.
            _MachineLost: nothing came for ``patience_s``, and a machine is gone.
        """
        heard = time.monotonic()
        while not stopped():
            try:
                message = self._came.get(timeout=_POLL_S)
            except queue.Empty:
                if time.monotonic() - heard > patience_s and self._machines - _machines(self._ray):
                    raise _MachineLost from None
                continue
            heard = time.monotonic()
            if message is None:
                return
            if isinstance(message, BaseException):
                raise ModelError(f"Ray gave up: {type(message).__name__}: {_last_line(message)}") from None
            for record in message:
                if record["error"]:
                    error: DaggerEdgeError = pickle.loads(record["error"])
                    raise error
                yield _OUTCOMES.decode(record["outcome"])

    def _pull(self, dataset: Any) -> None:
        try:
            for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1):
                self._came.put(batch.to_pylist())
        except BaseException as error:
            self._came.put(error)
        else:
            self._came.put(None)


class _Actor:
    """What runs in the cluster: an operator, opened at the first block."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._operator: Operator | None = None

    def __call__(self, block: Any) -> Any:
        """The outcomes of ``block``, a table of rows; or an error that is no row's."""
        import pyarrow as pa

        rows = zip(block.column("row").to_pylist(), block.column("text").to_pylist(), strict=True)
        schema = pa.schema({"outcome": pa.binary(), "error": pa.binary()})
        try:
            if self._operator is None:
                # Until the process ends.
                self._context = self._task.open()
                self._operator = self._context.__enter__()
            outcomes = [work_on(self._operator, Row(number, text)) for number, text in rows]
        except DaggerEdgeError as error:
            return pa.table({"outcome": [b""], "error": [pickle.dumps(error)]}, schema)
        found = [msgspec.msgpack.encode(outcome) for outcome in outcomes]
        return pa.table({"outcome": found, "error": [b""] * len(found)}, schema)


def _connected(address: str | None) -> Any:
    """Ray, connected to a cluster."""
    # Before the import: nothing is told to anybody.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
        import ray.data
    except ImportError:
        raise UsageError("--engine ray needs Ray: pip install 'dagger-edge[ray]'") from None
    ours: dict[str, Any] = {} if address else {"include_dashboard": False}
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **ours)
    except (OSError, RuntimeError, ValueError) as error:
        raise ProviderError(f"Ray cluster {address or 'on this machine'}: {_last_line(error)}") from None
    if threading.current_thread() is threading.main_thread():
        # Ray puts its own in its place, which would not let the batch stop by itself.
        signal.signal(signal.SIGTERM, on_term)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    # A block that is lost for good is noticed by its rows.
    context.max_errored_blocks = -1
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray


def _machines(ray: Any) -> set[str]:
    """Those that are alive and have processors."""
    return {node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0)}


def _sizes(ray: Any, cpus: int | None, workers: int | None) -> tuple[float, int]:
    """Processors of an actor, and actors."""
    machines = [node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]]
    machines = [processors for processors in machines if processors >= (cpus or 1)]
    if not machines:
        raise ProviderError(f"the Ray cluster has no machine with {cpus or 1} free processors: give fewer --threads")
    size = cpus or min(machines)
    return size, workers or sum(int(processors // size) for processors in machines)


def _window(rows: Iterator[Row], most: int) -> list[Row]:
    """The next of ``rows``: as many as may be held."""
    found: list[Row] = []
    size = 0
    while len(found) < most and size < _WINDOW_BYTES and (row := next(rows, None)) is not None:
        found.append(row)
        size += len(row.text) * 4
    return found


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[-1][:300]
