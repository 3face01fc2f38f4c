"""How fast this machine reads its memory: what bounds the decoding of a model that no cache holds."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

_BYTES = 256 << 20
_LEAST_BYTES = 1 << 20
_ROUNDS = 8


def memory_bandwidth(threads: int | None = None, size_bytes: int = _BYTES) -> float:
    """Bytes a second: the best of eight times that numpy looked for the largest of many float32 numbers, a share of
    them in each thread. Takes half a second.

    Args:
        threads: that read at once; by default as many as this process may use.
        size_bytes: of the numbers, 256 MiB at most. What a processor's cache holds is read again and again from there.
    """
    count = threads or len(os.sched_getaffinity(0))
    size = min(max(size_bytes, _LEAST_BYTES), _BYTES)
    # Few numbers are read several times in a round, so that starting the threads counts for little.
    passes = _BYTES // size
    shares = np.array_split(np.ones(size // 4, np.float32), count)

    def read(share: NDArray[np.float32]) -> None:
        # numpy lets other threads run while it reduces.
        for _ in range(passes):
            share.max()

    best = float("inf")
    with ThreadPoolExecutor(count) as pool:
        for _ in range(_ROUNDS):
            started = time.perf_counter()
            list(pool.map(read, shares))
            best = min(best, time.perf_counter() - started)
    return passes * size / best
