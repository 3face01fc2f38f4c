"""The last benchmark of this machine, in the user's cache: what `bench plan` predicts from where it is given none."""

from __future__ import annotations

import msgspec

from ..kernels.machine import processor_name, usable_cores
from ..user_cache import cache_name, read_cached, write_cached
from .rows import BenchResult, decode_result


def keep_result(result: BenchResult) -> None:
    """Keeps ``result`` for `known_result`."""
    write_cached(_name(), msgspec.json.encode(result))


def known_result() -> BenchResult | None:
    """What was measured last on this machine; None where nothing was, or by another version that wrote it otherwise."""
    kept = read_cached(_name())
    try:
        return None if kept is None else decode_result(kept)
    except ValueError:
        return None


def _name() -> str:
    return cache_name("bench", processor_name(), usable_cores())
