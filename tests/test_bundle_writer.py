"""Writing a bundle: all of it appears under its name, or nothing does."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from dagger_edge.export.package import BundleWriter
from dagger_edge.runtime.bundle import Bundle
from dagger_edge.runtime.errors import BundleError, UsageError
from dagger_edge.runtime.manifest import Architecture, Manifest, Precision, Source, SpecialIds

DRAFT = Manifest(
    format_version=1,
    name="fake",
    source=Source("checkpoint", None, {}),
    architecture=Architecture("gemma3_text", 1, 1, 1, 4, 4, 8, 16, 4, ()),
    precision=Precision("fp32", {}),
    files={},
    prompt="card",
    special_ids=SpecialIds(2, 0, 3, 4, (1, 4)),
    tools={},
    parity=None,
    export_command="dagger-edge export",
    created="2026-11-23",
)

# Writes a bundle whose weights are as large as the second argument says, then waits if a third is given.
CHILD = """
import sys, time
from pathlib import Path
from dagger_edge.export.package import BundleWriter
with BundleWriter(Path(sys.argv[1])) as writer:
    (writer.folder / "model.onnx.data").write_bytes(bytes(int(sys.argv[2])))
    print("written", flush=True)
    time.sleep(60 if len(sys.argv) > 3 else 0)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(target: Path, failure: BaseException | None = None, draft: Manifest = DRAFT) -> None:
    """Fills and seals a bundle, or fails in the middle."""
    with BundleWriter(target) as writer:
        fill(writer.folder)
        if failure is not None:
            raise failure
        writer.seal(draft)


def fill(folder: Path) -> None:
    for name in ("model.onnx", "model.onnx.data", "tokenizer.json"):
        (folder / name).write_bytes(b"x" * 1000)
    (folder / "prompt.txt").write_text("{question}", encoding="utf-8")


def child(*arguments: str, limit: str = "") -> subprocess.Popen[str]:
    source = str(Path(__file__).parent.parent / "src")
    command = f'{limit} exec "$0" "$@"'
    return subprocess.Popen(
        ["bash", "-c", command, sys.executable, "-c", CHILD, *arguments],
        env={**os.environ, "PYTHONPATH": source},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_sealed_bundle_opens_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    with BundleWriter(tmp_path / "made") as writer:
        fill(writer.folder)
        made = writer.seal(DRAFT)
    assert made.path == tmp_path / "made"
    assert set(Bundle.open(made.path).manifest.files) == {
        "model.onnx",
        "model.onnx.data",
        "tokenizer.json",
        "prompt.txt",
    }
    assert names(tmp_path) == ["made"]


def test_others_may_read_the_bundle_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with BundleWriter(tmp_path / "made") as writer:
            fill(writer.folder)
            (writer.folder / "tokenizer.json").chmod(0o600)
            writer.seal(DRAFT)
    finally:
        os.umask(before)
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    "failure",
    [
        KeyboardInterrupt(),
        SystemExit(1),
        ValueError("bug"),
        OSError(errno.EIO, "broken disk"),
        BundleError("wrong"),
    ],
    ids=["ctrl-c", "exit", "bug", "io", "parity"],
)
def test_a_failure_leaves_nothing_and_is_not_renamed(tmp_path: Path, failure: BaseException) -> None:
    with pytest.raises(type(failure)) as caught:
        write(tmp_path / "made", failure)
    assert caught.value is failure
    assert names(tmp_path) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_one_clear_bundle_error(tmp_path: Path, code: int) -> None:
    with pytest.raises(BundleError, match=r"disk is full.*free space"):
        write(tmp_path / "made", OSError(code, os.strerror(code)))
    assert names(tmp_path) == []


def test_a_real_write_beyond_the_limit_leaves_nothing(tmp_path: Path) -> None:
    """A file size limit fails the write itself, without root, as a full disk would."""
    process = child(str(tmp_path / "made"), str(1 << 20), limit="ulimit -f 64;")
    output, errors = process.communicate(timeout=60)
    assert output == ""
    assert process.returncode == 1
    assert "BundleError" in errors.splitlines()[-1]
    assert "file size limit" in errors.splitlines()[-1]
    assert names(tmp_path) == []


def test_a_killed_writer_leaves_nothing_that_looks_like_a_bundle(tmp_path: Path) -> None:
    process = child(str(tmp_path / "made"), "1000", "wait")
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
    (left,) = names(tmp_path)
    assert left.startswith(".made.tmp-")
    assert not (tmp_path / left / "manifest.json").exists()
    with pytest.raises(BundleError, match=r"manifest\.json is missing"):
        Bundle.open(tmp_path / left)
    write(tmp_path / "made")  # what is left does not stand in the way
    assert names(tmp_path) == ["made"]


def test_only_what_the_dead_left_for_this_target_is_removed(tmp_path: Path) -> None:
    """Two exports may run at once; a link or a file of that name is somebody else's."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").touch()
    (tmp_path / ".made.tmp-1").symlink_to(tmp_path / "elsewhere")
    (tmp_path / ".made.tmp-2").touch()
    for name in (".made.tmp-3", ".made2.tmp-4", "made.tmp-5"):
        (tmp_path / name).mkdir()
    with BundleWriter(tmp_path / "made") as alive:
        write(tmp_path / "made")
        assert alive.folder.is_dir()
    assert names(tmp_path) == [".made.tmp-1", ".made.tmp-2", ".made2.tmp-4", "elsewhere", "made", "made.tmp-5"]
    assert names(tmp_path / "elsewhere") == ["kept"]


@pytest.mark.parametrize("kind", ["folder", "file", "dangling link"])
def test_an_existing_target_is_refused_before_any_work(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "made"
    {
        "folder": target.mkdir,
        "file": target.touch,
        "dangling link": lambda: target.symlink_to("nowhere"),
    }[kind]()
    with pytest.raises(UsageError, match="exists already"):
        BundleWriter(target)
    assert names(tmp_path) == ["made"]


def test_a_target_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    with BundleWriter(tmp_path / "made") as writer:
        fill(writer.folder)
        (tmp_path / "made").mkdir()
        with pytest.raises(UsageError, match="exists already"):
            writer.seal(DRAFT)
    assert names(tmp_path / "made") == []
    assert names(tmp_path) == ["made"]


def test_a_target_without_a_parent_or_a_printable_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="parent folder does not exist"):
        BundleWriter(tmp_path / "nothing" / "made")
    with pytest.raises(UsageError, match="control characters"):
        BundleWriter(tmp_path / "a\x1b[2Jb")


def test_what_cannot_be_opened_is_not_sealed(tmp_path: Path) -> None:
    broken = msgspec.structs.replace(DRAFT, special_ids=SpecialIds(2, 0, 3, 4, (99,)))
    with pytest.raises(BundleError, match="outside the vocabulary"):
        write(tmp_path / "made", draft=broken)
    assert names(tmp_path) == []


def test_a_disk_too_small_is_refused_before_the_work(tmp_path: Path) -> None:
    with BundleWriter(tmp_path / "made") as writer, pytest.raises(BundleError, match="are free"):
        writer.require_space(1 << 60)
    assert names(tmp_path) == []
