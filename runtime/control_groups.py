"""The control groups of Linux that hold this process, in both of their versions, and the processors that they allow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")


def group_folders(controller: str, root: Path = ROOT) -> Iterator[tuple[Path, int]]:
    """The folder of each group with ``controller`` (``memory``, ``cpu``), from the process's own up to the top, and the
    version that its files are of; they may not be there.

    Args:
        root: where ``proc`` and ``sys`` are; for tests.
    """
    top = root / "sys/fs/cgroup"
    for line in read_lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base, version = (top / controller, 1) if controllers else (top, 2)
        inner = Path(path.lstrip("/"))
        # Inside a container the path may be the host's, which is not there: its own group is mounted at the top.
        for folder in (inner, *inner.parents):
            yield base / folder, version


def allowed_processors(root: Path = ROOT) -> float | None:
    """How many processors' time the groups allow at most, 1.5 for example; None where none sets a limit."""
    limits = [_quota(folder, version) for folder, version in group_folders("cpu", root)]
    return min((limit for limit in limits if limit is not None), default=None)


def read_lines(path: Path) -> list[str]:
    """The lines of a file of the kernel; none where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _quota(folder: Path, version: int) -> float | None:
    """Microseconds of processors in a period of so many; "max" and -1 are no limit."""
    names = ("cpu.max",) if version == 2 else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    parts = " ".join(line for name in names for line in read_lines(folder / name)).split()
    if len(parts) != 2 or not all(part.isdigit() for part in parts) or not int(parts[1]):
        return None
    return int(parts[0]) / int(parts[1])
