"""The web application: its addresses, and what each does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ...runtime.errors import DaggerEdgeError, UsageError
from ..documents import Run
from ..runner import Runner
from .answers import Answers
from .documents import RunRequest, Served, State
from .failures import Refusal, failure_of
from .gate import Access, Gate, note_failure, note_of
from .metrics import CONTENT_TYPE, Metrics
from .openapi import openapi_document
from .page import Page
from .responses import document_response, failure_response, read_document
from .worker import Worker


@dataclass(frozen=True, slots=True)
class Rules:
    """What the server allows.

    Attributes:
        access: who may ask.
        seconds: that an answer may take, the line included.
        log_questions: whether questions may stand in the log.
    """

    access: Access
    seconds: float
    log_questions: bool


class Site:
    """All that is served.

    Args:
        worker: who has the model.
        served: what `GET /v1/bundle` says; called when the model is there.
        rules: what is allowed.
    """

    def __init__(self, worker: Worker, served: Callable[[], Served], rules: Rules) -> None:
        self._worker, self._find_served, self._rules = worker, served, rules
        self._metrics = Metrics(worker)
        self._described = False

    def app(self) -> ASGIApp:
        """The ASGI application."""
        answers = Answers(self._worker, self._rules.seconds, log_questions=self._rules.log_questions)
        routes = [
            Route("/", self._page),
            Route("/v1/solve", answers.solve, methods=["POST"]),
            Route("/v1/run", _run, methods=["POST"]),
            Route("/v1/bundle", self._bundle),
            Route("/healthz", _alive),
            Route("/readyz", self._ready),
            Route("/metrics", self._exposition),
            Route("/openapi.json", self._openapi),
        ]
        handlers = dict.fromkeys((Refusal, HTTPException, DaggerEdgeError, ClientDisconnect, Exception), self._fail)
        app = Starlette(routes=routes, exception_handlers=handlers)
        app.router.redirect_slashes = False
        endpoints = {route.path for route in routes}
        return Gate(app, self._rules.access, self._metrics, endpoints, log_questions=self._rules.log_questions)

    async def _page(self, _: Request) -> Response:
        page = self._page_made
        return Response(page.html, media_type="text/html", headers={"Content-Security-Policy": page.policy})

    @cached_property
    def _page_made(self) -> Page:
        return Page.make()

    async def _openapi(self, _: Request) -> Response:
        return Response(self._openapi_made, media_type="application/json")

    @cached_property
    def _openapi_made(self) -> bytes:
        return openapi_document()

    async def _bundle(self, _: Request) -> Response:
        self._require_model()
        return document_response(self._find_served())

    async def _ready(self, _: Request) -> Response:
        self._require_model()
        return document_response(State("ready"))

    async def _exposition(self, _: Request) -> Response:
        if self._worker.phase == "ready" and not self._described:
            self._metrics.describe(self._find_served())
            self._described = True
        return Response(self._metrics.text(), media_type=CONTENT_TYPE)

    async def _fail(self, request: Request, error: Exception) -> Response:
        if isinstance(error, ClientDisconnect):
            error = Refusal("disconnected", "the client left")
        headers = getattr(error, "headers", None) or {}
        known = isinstance(error, Refusal | HTTPException | DaggerEdgeError)
        if known:  # others are raised again, and logged by the gate
            note_failure(note_of(request), error, questions=self._rules.log_questions)
        return failure_response(failure_of(error), headers)

    def _require_model(self) -> None:
        match self._worker.phase:
            case "starting":
                raise Refusal("starting", "the model is being loaded: ask again in a moment", {"Retry-After": "2"})
            case "stopping" | "failed":
                raise Refusal("stopping", "the server is stopping")


async def _alive(_: Request) -> Response:
    return document_response(State("alive"))


async def _run(request: Request) -> Response:
    """Runs a graph, which takes milliseconds, beside the model."""
    asked = await read_document(request, RunRequest)
    return document_response(await run_in_threadpool(_run_graph, asked))


def _run_graph(asked: RunRequest) -> Run:
    text = bytes(asked.graph)
    runner = Runner(asked.exact, asked.strict, asked.ties, asked.settings, asked.sensitivity)
    try:
        return runner.run(msgspec.json.decode(text, type=str) if text.startswith(b'"') else text)[1]
    except UsageError as error:
        raise Refusal("setting", str(error)) from None
