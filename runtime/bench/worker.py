"""The measuring process: ``python -m dagger_edge.runtime.bench.worker`` reads a `Job` and writes `Findings`.

A process of its own for each repetition, since what differs between two processes (where memory lies, what the
machine does meanwhile) is most of what differs between two measurements.
"""

from __future__ import annotations

import sys

import msgspec

from ..errors import DaggerEdgeError
from ..solver import Solver
from .job import READY, Failure, Job


def main() -> None:
    """Reads a job from stdin. An error of ours is a document like the result."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    try:
        with Solver.open(job.bundle, provider=job.provider, threads=job.threads) as solver:
            _tell(READY)
            # What only measures is no part of the loading.
            from .inside import findings

            _tell(msgspec.json.encode(findings(solver, job)))
    except DaggerEdgeError as error:
        _tell(msgspec.json.encode(Failure(type(error).__name__, str(error))))


def _tell(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
