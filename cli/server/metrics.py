"""What Prometheus reads at ``/metrics``, and how requests are counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from ...runtime.solution import Timings
from .documents import Served
from .worker import Worker

CONTENT_TYPE = CONTENT_TYPE_LATEST
# A second series for every one, which nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]
# From the demo on a quick machine to a 4B on a slow one.
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)


@dataclass(slots=True)
class Note:
    """What is known of one request when it is over, for the metrics and the log.

    Attributes:
        endpoint: its path, or ``other``.
        outcome: ``ok``, or the code of the error.
        question: what was asked; logged only where that is wished for.
        waited_s: seconds in line.
        timings: of the answer.
    """

    endpoint: str
    outcome: str = "ok"
    question: str | None = None
    waited_s: float | None = None
    timings: Timings | None = None


class Metrics:
    """The counters of one server.

    Args:
        worker: whose line is measured.
    """

    def __init__(self, worker: Worker) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "dagger_edge_requests", "Requests by address and outcome.", ["endpoint", "outcome"], registry=registry
        )
        self._waited = _histogram("wait_seconds", "Seconds in line before an answer.", registry)
        self._first = _histogram("first_token_seconds", "Seconds to the first token.", registry)
        self._answers = _histogram("answer_seconds", "Seconds an answer, without the line.", registry)
        self._tokens = Counter(
            "dagger_edge_tokens",
            "Tokens of answers: prompt (all), prefix (of these not read), new (written), forced (of these by grammar).",
            ["kind"],
            registry=registry,
        )
        self._steps = Counter("dagger_edge_model_steps", "Runs of the model for answers.", registry=registry)
        self._drafted = Counter(
            "dagger_edge_drafts_accepted", "Tokens that steps gave beyond one each: right guesses.", registry=registry
        )
        self._info = Info("dagger_edge_bundle", "What is served.", registry=registry)
        self._gauge("queue_length", "Questions in line.", lambda: worker.waiting)
        self._gauge("busy", "1 while a question is being answered.", lambda: worker.busy)
        self._gauge("ready", "1 while questions are taken and the model is there.", lambda: worker.phase == "ready")
        ProcessCollector(registry=registry)

    def describe(self, served: Served) -> None:
        """Tells which bundle there is."""
        self._info.info(
            {
                "name": served.manifest.name,
                "precision": served.manifest.precision.name,
                "provider": served.provider,
                "version": served.version,
            }
        )

    def count(self, note: Note) -> None:
        """Counts a request that is over."""
        self._requests.labels(note.endpoint, note.outcome).inc()
        if note.waited_s is not None:
            self._waited.observe(note.waited_s)
        if note.timings is not None:
            self._count_answer(note.timings)

    def text(self) -> bytes:
        """The exposition, of the type `CONTENT_TYPE`."""
        return generate_latest(self._registry)

    def _count_answer(self, timings: Timings) -> None:
        self._first.observe(timings.ttft_s)
        self._answers.observe(timings.ttft_s + timings.decode_s)
        for kind in ("prompt", "prefix", "new", "forced"):
            self._tokens.labels(kind).inc(getattr(timings, f"{kind}_tokens"))
        self._steps.inc(timings.steps)
        # The steps of a vote are those of all its graphs, its tokens those of one.
        self._drafted.inc(max(0, timings.new_tokens - timings.forced_tokens - timings.steps))

    def _gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        Gauge(f"dagger_edge_{name}", text, registry=self._registry).set_function(value)


def _histogram(name: str, text: str, registry: CollectorRegistry) -> Histogram:
    return Histogram(f"dagger_edge_{name}", text, buckets=_SECONDS, registry=registry)
