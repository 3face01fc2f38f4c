"""The last measurement of this machine's kernels, in the user's cache."""

from __future__ import annotations

import msgspec

from ..user_cache import cache_name, read_cached, write_cached
from .machine import processor_name, usable_cores
from .report import MachineReport, decode_report


def keep_report(report: MachineReport) -> None:
    """Keeps ``report`` for `known_report`."""
    write_cached(_name(), msgspec.json.encode(report))


def known_report() -> MachineReport | None:
    """What was measured last on this machine; None where nothing was, or by another version that wrote it otherwise."""
    kept = read_cached(_name())
    try:
        return None if kept is None else decode_report(kept)
    except ValueError:
        return None


def _name() -> str:
    return cache_name("kernels", processor_name(), usable_cores())
