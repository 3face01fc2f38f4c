"""Opening several parts at the same time: what comes out, and what happens where one of them fails."""

import json
import shutil
import threading

import msgspec
import pytest

import dagger_edge as de
from dagger_edge.runtime.bundle import Bundle
from dagger_edge.runtime.files import sha256_of
from dagger_edge.runtime.manifest import FileEntry
from dagger_edge.runtime.opening import open_parts
from dagger_edge.runtime.solver import demo_bundle


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "bundle"
    shutil.copytree(demo_bundle(), made)
    return made


def spoiled(folder, name):
    """The bundle, whose file ``name`` went bad after it was verified."""
    opened = Bundle.open(folder)
    (folder / name).write_text("nothing")
    return opened


def test_the_parts_belong_together():
    """Control tokens in a question would be obeyed where the tokenizer is left as the library makes it."""
    bundle = Bundle.open(demo_bundle())
    session, tokenizer, spelling = open_parts(bundle)
    assert session.cache_shape[0] == bundle.manifest.architecture.num_layers
    assert tokenizer.encode_special_tokens
    ids = spelling("<end_of_turn>")
    assert len(ids) > 1
    assert spelling.spell(ids) == b"<end_of_turn>"


@pytest.mark.parametrize(
    ("name", "message"), [("tokenizer.json", "not a usable tokenizer"), ("model.onnx", "cannot load")]
)
def test_either_part_may_fail(folder, name, message):
    """An error in a thread is easily lost, or the thread with it."""
    opened = spoiled(folder, name)
    with pytest.raises(de.BundleError, match=message):
        open_parts(opened)
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("dagger-edge")] == []


def test_a_tokenizer_of_another_kind_is_an_error_when_an_answer_is_asked_for(folder):
    """`verify` must run such a bundle, and a question must not be decoded by spellings that are wrong."""
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(tokenizer | {"decoder": None}), encoding="utf-8")
    manifest = Bundle.open(demo_bundle()).manifest
    files = manifest.files | {path.name: FileEntry(path.stat().st_size, sha256_of(path))}
    (folder / "manifest.json").write_bytes(msgspec.structs.replace(manifest, files=files).encode())
    with de.Solver.open(folder) as solver:
        assert solver.check_known_answer() is not None
        with pytest.raises(de.BundleError, match="decoder is not Gemma's"):
            solver.solve("রহিমের কাছে ৫টি আম ছিল। সে ২টি খেল। কয়টি আছে?")
