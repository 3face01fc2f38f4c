"""The process of one engine: it reads requests as lines of JSON, does them one by one, and answers with seconds.

The requests, besides those that an engine adds (`Engine.extra`):

    {"do": "read", "ids": [...], "cut": 512}   forget all, read ids; {"seconds": [of the first 512, of all], "logits"}
    {"do": "keep", "length": 746}              what was read so far begins with the fixed part of all prompts
    {"do": "resume", "ids": [...]}             back to that part, then read ids; {"seconds": [of going back, of all]}
    {"do": "write", "ids": [...]}              read ids one by one, as one writes an answer; {"seconds": [of each]}
    {"do": "memory"}                           {"peak_rss_bytes"}

All of them make the logits of the last id, and look for the largest. Every answer says how much processor time was used
since the one before it (`idle_cpu_s`): an engine whose threads spin on would disturb the others.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Request = dict[str, Any]
Answer = dict[str, Any]
# Every so many logits are in an answer, to see that the engines run the same model.
_SAMPLE = 512


class Engine(Protocol):
    """A model that was opened."""

    def feed(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Reads ``ids``; logits [vocab] after the last of them."""

    def clear(self) -> None:
        """Forgets all that was read."""

    def keep(self, length: int) -> None:
        """Makes the first ``length`` of the ids that were read what `restore` goes back to."""

    def restore(self) -> None:
        """Goes back to what was kept."""

    def about(self) -> dict[str, Any]:
        """Versions and settings."""

    @property
    def extra(self) -> dict[str, Callable[[Request], Answer]]:
        """What only this engine does, by name."""


def serve(engine: Engine) -> None:
    """Answers the lines of stdin on stdout until it ends. Nothing else may print there."""
    out = os.fdopen(os.dup(1), "w")
    # What a library prints goes to stderr.
    os.dup2(2, 1)
    work = {
        "read": lambda request: _read(engine, request),
        "keep": lambda request: _keep(engine, request),
        "resume": lambda request: _resume(engine, request),
        "write": lambda request: _write(engine, request),
        "memory": lambda _: {"peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024},
        **engine.extra,
    }
    print(json.dumps({"about": engine.about()}), file=out, flush=True)
    rested = time.process_time()
    for line in sys.stdin:
        idle = time.process_time() - rested
        request = json.loads(line)
        answer = work[request["do"]](request)
        print(json.dumps({**answer, "idle_cpu_s": round(idle, 3)}), file=out, flush=True)
        rested = time.process_time()


def _read(engine: Engine, request: Request) -> Answer:
    ids, cut = request["ids"], request["cut"]
    begin = time.perf_counter()
    engine.clear()
    logits = engine.feed(ids[:cut])
    first = time.perf_counter() - begin
    if ids[cut:]:
        logits = engine.feed(ids[cut:])
    logits.argmax()
    return {"seconds": [first, time.perf_counter() - begin], "logits": logits[::_SAMPLE].tolist()}


def _keep(engine: Engine, request: Request) -> Answer:
    engine.keep(request["length"])
    return {}


def _resume(engine: Engine, request: Request) -> Answer:
    begin = time.perf_counter()
    engine.restore()
    back = time.perf_counter() - begin
    logits = engine.feed(request["ids"])
    logits.argmax()
    return {"seconds": [back, time.perf_counter() - begin], "logits": logits[::_SAMPLE].tolist()}


def _write(engine: Engine, request: Request) -> Answer:
    seconds = []
    for token in request["ids"]:
        begin = time.perf_counter()
        engine.feed([token]).argmax()
        seconds.append(time.perf_counter() - begin)
    return {"seconds": seconds}
