"""Running one measuring process, and the time until it is ready."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from .. import errors
from ..errors import DaggerEdgeError, ModelError
from .job import READY, Failure, Findings, Job

_WORKER = "dagger_edge.runtime.bench.worker"
# The folder that the package is imported from, which the process would not know of by itself.
_HOME = Path(__file__).absolute().parents[3]


def run_job(job: Job) -> tuple[float, Findings]:
    """Measures ``job`` in a fresh process. Returns the seconds from its start until it could take a question (the
    interpreter, imports, verification and the model's loading), and what it found.

    Raises:
        DaggerEdgeError: the process's own error, of its class; ModelError where it ended without one.
    """
    path = os.pathsep.join(filter(None, [str(_HOME), os.environ.get("PYTHONPATH")]))
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", _WORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # Interruptions are for us: we end the process.
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            # One that ended at once says why below.
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(msgspec.json.encode(job))
                process.stdin.close()
            first = process.stdout.readline()
            load_s = time.perf_counter() - started
            rest = process.stdout.read()
            code = process.wait()
        finally:
            process.kill()
    if first == READY and code == 0:
        return load_s, _findings(rest)
    raise _failure(first, code)


def _findings(data: bytes) -> Findings:
    try:
        return msgspec.json.decode(data, type=Findings)
    except msgspec.MsgspecError:
        raise _failure(data, 0) from None


def _failure(data: bytes, code: int) -> DaggerEdgeError:
    try:
        told = msgspec.json.decode(data, type=Failure)
    except msgspec.MsgspecError:
        return ModelError(
            f"a measuring process ended with exit code {code} and no result: try it with `dagger-edge solve`, or with"
            " fewer --samples and shorter --prefill if memory is short"
        )
    kind = getattr(errors, told.error, ModelError)
    made: DaggerEdgeError = kind(told.message)
    return made
