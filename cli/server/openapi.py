"""The server's description for programs (OpenAPI 3.1), made of the types that do the work."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec

from ... import __version__
from ...runtime.solution import Solution
from ...runtime.vote import Vote
from ..documents import Run
from ..schema import plain_parts
from .documents import ErrorDocument, RunRequest, SentEvent, Served, SolveRequest, State
from .failures import STATUS

_TYPES = (Solution, Vote, SentEvent, Run, Served, State, SolveRequest, RunRequest, ErrorDocument)
_BODY_STATUS = (400, 408, 413, 415, 422)


def openapi_document() -> bytes:
    """The document, as JSON."""
    (solution, vote, event, run, served, state, solve_request, run_request, error), parts = (
        msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    )
    event_stream = {"text/event-stream": {"schema": event}}
    paths = {
        "/v1/solve": {"post": _call("Answer a question.", {"anyOf": [solution, vote]}, solve_request, event_stream)},
        "/v1/run": {"post": _call("Execute a graph.", run, run_request)},
        "/v1/bundle": {"get": _call("Which model answers.", served)},
        "/healthz": {"get": _call("Whether the server lives.", state)},
        "/readyz": {"get": _call("Whether the model is there and says what it should.", state)},
        "/metrics": {"get": {"summary": "Metrics for Prometheus.", "responses": {"200": {"description": "Metrics."}}}},
    }
    errors = {str(status): _error(status, error) for status in sorted({*STATUS.values()} - {499})}
    whole = {
        "openapi": "3.1.0",
        "info": {"title": "dagger-edge serve", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": plain_parts(parts),
            "responses": errors,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }
    return msgspec.json.encode(whole)


def _call(summary: str, answer: Any, asked: Any = None, also: dict[str, Any] | None = None) -> dict[str, Any]:
    """An operation that takes the document ``asked``, if any, and gives ``answer``."""
    statuses = {*_BODY_STATUS, 401, 500, 503, 504} if asked else {400, 401, 500, 503}
    answers = {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)}
    content = {"application/json": {"schema": answer}} | (also or {})
    call: dict[str, Any] = {
        "summary": summary,
        "responses": {"200": {"description": "The document.", "content": content}, **answers},
    }
    if asked:
        call["requestBody"] = {"required": True, "content": {"application/json": {"schema": asked}}}
    return call


def _error(status: int, error: Any) -> dict[str, Any]:
    codes = ", ".join(code for code, its in STATUS.items() if its == status)
    return {
        "description": f"{HTTPStatus(status).phrase}: {codes}.",
        "content": {"application/json": {"schema": error}},
    }
