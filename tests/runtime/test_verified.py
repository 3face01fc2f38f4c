"""Files that were verified once: when they need not be read again, and when they must be."""

import os
import shutil
import time
from pathlib import Path

import pytest

import dagger_edge as de
from dagger_edge.runtime import bundle as bundle_module
from dagger_edge.runtime.bundle import Bundle
from dagger_edge.runtime.solver import demo_bundle

WEIGHTS = "model.onnx.data"
DAY = 86_400


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A bundle of its own, changed long enough ago, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = tmp_path / "bundle"
    shutil.copytree(demo_bundle(), made)
    monkeypatch.setattr("dagger_edge.runtime.verified._SETTLED_NS", -1)
    return made


@pytest.fixture
def read(monkeypatch):
    """The names of all files that are read to the end."""
    names = []
    real = bundle_module.verify_file

    def record(path, *args):
        names.append(Path(path).name)
        return real(path, *args)

    monkeypatch.setattr(bundle_module, "verify_file", record)
    return names


def spoil(path):
    """Changes a byte in the middle, and sets the time of the last change back, as an unlucky tool might."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(status.st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_the_second_opening_reads_no_weights(folder, read):
    """Gigabytes are read for seconds."""
    Bundle.open(folder, remember=True)
    assert WEIGHTS in read
    read.clear()
    Bundle.open(folder, remember=True)
    assert WEIGHTS not in read


def test_a_change_is_noticed_though_size_and_time_are_as_before(folder):
    """Another model's weights would be answered with; of size and mtime alone they look the same."""
    Bundle.open(folder, remember=True)
    spoil(folder / WEIGHTS)
    with pytest.raises(de.BundleError, match="altered"):
        Bundle.open(folder, remember=True)


def test_another_file_in_its_place_is_read(folder, read):
    """A copy has times of its own: what is known of the old file is not known of it."""
    Bundle.open(folder, remember=True)
    shutil.copyfile(folder / WEIGHTS, folder / "copy")
    (folder / "copy").replace(folder / WEIGHTS)
    read.clear()
    Bundle.open(folder, remember=True)
    assert WEIGHTS in read


def test_what_is_remembered_of_one_digest_says_nothing_of_another(folder):
    """A manifest that was altered may not profit from the file's having matched the old one."""
    Bundle.open(folder, remember=True)
    manifest = folder / "manifest.json"
    digest = Bundle.open(folder).manifest.files[WEIGHTS].sha256
    manifest.write_text(manifest.read_text().replace(digest, "0" * 64))
    with pytest.raises(de.BundleError, match="altered"):
        Bundle.open(folder, remember=True)


def test_verification_without_remembering_reads_everything(folder, read):
    """`verify` and `inspect` are asked for a disk that fails, too, which changes no times."""
    Bundle.open(folder, remember=True)
    read.clear()
    opened = Bundle.open(folder)
    assert sorted(read) == sorted(opened.manifest.files)


def test_an_altered_file_is_never_remembered(folder):
    """Else it would be accepted the second time."""
    spoil(folder / WEIGHTS)
    for _ in range(2):
        with pytest.raises(de.BundleError, match="altered"):
            Bundle.open(folder, remember=True)


def test_a_file_that_was_just_written_is_not_remembered(folder, read, monkeypatch):
    """A second change within the clock's tick would leave its times as they are."""
    monkeypatch.setattr("dagger_edge.runtime.verified._SETTLED_NS", DAY * 10**9)
    for _ in range(2):
        read.clear()
        Bundle.open(folder, remember=True)
        assert WEIGHTS in read


def test_solvers_open_without_a_cache_that_can_be_written(tmp_path, monkeypatch):
    """A home that is read-only, or none at all, is what services have."""
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    de.demo().close()


def test_the_solver_remembers(folder, read):
    """It is what opens bundles day by day."""
    old = time.time() - DAY
    for path in folder.iterdir():
        os.utime(path, (old, old))
    de.Solver.open(folder).close()
    read.clear()
    de.Solver.open(folder).close()
    assert WEIGHTS not in read
