"""``dagger-edge inspect``: what a bundle is, and whether it is intact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from ..runtime.bundle import KNOWN_ANSWER_FILE, PREFIX_FILE, WEIGHTS_FILE, Bundle
from ..runtime.cost import StepCost
from ..runtime.kept_cost import known_step_cost
from ..runtime.kernels.kept import known_report
from ..runtime.manifest import Manifest
from .measure import verdict
from .progress import byte_bar

# Beside which weights, a processor's cache is no small matter.
_CACHED_BYTES = 64 << 20
_LABEL = 22
_NOT_MEASURED = "not measured yet; `dagger-edge measure` says which kernel and precision suit it"


@click.command("inspect")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--ceiling", is_flag=True, help="Measure this machine's memory, and say how fast decoding can be at most."
)
@click.option("--steps", is_flag=True, help="Measure what steps of several tokens cost here, by which drafts are cut.")
@click.option("--threads", type=click.IntRange(min=1), help="With --steps: of one operator.  [default: one per core]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document: path, size, manifest, measurements.")
def command(bundle: Path, ceiling: bool, steps: bool, threads: int | None, as_json: bool) -> None:
    """Show what BUNDLE is: model, precision, weights, parity, files; after reading every file and comparing its sha256.

    What was measured here before is told with it: what steps cost (by `solve`, or --steps), and which kernel suits
    the machine (by `dagger-edge measure`). A bundle that is not intact is an error (exit code 4) that names the file.
    `dagger-edge verify` also runs it.
    """
    opened = Bundle.open(bundle, bar=byte_bar)
    bound = _ceiling(opened.manifest) if ceiling else None
    cost = _step_cost(opened, threads, anew=steps)
    machine = known_report()
    if as_json:
        document = {
            "path": str(opened.path),
            "intact": True,
            "size_bytes": opened.size_bytes,
            "manifest": opened.manifest,
            "ceiling": bound,
            "step_cost": cost,
            "machine": machine,
        }
        click.echo(msgspec.json.encode(document).decode())
        return
    for label, value in _summary(opened.manifest):
        click.echo(f"{label:<{_LABEL}} {value}")
    if bound is not None:
        click.echo(f"{'ceiling':<{_LABEL}} {_describe(bound)}")
    click.echo(f"{'a step here':<{_LABEL}} {_describe_steps(cost)}")
    click.echo(f"{'this machine':<{_LABEL}} {_NOT_MEASURED if machine is None else verdict(machine)}")
    click.echo(f"{'files':<{_LABEL}} {opened.size_bytes / 1e6:,.1f} MB, all intact")
    for name, entry in sorted(opened.manifest.files.items()):
        click.echo(f"  {name:<{_LABEL}} {entry.size_bytes:>16,}  {entry.sha256[:16]}")


def _summary(manifest: Manifest) -> list[tuple[str, str]]:
    shape, source = manifest.architecture, manifest.source
    return [
        ("name", manifest.name),
        ("source", source.title),
        (
            "model",
            f"{shape.model_type}, {shape.num_layers} layers ({len(shape.global_layers)} global, the others"
            f" see {shape.sliding_window} tokens), {shape.num_kv_heads} KV heads of {shape.head_dim},"
            f" vocabulary {shape.vocab_size}, context {shape.context_length}",
        ),
        ("precision", manifest.precision.name),
        *((f"  {key}", str(value)) for key, value in sorted(manifest.precision.recipe.items())),
        *_weights(manifest),
        ("made for", ", ".join(manifest.made_for)),
        ("prompt", manifest.prompt),
        ("prefix snapshot", _snapshot(manifest)),
        ("parity", manifest.parity_summary),
        ("self-test", "known answer, for `verify`" if KNOWN_ANSWER_FILE in manifest.files else "none"),
        ("created", f"{manifest.created} by {manifest.export_command}"),
    ]


def _weights(manifest: Manifest) -> list[tuple[str, str]]:
    total = manifest.files[WEIGHTS_FILE].size_bytes
    lines = [("weights", f"{total / 1e6:,.1f} MB")]
    for name, part in (manifest.weights or {}).items():
        bits = "" if part.bits is None else f", {part.bits:.2f} bits a number"
        lines.append((f"  {name}", f"{part.size_bytes / 1e6:,.1f} MB{bits}"))
    return lines


def _snapshot(manifest: Manifest) -> str:
    if manifest.prefix is None:
        return "none: every prompt is read whole"
    size = manifest.files[PREFIX_FILE].size_bytes / 1e6
    return f"{manifest.prefix.tokens} tokens that every prompt begins with, {size:,.1f} MB"


def _ceiling(manifest: Manifest) -> dict[str, Any]:
    """The bound that memory sets, as every weight is read once for every token that is decoded alone; None for
    weights that may stay in the processor's cache."""
    from ..runtime.bandwidth import memory_bandwidth

    size, speed = manifest.token_bytes or manifest.files[WEIGHTS_FILE].size_bytes, memory_bandwidth()
    return {
        "memory_bytes_per_s": round(speed),
        "bytes_per_token": size,
        "tokens_per_s": speed / size if size >= _CACHED_BYTES else None,
    }


def _step_cost(bundle: Bundle, threads: int | None, *, anew: bool) -> StepCost | None:
    """What steps cost here; None where that is not known, and was not asked for."""
    if not anew:
        return known_step_cost(bundle, "cpu", threads)
    from ..runtime.solver import Solver

    with Solver.open(bundle, threads=threads) as solver:
        return solver.measure_steps()


def _describe_steps(cost: StepCost | None) -> str:
    if cost is None:
        return "not measured yet; the first question does it, or --steps"
    pairs = zip(cost.sizes, cost.seconds, strict=True)
    return ", ".join(f"{size}: {seconds * 1e3:,.3g} ms" for size, seconds in pairs) + " (by tokens in it)"


def _describe(bound: dict[str, Any]) -> str:
    measured = f"memory is read at {bound['memory_bytes_per_s'] / 1e9:.1f} GB/s (measured now, with numpy)"
    weights = f"{bound['bytes_per_token'] / 1e6:,.1f} MB of weights a token"
    if bound["tokens_per_s"] is None:
        return f"none by memory: {weights}, which may stay in the processor's cache; {measured}"
    return f"{bound['tokens_per_s']:,.1f} tokens/s decoded one by one: {weights}; {measured}"
