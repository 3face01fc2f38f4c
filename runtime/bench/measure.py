"""A whole benchmark: processes in turns, and rows of what they found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from ..bundle import WEIGHTS_FILE, Bundle
from ..errors import UsageError
from ..ort import Provider
from .ceiling import bundle_load, ceiling_of, kernel_of, machine_samples, prefill_bound, step_bound
from .job import Findings, Job
from .process import run_job
from .provenance import provenance
from .questions import bench_questions
from .rows import QUANTITIES, BenchResult, BenchRun, Ceiling, Row, Sample, Settings, make_row

MAX_REPEATS = 1000


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    Attributes:
        bundles: folders; each is verified once.
        provider: ``cpu`` or ``cuda``.
        threads: of one operator, each in processes of its own; None leaves it to onnxruntime.
        prefill: lengths of prompts, in tokens.
        questions: how many of `bench_questions`, from the first.
        repeats: processes that are measured for each bundle and number of threads.
        samples: numbers of graphs for a vote.
        drag: by which share every run of the model is made slower: for the proof that comparing sees it.

    Raises:
        UsageError: a number is out of range, or a list has something twice.
    """

    bundles: tuple[Path, ...]
    provider: Provider = "cpu"
    threads: tuple[int | None, ...] = (None,)
    prefill: tuple[int, ...] = (64, 256, 512)
    questions: int = 12
    repeats: int = 15
    samples: tuple[int, ...] = (1, 4)
    drag: float = 0.0

    def __post_init__(self) -> None:
        available = len(bench_questions())
        if not 1 <= self.questions <= available:
            raise UsageError(f"questions is {self.questions}: it must be from 1 to {available}")
        if not 1 <= self.repeats <= MAX_REPEATS:
            raise UsageError(f"repeats is {self.repeats}: it must be from 1 to {MAX_REPEATS}")
        for name in ("bundles", "threads", "prefill", "samples"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise UsageError(f"{name} has something twice: {', '.join(map(str, values))}")


@dataclass(frozen=True, slots=True)
class _Setup:
    """A run to be measured."""

    bundle: Bundle
    threads: int | None
    job: Job


def measure(
    plan: Plan, progress: Callable[[str], None] = lambda _line: None, command: str | None = None
) -> BenchResult:
    """Measures ``plan``: the machine first, then ``repeats`` rounds in which each run has a process of its own, after a
    round that is not counted.

    Args:
        plan: what to measure.
        progress: called with a line of text before each part.
        command: what measures this again, for the provenance.

    Raises:
        BundleError, ProviderError, ModelError, UsageError: as of `Solver.open` and `Solver.solve`; an error of a
            measuring process is raised here.
    """
    origin = provenance(command)
    setups = _setups(plan)
    for setup in setups:
        progress(_ceiling_line(setup, plan.provider))
    found: list[list[tuple[float, Findings]]] = [[] for _ in setups]
    for number in range(plan.repeats + 1):
        progress("warming up" if number == 0 else f"round {number} of {plan.repeats}")
        for index, setup in enumerate(setups):
            done = run_job(setup.job)
            if number:
                found[index].append(done)
    runs: list[BenchRun] = []
    rows: list[Row] = []
    for index, setup in enumerate(setups):
        made = _rows(index, [_loaded(load, part) for load, part in found[index]])
        run, made = _with_ceiling(setup, plan, found[index][-1][1], made)
        runs.append(run)
        rows += made
    return BenchResult(
        result_version=1,
        provenance=origin,
        settings=_told(plan),
        questions=plan.questions,
        repeats=plan.repeats,
        runs=tuple(runs),
        rows=tuple(rows),
    )


def _setups(plan: Plan) -> list[_Setup]:
    questions = tuple(question.question for question in bench_questions()[: plan.questions])
    setups = []
    for path in plan.bundles:
        bundle = Bundle.open(path)
        for threads in plan.threads:
            job = Job(str(path), plan.provider, threads, questions, plan.prefill, plan.samples, drag=plan.drag)
            setups.append(_Setup(bundle, threads, job))
    return setups


def _told(plan: Plan) -> dict[str, str]:
    lists = {
        "threads": ["one per core" if count is None else str(count) for count in plan.threads],
        "prefill": [str(length) for length in plan.prefill],
        "samples": [str(count) for count in plan.samples],
    }
    return {"provider": plan.provider, **{name: ", ".join(values) or "none" for name, values in lists.items()}}


def _loaded(load_s: float, found: Findings) -> list[Sample]:
    """With the loading, at the pace of what came right after it."""
    return [Sample("load", load_s, pace=found.samples[0].pace), *found.samples]


def _rows(run: int, processes: Sequence[Sequence[Sample]]) -> list[Row]:
    """A row for each quantity under each settings, in the order of `QUANTITIES`."""
    groups: dict[tuple[str, tuple[tuple[str, int | str], ...]], list[Sample]] = {}
    for samples in processes:
        for sample in samples:
            groups.setdefault((sample.what, tuple(sample.settings.items())), []).append(sample)
    order = list(QUANTITIES)
    # Sorting is stable: settings stay in the order in which they were measured.
    keys = sorted(groups, key=lambda key: order.index(key[0]))
    return [_row(run, what, dict(settings), groups[what, settings]) for what, settings in keys]


def _row(run: int, what: str, settings: Settings, samples: Sequence[Sample]) -> Row:
    return make_row(run, what, settings, [one.value for one in samples], [one.pace for one in samples])


def _with_ceiling(setup: _Setup, plan: Plan, found: Findings, rows: list[Row]) -> tuple[BenchRun, list[Row]]:
    """The run, and its rows with their bounds, by the machine's median speeds."""
    manifest = setup.bundle.manifest
    speeds = {row.what: row.median for row in rows if row.kind == "machine"}
    ceiling = None
    if "memory speed" in speeds:
        load = bundle_load(manifest, found.context, found.number_bytes)
        kernel = kernel_of(manifest.precision.name)
        ceiling = ceiling_of(load, kernel, 1e9 * speeds["memory speed"], 1e9 * speeds["matrix speed"])
        rows = [_bounded(row, ceiling) for row in rows]
    run = BenchRun(
        bundle=manifest.name,
        precision=manifest.precision.name,
        weights_sha256=manifest.files[WEIGHTS_FILE].sha256,
        size_bytes=setup.bundle.size_bytes,
        prefix_tokens=found.prefix_tokens,
        provider=plan.provider,
        threads=setup.threads,
        ceiling=ceiling,
    )
    return run, rows


def _bounded(row: Row, ceiling: Ceiling) -> Row:
    bound = _bound(row.what, row.settings, ceiling)
    if bound is None:
        return row
    share = row.median / bound if row.better == "higher" else bound / row.median
    return replace(row, ceiling=float(f"{bound:.6g}"), share=float(f"{share:.4g}"))


def _bound(what: str, settings: Settings, ceiling: Ceiling) -> float | None:
    """The best that the machine allows, in the row's unit."""
    tokens = settings.get("tokens")
    if what == "plain token":
        return 1e3 * step_bound(ceiling, 1)
    if what == "plain speed":
        return 1 / step_bound(ceiling, 1)
    if what == "step" and isinstance(tokens, int):
        return 1e3 * step_bound(ceiling, tokens)
    if what == "prefill" and isinstance(tokens, int):
        return tokens / prefill_bound(ceiling, tokens)
    return None


def _ceiling_line(setup: _Setup, provider: Provider) -> str:
    """What the machine allows, measured before anything else; for people."""
    manifest = setup.bundle.manifest
    name = f"{manifest.name}, {manifest.precision.name}, {_threads(setup.threads)}"
    if provider != "cpu":
        return f"ceiling of {name}: not measured on {provider}"
    read, products = (sample.value * 1e9 for sample in machine_samples(manifest, setup.threads))
    ceiling = ceiling_of(bundle_load(manifest, 0, 0), kernel_of(manifest.precision.name), read, products)
    where = "which the cache holds, read" if ceiling.cached else "read"
    return (
        f"ceiling of {name}: {ceiling.weight_bytes / 1e6:,.1f} MB of weights a step, {where} at {read / 1e9:.1f} GB/s,"
        f" {products / 1e9:.1f} GMAC/s: {ceiling.tokens_per_s:,.0f} tokens/s one by one"
    )


def _threads(count: int | None) -> str:
    return "one thread per core" if count is None else f"{count} thread{'s' * (count > 1)}"
