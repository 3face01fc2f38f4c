"""From any error to what the client is told: HTTP status, stable code, one line. Never a traceback."""

from __future__ import annotations

from http import HTTPStatus

from starlette.exceptions import HTTPException

from ...runtime.errors import DaggerEdgeError, GraphError, ModelError, UsageError
from ...runtime.solution import NoAnswerError
from ..bulk import row_failure
from .documents import Code, Failure

STATUS: dict[Code, int] = {
    "bad_request": 400,
    "unknown_host": 400,
    "unauthorized": 401,
    "not_found": 404,
    "method_not_allowed": 405,
    "slow_body": 408,
    "too_large": 413,
    "unsupported_media_type": 415,
    "unprocessable": 422,
    "no_answer": 422,
    "no_graph": 422,
    "no_value": 422,
    "setting": 422,
    # Nobody is there to read it; the number is nginx's, for the log.
    "disconnected": 499,
    "internal": 500,
    "model": 500,
    "starting": 503,
    "overloaded": 503,
    "stopping": 503,
    "timeout": 504,
}
_OF_STATUS: dict[int, Code] = {404: "not_found", 405: "method_not_allowed"}


class Refusal(Exception):  # noqa: N818 (to refuse is not to fail)
    """A request that is not served.

    Attributes:
        code: what `STATUS` has a status for.
        headers: to go with the answer.
    """

    def __init__(self, code: Code, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.headers = headers or {}


def failure_of(error: Exception) -> Failure:
    """What a client is told of ``error``."""
    match error:
        case Refusal():
            return Failure(code=error.code, message=str(error))
        case HTTPException():
            return _http_failure(error)
        case NoAnswerError():
            return Failure(code="no_answer", message=str(error), text=error.text)
        case GraphError():
            return _graph_failure(error)
        case UsageError():
            return Failure(code="unprocessable", message=str(error))
        case ModelError():
            return Failure(code="model", message=str(error))
    # Other errors may name paths of this machine, or worse.
    return Failure(code="internal", message="internal error: the server's log says more")


def is_ours(error: Exception) -> bool:
    """Whether ``error`` has to be looked into by whoever runs the server."""
    return STATUS[failure_of(error).code] == HTTPStatus.INTERNAL_SERVER_ERROR


def _graph_failure(error: DaggerEdgeError) -> Failure:
    row = row_failure(error)
    places = {name: value for name in ("node", "field") if (value := getattr(row, name)) is not None}
    return Failure(code=row.code if row.code in STATUS else "no_graph", message=row.message, **places)


def _http_failure(error: HTTPException) -> Failure:
    code = _OF_STATUS.get(error.status_code, "bad_request")
    if code == "method_not_allowed":
        allowed = (error.headers or {}).get("Allow", "another method")
        return Failure(code=code, message=f"this address takes {allowed}")
    return Failure(code=code, message="nothing is here: POST /v1/solve, POST /v1/run, GET /v1/bundle and others are")
