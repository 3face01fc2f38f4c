"""What every request passes: who may ask, headers that every answer has, the count and the log."""

from __future__ import annotations

import hmac
import time
from collections.abc import Collection
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .failures import Refusal, failure_of, is_ours
from .log import log_error, log_request
from .metrics import Metrics, Note
from .responses import failure_response

# Told to everybody: whether the server lives, and the page, which has no secrets and sends the token itself.
OPEN_PATHS = frozenset({"/", "/healthz", "/readyz"})
# Asked every few seconds by machines.
_QUIET_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask.

    Attributes:
        hosts: names that a request may be for; None for any. A page elsewhere that has its own name resolve to this
            machine (DNS rebinding) asks for another one.
        token: what has to stand behind ``Bearer``; None for nothing.
    """

    hosts: Collection[str] | None
    token: bytes | None

    def check(self, path: str, headers: Headers) -> None:
        """Raises Refusal."""
        if self.hosts is not None and _host_name(headers.get("host", "")) not in self.hosts:
            raise Refusal("unknown_host", "this server answers to other names (--allow-host of the server)")
        if self.token is None or path in OPEN_PATHS:
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode("latin-1"), self.token):
            raise Refusal(
                "unauthorized",
                "a token is needed: Authorization: Bearer TOKEN (--token-file of the server)",
                {"WWW-Authenticate": "Bearer"},
            )


class Gate:
    """The outermost ASGI application.

    Args:
        app: what serves.
        access: who may ask.
        metrics: where requests are counted.
        endpoints: the paths that are counted by their names.
        log_questions: whether questions may stand in the log.
    """

    def __init__(
        self, app: ASGIApp, access: Access, metrics: Metrics, endpoints: Collection[str], *, log_questions: bool
    ) -> None:
        self._app, self._access, self._metrics = app, access, metrics
        self._endpoints, self._log_questions = endpoints, log_questions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request; see the ASGI specification."""
        path = scope["path"]
        note = Note(path if path in self._endpoints else "other")
        scope["dagger_edge.note"] = note
        status = 0
        started = time.perf_counter()

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._serve(scope, receive, send_on, note)
        except Exception as error:  # the connection is cut where an answer had begun
            note.outcome = "internal"
            log_error(error, questions=self._log_questions)
        finally:
            self._metrics.count(note)
            if path not in _QUIET_PATHS or status >= 400:
                log_request(scope, status, time.perf_counter() - started, note, questions=self._log_questions)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, note: Note) -> None:
        try:
            self._access.check(scope["path"], Headers(scope=scope))
        except Refusal as refusal:
            note.outcome = refusal.code
            await failure_response(failure_of(refusal), refusal.headers)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def note_of(request: Request) -> Note:
    """What is noted of ``request``."""
    note: Note = request.scope["dagger_edge.note"]
    return note


def note_failure(note: Note, error: Exception, *, questions: bool) -> None:
    """Notes the outcome that ``error`` is; logs where it happened, where it is ours."""
    note.outcome = failure_of(error).code
    if is_ours(error):
        log_error(error, questions=questions)


def _host_name(header: str) -> str:
    """The name in a Host header, without the port: ``[::1]:8080`` is ``::1``."""
    name = header[1:].partition("]")[0] if header.startswith("[") else header.partition(":")[0]
    return name.lower().rstrip(".")
