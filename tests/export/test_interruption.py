"""Exports that do not end well: killed, out of space, or with the checkpoint pulled away. A bundle is there whole, or
it is not there; the message names the file.

``DAGGER_EDGE_KILLS=60 pytest -m export tests/export/test_interruption.py -k kill`` kills sixty times.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tiny_gemma import write_checkpoint

from dagger_edge.export.pipeline import export_checkpoint
from dagger_edge.runtime.bundle import Bundle
from dagger_edge.runtime.errors import BundleError, UsageError
from dagger_edge.runtime.manifest import PRECISIONS
from dagger_edge.runtime.solver import Solver

pytestmark = pytest.mark.export

SOURCE = str(Path(__file__).parent.parent.parent / "src")
KILLS = int(os.environ.get("DAGGER_EDGE_KILLS", "6"))
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# From the first line on stderr to the end: the imports before it take longer than all the rest.
WORK_S = 4.0


def start(checkpoint: Path, target: Path, *options: str, limit: str = "") -> subprocess.Popen[str]:
    """The export as a process of its own; ``limit`` is a command of the shell before it."""
    arguments = ["-m", "dagger_edge", "export", str(checkpoint), str(target), "--prompt", "question", *options]
    return subprocess.Popen(
        ["bash", "-c", f'{limit} exec "$0" "$@"', sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": SOURCE, "PYTHONDONTWRITEBYTECODE": "1"},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_whole(folder: Path) -> None:
    """The bundle opens, and computes what it should."""
    with Solver.open(folder) as solver:
        assert solver.check_known_answer() is not None


@pytest.mark.parametrize("number", range(KILLS))
def test_a_kill_at_a_random_moment_leaves_all_or_nothing(
    wide_checkpoint: Path, tmp_path: Path, number: int, record_property: Callable[[str, object], None]
) -> None:
    dice = random.Random(number)
    kind, precision = SIGNALS[number % len(SIGNALS)], PRECISIONS[number % len(PRECISIONS)]
    target = tmp_path / "made"
    with start(wide_checkpoint, target, "--precision", precision) as process:
        assert process.stderr is not None
        early = number % 5 == 4
        first = "" if early else process.stderr.readline()
        time.sleep(dice.uniform(0, WORK_S))
        process.send_signal(kind)
        errors = (first + process.stderr.read()).splitlines()
    leftovers = [name for name in names(tmp_path) if name != "made"]
    record_property("outcome", f"{kind.name} {precision} {process.returncode} {names(tmp_path)} {errors[-1:]}")
    if target.exists():
        assert_whole(target)
    if kind != signal.SIGKILL and process.returncode >= 0 and not target.exists():
        assert process.returncode == 6
        assert errors[-1] == "error: interrupted"
        assert leftovers == []
    assert "Traceback" not in errors or early
    for name in leftovers:
        assert name.startswith(".made.tmp-")
        with suppress(BundleError):
            Bundle.open(tmp_path / name)
            assert_whole(tmp_path / name)
    if leftovers and not target.exists():
        export_checkpoint(wide_checkpoint, target, prompt="question", verify=False)
        assert names(tmp_path) == ["made"]


STAGES = ("reading", "tracing", "measuring", "writing", "comparing", "sealing")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 80 MB of its own, where this process may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("left", [0, 40_960])
@pytest.mark.parametrize("stage", STAGES)
def test_a_disk_that_fills_up_at_any_stage_is_one_clear_error(
    checkpoint: Path, disk: Path, stage: str, left: int
) -> None:
    """From the start of ``stage`` on there are ``left`` bytes free."""

    def fill(line: str) -> None:
        if line.startswith(stage):
            free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize
            (disk / "filler").write_bytes(bytes(max(0, free - left)))

    # What is still free may be enough; the second error is that of the reserve for the small files.
    with pytest.raises(BundleError, match=r"disk is full|are free") if left == 0 else suppress(BundleError) as caught:
        export_checkpoint(checkpoint, disk / "made", prompt="question", precision="fp16", progress=fill)
    if left == 0:
        assert str(disk / "made") in str(caught.value)
    if "made" in names(disk):
        assert_whole(disk / "made")
    assert set(names(disk)) <= ({"filler"} if left == 0 else {"filler", "made"})


@pytest.mark.parametrize("limit", [1, 5, 40])
def test_a_file_that_cannot_grow_is_one_line(checkpoint: Path, tmp_path: Path, limit: int) -> None:
    """The same without root: the template, the tokenizer and the trace each meet a limit on file sizes (KiB)."""
    with start(checkpoint, tmp_path / "made", limit=f"ulimit -f {limit};") as process:
        _, errors = process.communicate()
    assert process.returncode == 4, errors
    assert "the disk is full or a file size limit was reached" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    assert names(tmp_path) == []


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """A checkpoint of several shards, for one test to damage."""
    return write_checkpoint(tmp_path / "sharded", max_shard_size="60KB")


def at(stage: str, act: Callable[[], Any]) -> Callable[[str], None]:
    """A listener that acts when ``stage`` begins."""
    return lambda line: act() if line.startswith(stage) else None


def test_a_shard_that_vanishes_or_shrinks_meanwhile_is_named(sharded: Path, tmp_path: Path) -> None:
    (shard, *_) = sorted(sharded.glob("*.safetensors"))
    whole = shard.read_bytes()
    shrink = at("writing", lambda: os.truncate(shard, len(whole) // 2))
    with pytest.raises(UsageError, match=f"{shard.name} became shorter while it was read"):
        export_checkpoint(sharded, tmp_path / "made", progress=shrink)
    shard.write_bytes(whole)
    with pytest.raises(UsageError, match=f"{shard.name} is missing"):
        export_checkpoint(sharded, tmp_path / "made", progress=at("reading", shard.unlink))
    assert names(tmp_path) == ["sharded"]


def test_a_shard_that_is_cut_short_or_flipped_is_named(sharded: Path, tmp_path: Path) -> None:
    (shard, *_) = sorted(sharded.glob("*.safetensors"))
    whole = shard.read_bytes()
    cut = whole[: len(whole) // 2]
    longer, bracket, offset = bytearray(whole), bytearray(whole), bytearray(whole)
    longer[1] ^= 0x80  # the header's length
    bracket[8] ^= 1  # its first character
    offset[whole.index(b"data_offsets") + len(b'data_offsets":[')] ^= 1
    for damaged in (cut, whole[:4], b"", bytes(longer), bytes(bracket), bytes(offset)):
        shard.write_bytes(damaged)
        with pytest.raises(UsageError, match=shard.name):
            export_checkpoint(sharded, tmp_path / "made")
        assert names(tmp_path) == ["sharded"]
    with start(sharded, tmp_path / "made") as process:
        _, errors = process.communicate()
    assert process.returncode == 2, errors
    assert errors.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in errors


def test_a_target_that_cannot_be_made_is_one_line(checkpoint: Path, tmp_path: Path) -> None:
    """Before the work, not after it."""
    with pytest.raises(BundleError, match="parent folder cannot be written"):
        export_checkpoint(checkpoint, Path("/proc/made"))
    (tmp_path / "made").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        export_checkpoint(checkpoint, tmp_path / "made")


def test_a_target_inside_the_checkpoint_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    """The next export would read half of a bundle as part of its checkpoint; a link leads there too."""
    (tmp_path / "link").symlink_to(checkpoint)
    before = names(checkpoint)
    for target in (checkpoint / "made", tmp_path / "link" / "made"):
        with pytest.raises(UsageError, match="lies inside"):
            export_checkpoint(checkpoint, target)
    assert names(checkpoint) == before
