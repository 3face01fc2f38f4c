"""Measuring what steps cost, kernel by kernel, in turns, so that a busy moment falls on all of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from ... import __version__
from ..bandwidth import memory_bandwidth
from ..errors import UsageError
from ..ort import onnxruntime_version
from ..pieces import KernelSession
from .estimate import best_of, estimate, shape_load
from .kernel import BY_NAME, KERNELS, KernelName
from .machine import cache_bytes, instructions, memory_bytes, processor_name, usable_cores
from .report import TOKENS, KernelCost, MachineReport, ModelShape, Step

# Weights of a kernel take at least so much, and so many times the largest cache, so that no step finds them in it.
_BYTES, _CACHES = 96 << 20, 2
# Models with fewer weights stay in the cache when they run, too.
_MOST_PAIRS = 64
# onnxruntime holds a second copy in its kernels' layout; the rest is its arena.
_COPIES, _WORKING_BYTES = 2, 256 << 20
# Steps of few tokens are short: several in a row.
_SHORT, _REPEATS = 16, 3
_FEWEST, _MOST = 3, 15

Times = dict[tuple[KernelName, int], list[float]]


def measure_machine(
    shape: ModelShape,
    *,
    threads: int | None = None,
    seconds: float = 30.0,
    progress: Callable[[str], None] = lambda _line: None,
) -> MachineReport:
    """Measures every kernel over random matrices of ``shape``; takes ``seconds`` and about as long again to prepare.

    Args:
        shape: of the matrices, and of the model that is estimated.
        threads: of one operator; None leaves it to onnxruntime (one per physical core).
        seconds: after which no further round begins; three are made in any case.
        progress: called with a line of text before each part.

    Raises:
        UsageError: there is not enough memory to measure.
        ProviderError: onnxruntime is missing or too old.
    """
    version, (total, available) = onnxruntime_version(), memory_bytes()
    pairs = {name: _pairs(shape, name) for name in KERNELS}
    weights = {name: 2 * count * shape.hidden * shape.intermediate for name, count in pairs.items()}
    needed = _WORKING_BYTES + sum(_COPIES * round(BY_NAME[name].bits / 8 * weights[name]) for name in KERNELS)
    if needed > available:
        raise UsageError(
            f"measuring the shape {shape.name} takes {needed / 1e9:.1f} GB of memory, and {available / 1e9:.1f} GB are"
            " available; close other programs, or choose a smaller --shape"
        )
    progress("reading memory")
    bandwidth = memory_bandwidth(threads)
    progress(f"preparing {len(KERNELS)} kernels ({needed / 1e9:.1f} GB)")
    random = np.random.default_rng(0)
    sessions = {
        name: KernelSession(*BY_NAME[name].graph(shape.hidden, shape.intermediate, pairs[name], random), threads)
        for name in KERNELS
    }
    inputs = {count: random.standard_normal((1, count, shape.hidden), np.float32) for count in TOKENS}
    times = _race(sessions, inputs, seconds, progress)
    costs = {
        name: KernelCost(
            title=BY_NAME[name].title,
            precision=BY_NAME[name].precision,
            bits=BY_NAME[name].bits,
            matrices=2 * pairs[name],
            weights=weights[name],
            steps=tuple(_step(count, times[name, count]) for count in TOKENS),
        )
        for name in KERNELS
    }
    loads = {name: shape_load(shape, name) for name in KERNELS}
    estimates = {name: estimate(load, costs, available) for name, load in loads.items()}
    return MachineReport(
        report_version=1,
        dagger_edge=__version__,
        onnxruntime=version,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        processor=processor_name(),
        instructions=instructions(),
        cores=usable_cores(),
        threads=threads,
        memory_bytes=total,
        available_bytes=available,
        bandwidth_bytes_per_s=bandwidth,
        shape=shape,
        kernels=costs,
        estimates=estimates,
        best=best_of(estimates, {name: load.bits for name, load in loads.items()}),
    )


def _pairs(shape: ModelShape, name: KernelName) -> int:
    """How many pairs of matrices no cache holds, or what there is in a small model."""
    pair = BY_NAME[name].bits / 8 * 2 * shape.hidden * shape.intermediate
    return min(_MOST_PAIRS, int(-(-max(_BYTES, _CACHES * cache_bytes()) // pair)))


def _race(
    sessions: dict[KernelName, KernelSession],
    inputs: dict[int, NDArray[np.float32]],
    seconds: float,
    progress: Callable[[str], None],
) -> Times:
    """Seconds of every step: rounds in which each kernel takes its turn at each number of tokens."""
    times: Times = {(name, count): [] for name in sessions for count in inputs}
    started = time.perf_counter()
    for number in range(_MOST + 1):
        spent = time.perf_counter() - started
        if number > _FEWEST and spent > seconds:
            break
        # The first round warms up: memory is asked for, code is read.
        progress("warming up" if number == 0 else f"round {number}, {spent:.0f} s")
        for count, x in inputs.items():
            for name, session in sessions.items():
                took = [_seconds(session, x) for _ in range(_REPEATS if count <= _SHORT else 1)]
                times[name, count] += took if number else []
    return times


def _seconds(session: KernelSession, x: NDArray[np.float32]) -> float:
    started = time.perf_counter()
    session.run(x)
    return time.perf_counter() - started


def _step(tokens: int, seconds: list[float]) -> Step:
    low, middle, high = np.quantile(seconds, [0.25, 0.5, 0.75]) * 1e3
    return Step(tokens, float(f"{middle:.4g}"), float(f"{high - low:.3g}"), len(seconds))
