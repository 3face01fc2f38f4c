"""Weights that are mapped for a session: the same numbers, once in memory."""

import shutil

import numpy as np

from dagger_edge.runtime import session as session_module
from dagger_edge.runtime.session import Session
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
