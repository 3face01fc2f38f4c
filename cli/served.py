"""The documents of `solve` and of the server, by the names of their published schemas."""

from __future__ import annotations

from typing import Any

# Their types are imported when one is asked for: solutions bring numpy.
SERVED = ("solve", "vote", "solve-request", "solve-event", "run-request", "served-bundle", "server-error")


def served_type(name: str) -> Any:
    """The type of ``name``, one of `SERVED`."""
    from ..runtime.solution import Solution
    from ..runtime.vote import Vote
    from .server import documents

    return {
        "solve": Solution,
        "vote": Vote,
        "solve-request": documents.SolveRequest,
        "solve-event": documents.SentEvent,
        "run-request": documents.RunRequest,
        "served-bundle": documents.Served,
        "server-error": documents.ErrorDocument,
    }[name]
