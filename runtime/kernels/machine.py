"""What a machine says of itself: processor, instructions, memory; as Linux has it, else what there is."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

# Those that kernels of products are written for.
_INSTRUCTIONS = (
    *("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx_vnni_int8", "amx_int8", "amx_tile"),
    *("asimd", "asimddp", "i8mm", "sve", "sve2", "sme"),
)
_ROOT = Path("/")
_CPUINFO, _MEMINFO = "proc/cpuinfo", Path("/proc/meminfo")
_CACHES = "/sys/devices/system/cpu/cpu0/cache"
_UNITS = {"K": 1 << 10, "M": 1 << 20, "": 1}


def processor_name(root: Path = _ROOT) -> str:
    """As the processor calls itself, or its architecture. ``root`` is where ``proc`` is; for tests."""
    text = _read(root / _CPUINFO)
    for key in ("model name", "Model", "Hardware"):
        found = re.search(rf"^{key}\s*:\s*(\S.*)$", text, re.MULTILINE)
        if found and found[1].isprintable():
            return found[1].strip()[:200]
    return platform.machine() or "unknown"


def instructions(root: Path = _ROOT) -> tuple[str, ...]:
    """Which of the instructions that matter it has. ``root`` as of `processor_name`."""
    found = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", _read(root / _CPUINFO), re.MULTILINE)
    flags = set(found[1].split()) if found else set()
    return tuple(name for name in _INSTRUCTIONS if name in flags)


def usable_cores() -> int:
    """Logical processors that this process may use."""
    return len(os.sched_getaffinity(0))


def memory_bytes() -> tuple[int, int]:
    """Bytes of memory that there are, and that a new program may have."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = re.search(r"^MemAvailable:\s*(\d+) kB$", _read(_MEMINFO), re.MULTILINE)
    return total, int(found[1]) << 10 if found else total


def cache_bytes() -> int:
    """The largest cache of the first processor; 0 where it does not say."""
    sizes = [re.fullmatch(r"(\d+)([KM]?)\s*", _read(path)) for path in Path(_CACHES).glob("index*/size")]
    return max((int(size[1]) * _UNITS[size[2]] for size in sizes if size), default=0)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
