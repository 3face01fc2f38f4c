"""Synthetic results of benchmarks: rows of known medians with the noise of a shared machine."""

import msgspec
import numpy as np
from msgspec.structs import replace

from dagger_edge.runtime.bench.ceiling import Load, ceiling_of
from dagger_edge.runtime.bench.rows import (
    MODEL_PART,
    QUANTITIES,
    READING_PART,
    REST_PART,
    BenchResult,
    BenchRun,
    Pace,
    Provenance,
    decode_result,
    make_row,
)

LOAD = Load(4_000_000_000, 70_000, 60_000_000, 860, (3_200_000_000, 100_000_000))
# Seconds of a step beside what its tokens take: starting operators, and reading weights at 34 GB/s.
FIXED, SLOPE, READ = 0.010, 0.031, 34e9
SIZES = (1, 2, 3, 4, 6, 8, 12, 16)
ASKED = {"questions": 12}


def step_s(tokens, *, slope=SLOPE):
    """Seconds of a step of so many tokens."""
    return FIXED + (LOAD.weight_bytes + LOAD.kv_read_bytes) / READ + tokens * slope


def truth(slope=SLOPE, others=0.02):
    """What a machine does without noise: quantity, settings, value."""
    steps, size = 60.0, 5.0
    reading, model, rest = 60 * slope + 0.2, (steps - 1) * step_s(size, slope=slope), 0.4
    answer = reading + model + rest
    parts = {READING_PART: reading, MODEL_PART: model, REST_PART: rest}
    return [
        ("memory speed", {}, READ / 1e9),
        ("matrix speed", {}, 100.0),
        ("other work", {}, others),
        ("load", {}, 7.0),
        ("prefill", {"tokens": 64}, 64 / step_s(64, slope=slope)),
        ("prefill", {"tokens": 256}, 256 / (4 * step_s(64, slope=slope))),
        ("first token", {"start": "cold"}, 3500.0),
        ("first token", {"start": "whole prompt"}, 25_000.0),
        ("plain token", {"questions": 3, "tokens at most": 64}, 1e3 * step_s(1, slope=slope) + 2),
        ("token", ASKED, 70.0),
        ("answer", ASKED, answer),
        *(("answer part", {"part": part, **ASKED}, seconds) for part, seconds in parts.items()),
        ("answers", ASKED, 60 / answer),
        ("steps", ASKED, steps),
        ("step size", ASKED, size),
        ("vote speed", {"samples": 1, "questions": 3}, 5.0),
        ("vote speed", {"samples": 4, "questions": 3}, 9.0),
        *(("step", {"tokens": k}, 1e3 * step_s(k, slope=slope)) for k in SIZES),
        ("peak memory", {}, 5200.0),
    ]


def noisy(value, luck, random, *, what):
    """Samples of ``value``: each process's own luck, a few percent more, and now and then a disturbed one."""
    count = len(luck)
    if what in {"steps", "step size"}:
        return [value] * count
    if what == "peak memory":
        return list(value * (1 + 0.001 * random.standard_normal(count)))
    factor = luck * np.exp(0.03 * random.standard_normal(count))
    factor *= np.where(random.random(count) < 0.07, 1 + 0.4 * random.random(count), 1.0)
    return list(value / factor if QUANTITIES[what].better == "higher" else value * factor)


def paced(quantity, samples, rates, follows):
    """``samples`` on a machine of these rates (1 is as without them), and the paces that tell them.

    ``follows`` is the power by which the program does.
    """
    if not quantity.timed or quantity.kind == "machine":
        return list(samples), []
    pairs = [(sample, rate**follows) for sample, rate in zip(samples, rates, strict=True)]
    values = [sample * rate if quantity.better == "higher" else sample / rate for sample, rate in pairs]
    # Calculating and reading do not become slower alike.
    return values, [Pace(70 * rate**1.2, 900 * rate**0.8) for rate in rates]


def result(
    seed=None,
    *,
    repeats=12,
    threads=(None,),
    scale=None,
    name="a 4B",
    precision="int8",
    others=0.02,
    luck=0.0,
    rates=None,
    follows=1.0,
):
    """A result with noise of ``seed`` (None: without any).

    ``scale`` is called with quantity and settings, and says how many times slower a row is. ``luck`` is by which
    share processes differ in all that they do. ``rates`` are the machine's in each process, and then rows tell paces;
    ``follows`` is the power by which rows follow them.
    """
    random = None if seed is None else np.random.default_rng(seed)
    runs, rows = [], []
    for index, count in enumerate(threads):
        own = np.ones(repeats) if random is None else np.exp(luck * random.standard_normal(repeats))
        runs.append(
            BenchRun(
                bundle=name,
                precision=precision,
                weights_sha256="ab" * 32,
                size_bytes=4_100_000_000,
                prefix_tokens=746,
                provider="cpu",
                threads=count,
                ceiling=replace(ceiling_of(LOAD, "rows", READ, 100e9), cached=False),
            )
        )
        for what, settings, value in truth(SLOPE / (count or 1), others):
            slower = 1.0 if scale is None else scale(what, settings)
            shown = value / slower if QUANTITIES[what].better == "higher" else value * slower
            samples = [shown] * repeats if random is None else noisy(shown, own, random, what=what)
            paces = []
            if rates is not None:
                samples, paces = paced(QUANTITIES[what], samples, rates, follows)
            rows.append(make_row(index, what, settings, samples, paces))
    made = BenchResult(
        result_version=1,
        provenance=Provenance(
            dagger_edge="0.1.0",
            commit="c0ffee" * 6 + "beef",
            created="2026-11-25T00:00:00+00:00",
            versions={"python": "3.11.7"},
            system="Linux",
            processor="a processor",
            instructions=("avx2",),
            cores=2,
            cache_bytes=1 << 25,
            memory_bytes=24 << 30,
            load=0.1,
            energy=None,
        ),
        settings={"provider": "cpu"},
        questions=12,
        repeats=repeats,
        runs=tuple(runs),
        rows=tuple(rows),
    )
    # As it is read from a file.
    return decode_result(msgspec.json.encode(made))
