"""How much memory this process may still take: what is free on the machine, and in the control groups around it."""

from __future__ import annotations

import os
from pathlib import Path

from .control_groups import ROOT, group_folders, read_lines

# What running a bundle takes beside its weights: their largest matrix twice, and logits of a chunk.
_RUNNING_FACTOR, _RUNNING_BYTES = 1.3, 2 << 30
# A control group without a limit says "max", or in version 1 a number near 2**63.
_NO_LIMIT = 1 << 60
# Limit, usage, and what of that are cached files, by the version of the groups.
_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")),
    2: ("memory.max", "memory.current", ("inactive_file", "active_file")),
}


def available_memory(root: Path = ROOT) -> int:
    """Bytes that can be had without pushing other programs out.

    The least of ``MemAvailable`` and of what every control group that holds this process has left; files that
    the kernel caches for a group count as left, since it gives them up first. Where the system says neither, all
    physical memory.

    Args:
        root: where ``proc`` and ``sys`` are; for tests.
    """
    found = [_machine(root), *_groups(root)]
    return max(0, min(left for left in found if left is not None))


def memory_to_run(weights_bytes: int) -> int:
    """Bytes that running a bundle takes at most, whose weights have so many."""
    return round(weights_bytes * _RUNNING_FACTOR) + _RUNNING_BYTES


def fits_in_memory(weights: Path) -> bool:
    """Whether onnxruntime can hold ``weights`` now, which it copies into its kernels' layout part by part."""
    return memory_to_run(weights.stat().st_size) < available_memory()


def _machine(root: Path) -> int:
    for line in read_lines(root / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _groups(root: Path) -> list[int | None]:
    """What is left in each group from the process's own up to the root, in both versions."""
    return [_left(folder, *_FILES[version]) for folder, version in group_folders("memory", root)]


def _left(group: Path, limit: str, usage: str, cached: tuple[str, ...]) -> int | None:
    numbers = [read_lines(group / name) for name in (limit, usage)]
    if not all(numbers) or not numbers[0][0].isdigit() or int(numbers[0][0]) >= _NO_LIMIT:
        return None
    sizes = (line.split() for line in read_lines(group / "memory.stat"))
    files = sum(int(size) for name, size in sizes if name in cached)
    return int(numbers[0][0]) - int(numbers[1][0]) + files
