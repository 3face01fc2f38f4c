"""Memory that is left: the machine's, and that of the control groups around this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagger_edge.runtime import memory
from dagger_edge.runtime.memory import available_memory, fits_in_memory

GIB = 1 << 30


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine of 16 GiB, of which 10 are available, without control groups."""
    write(tmp_path / "proc/meminfo", f"MemTotal: {16 << 20} kB\nMemFree: 1024 kB\nMemAvailable: {10 << 20} kB\n")
    return tmp_path


def write(path: Path, text: str | int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(text), encoding="utf-8")


def group(folder: Path, limit: str | int, usage: int, cached: int, *, version: int = 2) -> None:
    names = ("memory.max", "memory.current", "inactive_file")
    if version == 1:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    write(folder / names[0], f"{limit}\n")
    write(folder / names[1], f"{usage}\n")
    write(folder / "memory.stat", f"anon {usage - cached}\n{names[2]} {cached}\n")


def test_other_programs_memory_is_not_ours(root: Path) -> None:
    """By physical memory a 12 GiB model fits beside a browser that holds 6, and the machine swaps."""
    assert available_memory(root) == 10 * GIB


def test_a_containers_limit_counts(root: Path) -> None:
    """In a container the machine's memory is what it is; the kernel kills at the limit."""
    write(root / "proc/self/cgroup", "0::/\n")
    group(root / "sys/fs/cgroup", 4 * GIB, 3 * GIB, 2 * GIB)
    assert available_memory(root) == 3 * GIB


def test_the_tightest_of_nested_groups_counts(root: Path) -> None:
    """A service without a limit of its own lies in a slice that has one."""
    write(root / "proc/self/cgroup", "0::/slice/service\n")
    group(root / "sys/fs/cgroup/slice/service", "max", 1 * GIB, 0)
    group(root / "sys/fs/cgroup/slice", 6 * GIB, 2 * GIB, 0)
    assert available_memory(root) == 4 * GIB


def test_groups_of_version_1_count(root: Path) -> None:
    """Older machines have a file system a controller, and write no limit as a number near 2**63."""
    write(root / "proc/self/cgroup", "9:cpu:/x\n4:memory:/job\n0::/\n")
    group(root / "sys/fs/cgroup/memory/job", 2 * GIB, 1 * GIB, 0, version=1)
    group(root / "sys/fs/cgroup/memory", 9223372036854771712, 1 * GIB, 0, version=1)
    assert available_memory(root) == 1 * GIB


def test_a_group_over_its_limit_has_nothing_left(root: Path) -> None:
    """Less than nothing would be compared as a number."""
    write(root / "proc/self/cgroup", "0::/\n")
    group(root / "sys/fs/cgroup", 1 * GIB, 2 * GIB, 0)
    assert available_memory(root) == 0


def test_a_system_that_says_nothing_has_its_physical_memory(tmp_path: Path) -> None:
    """macOS has neither file."""
    assert available_memory(tmp_path) > GIB // 4


def test_this_machine_says_something_sensible() -> None:
    """The real files must be readable in the real format."""
    assert 0 < available_memory() < 1 << 50


def test_a_bundle_fits_where_half_as_much_again_and_some_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule that is too kind ends in a kill, not in an error."""
    weights = tmp_path / "weights"
    with weights.open("wb") as file:
        file.truncate(10 * GIB)
    monkeypatch.setattr(memory, "available_memory", lambda: 14 * GIB)
    assert not fits_in_memory(weights)
    monkeypatch.setattr(memory, "available_memory", lambda: 16 * GIB)
    assert fits_in_memory(weights)
