"""A bundle: intact, readable, and computing here what it computed where it was exported."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import BundleError
from ..files import Bar
from .probe import ANSWER_S, Answer, Probe
from .report import Check, Provider, Status

if TYPE_CHECKING:
    from ..bundle import Bundle

_REMEDIES = {
    "Crash": "free memory, or export a smaller precision; if there is enough, another onnxruntime may help",
    "Timeout": "export a smaller precision, or use a faster machine",
    "ProviderError": "use --provider cpu, or see the providers above",
}
_EXPORT_AGAIN = "copy or export the bundle again"


def open_bundle(path: Path, bar: Bar) -> tuple[Bundle | None, Check]:
    """The bundle, every file of which was read and compared; None where it is none.

    Needs msgspec, and so is called only where that is known to be there.
    """
    from ..bundle import Bundle

    try:
        opened = Bundle.open(path, bar=bar)
    except BundleError as error:
        return None, _check("bundle", "failure", *_split(str(error)))
    finding = f"{path}: {len(opened.manifest.files)} files, {opened.size_bytes / 1e6:,.1f} MB, all intact"
    return opened, _check("bundle", "ok", finding)


def check_made_for(bundle: Bundle, provider: Provider) -> Check:
    """Whether the bundle's graph has kernels on ``provider``."""
    made_for = bundle.manifest.made_for
    finding = f"the bundle is made for {' and '.join(made_for)}"
    if provider in made_for:
        return Check("bundle-provider", "providers", "ok", finding)
    remedy = "export it with --precision fp16 for CUDA, or use --provider cpu"
    return Check("bundle-provider", "providers", "failure", f"{finding}, not for {provider}", remedy)


def times_of(bundle: Bundle) -> list[float]:
    """When it was made and its files were changed, in seconds since 1970."""
    times = [(bundle.path / name).stat().st_mtime for name in bundle.manifest.files]
    try:
        made = datetime.fromisoformat(bundle.manifest.created)
    except ValueError:
        return times
    return [*times, made.timestamp()]


def ask_known_answer(probe: Probe, path: Path, provider: Provider) -> Answer:
    """What the model says here; see `worker`."""
    return probe.ask("known_answer", str(path), provider, seconds=ANSWER_S)


def check_known_answer(answer: Answer) -> Check:
    """Whether that is what it said where it was exported."""
    if answer.value is None:
        if answer.kind == "BundleError":
            return _check("known-answer", "failure", *_split(answer.error))
        finding = f"no answer: {answer.error}"
        return _check(
            "known-answer", "failure", finding, _REMEDIES.get(answer.kind, "see the checks above, or report it")
        )
    found, seconds = answer.value["answer"], answer.value["seconds"]
    if found is None:
        finding = f"none in this bundle; model and tokenizer load ({seconds:.1f} s)"
        return _check("known-answer", "warning", finding, "export the bundle again, without --no-verify")
    finding = f"as at export: {found['tokens']} tokens, logits within {found['difference']:.2g}"
    return _check("known-answer", "ok", f"{finding} (allowed: {found['tolerance']:.2g}), in {seconds:.1f} s")


def check_network(answer: Answer) -> Check:
    """That no network is needed: the answer was computed without one."""
    if answer.value is None:
        return _check("network", "skipped", "nothing was answered")
    return _check("network", "ok", f"not needed: all of this ran {answer.network}")


def check_measurements(answer: Answer) -> Check:
    """What was measured here and is kept, by which decoding decides how much to guess."""
    if answer.value is None:
        return _check("measurements", "skipped", "nothing was answered")
    steps, best = answer.value["steps"], answer.value["best"]
    told = "no steps measured yet (the first question does it)"
    if steps:
        (few, short), (many, long) = steps[0], steps[-1]
        told = f"a step of {few} takes {short * 1e3:.3g} ms, of {many} {long * 1e3:.3g} ms"
    kernel = f"the best kernel here is {best}" if best else "no kernels measured (`dagger-edge measure` does it)"
    return _check("measurements", "ok", f"{told}; {kernel}")


def _split(message: str) -> tuple[str, str]:
    """What is wrong and what to do, which an error of a bundle has behind its last semicolon."""
    finding, _, remedy = message.rpartition("; ")
    return (finding, remedy) if finding else (remedy, _EXPORT_AGAIN)


def _check(name: str, status: Status, finding: str, remedy: str | None = None) -> Check:
    return Check(name, "bundle", status, finding, remedy)
