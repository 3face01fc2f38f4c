"""The log of the server: one line a request on stderr, as text or JSON. Questions are pupils': not in it by default."""

from __future__ import annotations

import logging
import sys
import time
import traceback
from typing import Any

import msgspec

from ...runtime.graph.errors import printable
from .metrics import Note

_LOG = logging.getLogger("dagger_edge.serve")
_MAX_PATH = 80


def set_up_log(*, as_json: bool) -> None:
    """Sends the log, and what uvicorn has to say that is wrong, to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(as_json=as_json))
    root = logging.getLogger()
    root.handlers, root.level = [handler], logging.WARNING
    _LOG.setLevel(logging.INFO)


def log_event(message: str, **fields: Any) -> None:
    """A line about the server itself."""
    _LOG.info(message, extra={"fields": fields})


def log_request(scope: Any, status: int, seconds: float, note: Note, *, questions: bool) -> None:
    """The line of a request; ``questions``: with the question's text."""
    fields: dict[str, Any] = {
        "method": scope["method"],
        # Without the query, which nothing here has, but a question may be typed into.
        "path": printable(scope["path"][:_MAX_PATH]),
        "status": status,
        "outcome": note.outcome,
        "seconds": round(seconds, 4),
        "client": (scope.get("client") or [""])[0],
    }
    if note.waited_s is not None:
        fields["waited_s"] = round(note.waited_s, 4)
    if note.timings is not None:
        times = note.timings
        fields |= {"ttft_s": round(times.ttft_s, 4), "new_tokens": times.new_tokens, "steps": times.steps}
    if questions and note.question is not None:
        fields["question"] = printable(note.question)
    _LOG.info("request", extra={"fields": fields})


def log_error(error: BaseException, *, questions: bool) -> None:
    """Where an error of ours happened. Its message may hold what was asked: only with ``questions``."""
    where = "".join(traceback.format_tb(error.__traceback__))
    message = f": {error}" if questions else ""
    _LOG.error("internal error: %s%s\n%s", type(error).__name__, message, where)


class _Formatter(logging.Formatter):
    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z"
        fields: dict[str, Any] = getattr(record, "fields", {})
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + self.formatException(record.exc_info)
        if self._as_json:
            whole = {"time": moment, "level": record.levelname.lower(), "message": message, **fields}
            return msgspec.json.encode(whole).decode()
        if message == "request":
            return " ".join([moment, *_told(fields)])
        return " ".join([moment, message, *(f"{name}={value}" for name, value in fields.items())])


def _told(fields: dict[str, Any]) -> list[str]:
    """The first four fields without their names, as in every access log."""
    pairs = list(fields.items())
    return [str(value) for _, value in pairs[:4]] + [f"{name}={value}" for name, value in pairs[4:]]
