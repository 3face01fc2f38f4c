"""What steps cost with a bundle on this machine: measured once, and kept in the user's cache."""

from __future__ import annotations

import msgspec

from .bundle import MODEL_FILE, WEIGHTS_FILE, Bundle
from .context import Context
from .cost import SIZES, StepCost, measure_steps
from .kernels.machine import processor_name, usable_cores
from .manifest import ProviderName
from .ort import installed_onnxruntime
from .session import Session
from .user_cache import cache_name, read_cached, write_cached


def kept_step_cost(bundle: Bundle, context: Context, session: Session) -> StepCost:
    """The cost of steps with ``session``, behind what ``context`` has read: as it was measured, else measured now.

    Raises:
        ModelError: onnxruntime fails on the CPU.
        ProviderError: it fails on another provider.
    """
    known = known_step_cost(bundle, session.provider, session.threads)
    return measured_step_cost(bundle, context, session) if known is None else known


def measured_step_cost(bundle: Bundle, context: Context, session: Session) -> StepCost:
    """`kept_step_cost`, measured now in any case."""
    measured = measure_steps(context)
    write_cached(_name(bundle, session.provider, session.threads), msgspec.json.encode(measured))
    return measured


def known_step_cost(bundle: Bundle, provider: ProviderName, threads: int | None) -> StepCost | None:
    """What was measured with ``bundle`` on this machine; None where nothing was."""
    kept = read_cached(_name(bundle, provider, threads))
    try:
        return None if kept is None else msgspec.json.decode(kept, type=StepCost)
    except msgspec.MsgspecError:
        return None


def _name(bundle: Bundle, provider: ProviderName, threads: int | None) -> str:
    digests = [bundle.manifest.files[name].sha256 for name in (MODEL_FILE, WEIGHTS_FILE)]
    machine = processor_name(), usable_cores(), installed_onnxruntime()
    return cache_name("steps", *digests, provider, threads, *machine, SIZES)
