"""Weights that are mapped for a session: the same numbers, once in memory."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from dagger_edge.runtime import session as session_module
from dagger_edge.runtime import weights as weights_module
from dagger_edge.runtime.session import Session
from dagger_edge.runtime.snapshot import Snapshot, map_state
from dagger_edge.runtime.solver import demo_bundle
from dagger_edge.runtime.weights import MappedWeights

MODEL = demo_bundle() / "model.onnx"
IDS = np.arange(40, dtype=np.int64)[None]


def logits(session):
    first, cache = session.step(IDS, session.empty_cache(), keep=0)
    second, _ = session.step(IDS[:, :3], cache)
    return np.concatenate([first, second], axis=1)


def test_a_session_over_mapped_weights_computes_the_same(monkeypatch):
    """Pages are given back while onnxruntime copies them: a page read as zeros would change logits."""
    mapped = logits(Session(MODEL))
    monkeypatch.setattr(session_module, "takes_mapped_weights", lambda: False)
    assert np.array_equal(logits(Session(MODEL)), mapped)


def test_weights_that_no_kernel_copies_are_not_copied_either(tmp_path):
    """The option has another name in other versions, and an unknown one is no error: all would be in memory twice."""
    for name in ("model.onnx", "model.onnx.data"):
        shutil.copyfile(MODEL.with_name(name), tmp_path / name)
    session = Session(tmp_path / "model.onnx")
    before = logits(session)
    weights = tmp_path / "model.onnx.data"
    # In place: the pages of a private mapping are the file's as long as nobody writes through it.
    with weights.open("r+b") as file:
        file.write(bytes(weights.stat().st_size))
    assert not np.array_equal(logits(session), before)


def test_memory_that_was_given_back_is_read_again():
    """Pages come back from the file, with what is in it."""
    path = MODEL.with_name("model.onnx.data")
    weights = MappedWeights(path)
    with weights.released():
        assert weights._memory[:] == path.read_bytes()
    assert weights._memory[:] == path.read_bytes()


def resident(path):
    """Bytes of the file at ``path`` that this process has in memory."""
    parts = Path("/proc/self/smaps").read_text(encoding="utf-8").split(str(path))[1:]
    return sum(int(re.search(r"^Rss: +(\d+) kB$", part, re.MULTILINE)[1]) << 10 for part in parts)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="pages are counted by Linux")
def test_a_state_that_was_loaded_leaves_memory_and_can_be_read_again(tmp_path):
    """A hundred megabytes at 4B, which the cache holds already."""
    path = tmp_path / "prefix.npy"
    values = np.arange(1 << 18, dtype=np.float32).reshape(2, 2, 1, -1, 64)
    np.save(path, values)
    snapshot = Snapshot([1], map_state(path, values.shape, values.dtype))
    assert np.array_equal(snapshot.state, values)
    assert resident(path) > values.nbytes // 2
    snapshot.release()
    assert resident(path) == 0
    assert np.array_equal(snapshot.state, values)
    Snapshot([1], values).release()


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="pages are counted by Linux")
def test_steps_give_back_what_they_mapped_once_a_second(monkeypatch, tmp_path):
    """Rows of an embedding of a gigabyte bring what lies around them into memory, token by token."""
    path = tmp_path / "model.onnx.data"
    path.write_bytes(bytes(range(256)) * (1 << 14))
    now = 100.0
    monkeypatch.setattr(weights_module.time, "monotonic", lambda: now)
    weights = MappedWeights(path)
    assert sum(weights._memory[::4096]) == 0
    mapped = resident(path)
    assert mapped == 1 << 22
    for now, left in ((100.9, mapped), (101.0, 0), (101.9, 0)):  # noqa: B007
        weights.release_now_and_then()
        assert resident(path) == left
    assert sum(weights._memory[255::4096]) == 255 << 10


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="pages are counted by Linux")
def test_an_open_session_holds_no_pages_of_weights_that_were_copied(tmp_path):
    """They would be in memory twice, as long as the session is."""
    for name in ("model.onnx", "model.onnx.data"):
        shutil.copyfile(MODEL.with_name(name), tmp_path / name)
    session = Session(tmp_path / "model.onnx")
    assert resident(tmp_path / "model.onnx.data") < 1 << 20
    assert logits(session).any()
