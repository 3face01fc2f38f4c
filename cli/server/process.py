"""The server as a process: opens the model, listens, and ends in good order when it is told to."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn

from ... import __version__
from ...runtime.bundle import Bundle
from ...runtime.ort import Provider
from ...runtime.solver import Solver, demo_bundle
from .app import Rules, Site
from .documents import Served
from .listener import Listener
from .log import log_event, set_up_log
from .systemd import notify
from .worker import Worker

# Connections beside those that wait for answers: pages, probes.
_MORE_CONNECTIONS = 256
# Beyond --grace: for answers on their way out.
_LAST_S = 5
_WARM_UP = "রহিমের কাছে ৫টি আম ছিল। সে ২টি আম খেল। তার কাছে কতটি আম আছে?"


@dataclass(frozen=True, slots=True)
class Model:
    """Which model, and how it is opened; as of `Solver.open`."""

    path: str
    provider: Provider
    threads: int | None
    verify: bool

    def open(self) -> tuple[Solver, Served]:
        """The solver, ready to answer at once, and what is said of it.

        Raises:
            BundleError, ProviderError: as `Solver.open`; or the known answer is another one here.
        """
        bundle = Bundle.open(self.path, verify=self.verify, remember=True)
        solver = Solver.open(bundle, provider=self.provider, threads=self.threads)
        solver.check_known_answer()
        # What the first question of all prepares: the state of the prompt's beginning, what steps cost.
        stream = solver.stream(_WARM_UP)
        next(stream)
        stream.close()
        return solver, Served(
            version=__version__,
            demo=bundle.path.resolve() == demo_bundle().resolve(),
            provider=self.provider,
            threads=self.threads,
            size_bytes=bundle.size_bytes,
            manifest=bundle.manifest,
        )


@dataclass(frozen=True, slots=True)
class Service:
    """How it is served.

    Attributes:
        model: the model.
        queue: how many questions may wait.
        grace_s: seconds that answers in hand have when the server is to stop.
        rules: what is allowed.
        json_log: whether the log is JSON.
    """

    model: Model
    queue: int
    grace_s: float
    rules: Rules
    json_log: bool

    def parts(self) -> tuple[Worker, Site]:
        """Who has the model, not started yet, and what is served."""
        found: list[Served] = []

        def open_solver() -> Solver:
            solver, served = self.model.open()
            found.append(served)
            return solver

        worker = Worker(open_solver, self.queue)
        return worker, Site(worker, lambda: found[0], self.rules)

    def run(self, listener: Listener) -> None:
        """Serves until SIGTERM or SIGINT, then answers what is in hand and returns.

        Raises:
            DaggerEdgeError: the model cannot be opened.
            KeyboardInterrupt: a second signal came before all was answered.
        """
        set_up_log(as_json=self.json_log)
        worker, site = self.parts()
        log_event(f"listening at {listener.url}, loading the model")
        interrupted = asyncio.run(_Running(self, worker, site, listener).serve())
        ended = worker.join(_LAST_S)
        log_event("stopped")
        failure = KeyboardInterrupt() if interrupted else worker.failure
        if not ended:
            # It is inside a call that nothing can interrupt: Python's own end would wait or crash there.
            sys.stderr.flush()
            os._exit(6 if interrupted else 0)
        if failure is not None:
            raise failure


class _Server(uvicorn.Server):
    """uvicorn without its own handling of signals, which would end the process by the signal instead of exit code 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def http_server(site: Site, queue: int, grace_s: float) -> uvicorn.Server:
    """uvicorn with ``site``, to be given its socket. ``queue`` and ``grace_s`` are as of `Service`."""
    return _Server(
        uvicorn.Config(
            site.app(),
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=queue + _MORE_CONNECTIONS,
            timeout_graceful_shutdown=int(grace_s) + _LAST_S,
        )
    )


class _Running:
    """One run of a service in an event loop."""

    def __init__(self, service: Service, worker: Worker, site: Site, listener: Listener) -> None:
        self._service, self._worker, self._listener = service, worker, listener
        self._server = http_server(site, service.queue, service.grace_s)
        self._signals = 0
        self._began = time.perf_counter()

    async def serve(self) -> bool:
        """Whether a second signal cut it short."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self._stop)
        self._worker.start(_from_thread(loop, self._changed))
        await self._server.serve(sockets=[self._listener.socket])
        return self._signals > 1

    def _stop(self) -> None:
        self._signals += 1
        self._worker.close()
        self._server.should_exit = True
        if self._signals > 1:
            self._worker.abandon()
            self._server.force_exit = True
            return
        notify("STOPPING=1")
        log_event(f"stopping: what is in hand is answered within {self._service.grace_s:g} s")
        asyncio.get_running_loop().call_later(self._service.grace_s, self._worker.abandon)

    def _changed(self) -> None:
        """The worker is ready, or its thread has ended."""
        if self._worker.failure is not None:
            self._server.should_exit = True
        elif self._worker.phase == "ready":
            notify("READY=1")
            log_event(f"ready after {time.perf_counter() - self._began:.1f} s")


def _from_thread(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> Callable[[], None]:
    def tell() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(call)

    return tell
