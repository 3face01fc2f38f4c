"""How fast this machine reads its memory: what bounds the decoding of a model that no cache holds."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

_BYTES = 256 << 20
_ROUNDS = 8


def memory_bandwidth(threads: int | None = None) -> float:
    """Bytes a second: the best of eight times that numpy looked for the largest of 64 Mi float32 numbers, a share of
    them in each thread. Takes half a second and 256 MiB.

    Args:
        threads: that read at once; by default as many as this process may use.
    """
    count = threads or len(os.sched_getaffinity(0))
    shares = np.array_split(np.ones(_BYTES // 4, np.float32), count)
    best = float("inf")
    with ThreadPoolExecutor(count) as pool:
        for _ in range(_ROUNDS):
            started = time.perf_counter()
            # numpy lets other threads run while it reduces.
            list(pool.map(np.max, shares))
            best = min(best, time.perf_counter() - started)
    return _BYTES / best
