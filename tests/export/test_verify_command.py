"""``dagger-edge verify`` as a process, on bundles that the export made: what it finds, and how it says so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest
from tiny_gemma import write_checkpoint

from dagger_edge.export.pipeline import export_checkpoint
from dagger_edge.runtime.bundle import Bundle
from dagger_edge.runtime.files import sha256_of
from dagger_edge.runtime.manifest import FileEntry

pytestmark = pytest.mark.export

SOURCE = str(Path(__file__).parent.parent.parent / "src")


def verify(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dagger_edge", "verify", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        check=False,
    )


def wrong(done: subprocess.CompletedProcess[str], *words: str, code: int = 4) -> None:
    """One error line with ``words``, and the exit code."""
    assert done.returncode == code, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.stderr.splitlines()[-1] == line
    for word in words:
        assert word in line


@pytest.fixture(scope="module")
def made(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose context has room for the known question. Read only."""
    return export_checkpoint(checkpoint, tmp_path_factory.mktemp("made") / "bundle", prompt="question").path


@pytest.fixture
def altered(made: Path, tmp_path: Path) -> Callable[..., Path]:
    """A function that copies the bundle, lets a change loose on it, and seals it anew as a deceiver would."""

    def alter(change: Callable[[Path], Any]) -> Path:
        folder = shutil.copytree(made, tmp_path / "altered")
        change(folder)
        manifest = Bundle.open(made).manifest
        files = {name: FileEntry((folder / name).stat().st_size, sha256_of(folder / name)) for name in manifest.files}
        (folder / "manifest.json").write_bytes(msgspec.structs.replace(manifest, files=files).encode())
        return folder

    return alter


def test_a_whole_bundle_is_described(made: Path) -> None:
    done = verify(made)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for words in ("all intact", "16 of 16 tokens equal", "at export"):
        assert words in done.stdout
    document = json.loads(verify("--json", made).stdout)
    assert document["ok"] is True
    assert document["known_answer"]["equal"] == document["known_answer"]["tokens"] == 16
    assert document["parity_at_export"]["greedy_tokens"] == 48
    assert document["parity"] is None


@pytest.mark.parametrize("name", ["model.onnx.data", "genai_config.json", "known_answer.json"])
def test_an_altered_file_is_named(made: Path, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(made, tmp_path / "copy")
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    wrong(verify(folder), f"{name} is altered")
    document = json.loads(verify("--json", folder).stdout)
    assert document["ok"] is False
    assert name in document["error"]


def test_a_graph_that_computes_something_else_is_found_though_its_digest_is_right(altered: Callable[..., Path]) -> None:
    """A kernel that windows otherwise looks just so: every file intact, other logits."""

    def widen(folder: Path) -> None:
        model = onnx.load(folder / "model.onnx", load_external_data=False)
        for node in model.graph.node:
            for attribute in node.attribute:
                if attribute.name == "local_window_size" and attribute.i > 0:
                    attribute.i += 1
        (folder / "model.onnx").write_bytes(model.SerializeToString())

    wrong(verify(altered(widen)), "does not compute what the export measured")


def test_a_tokenizer_that_encodes_otherwise_is_found(altered: Callable[..., Path]) -> None:
    """The ids of other texts, and the model answers another question."""

    def swap(folder: Path) -> None:
        content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        vocabulary = content["model"]["vocab"]
        vocabulary["<0xE0>"], vocabulary["<0xE1>"] = vocabulary["<0xE1>"], vocabulary["<0xE0>"]
        (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")

    wrong(verify(altered(swap)), "the tokenizer makes other ids")


def test_a_graph_that_does_not_load_is_one_line(altered: Callable[..., Path]) -> None:
    wrong(verify(altered(lambda folder: (folder / "model.onnx").write_bytes(b"not a graph"))), "model.onnx")


def test_a_bundle_that_was_not_compared_has_no_known_answer(checkpoint: Path, tmp_path: Path) -> None:
    folder = export_checkpoint(checkpoint, tmp_path / "bundle", prompt="question", verify=False).path
    done = verify(folder)
    assert done.returncode == 0
    assert "none in this bundle" in done.stdout
    assert "not measured at export" in done.stdout


def test_parity_is_measured_anew_against_the_very_checkpoint(checkpoint: Path, made: Path, tmp_path: Path) -> None:
    done = verify("--json", made, "--checkpoint", checkpoint)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["parity"]["greedy_equal"] == 48
    other = write_checkpoint(tmp_path / "other", dtype="bfloat16")
    wrong(verify(made, "--checkpoint", other), "model.safetensors is not the file that the bundle was made of", code=2)
    wrong(verify(made, "--checkpoint", tmp_path / "nowhere"), "no such folder", code=2)
    wrong(verify(made, "--adapter", tmp_path), "--checkpoint", code=2)


def test_layers_are_listed_where_nothing_is_wrong(checkpoint: Path, made: Path) -> None:
    done = verify(made, "--checkpoint", checkpoint, "--layers")
    assert done.returncode == 0, done.stderr
    head, *rows = [line.split() for line in done.stdout.splitlines()[:9]]
    assert head == ["layer", "kind", "part", "error", "worst", "at", "token"]
    assert rows[0][0] == "embedding"
    assert rows[3][:3] == ["1", "global", "attention"]
    document = json.loads(verify("--json", made, "--checkpoint", checkpoint, "--layers").stdout)
    assert [row["part"] for row in document["layers"]][-2:] == ["feed-forward", "head"]
    assert all(row["error"] < 1e-5 for row in document["layers"])
    wrong(verify(made, "--layers"), "--layers goes with --checkpoint", code=2)


def test_the_first_layer_that_diverges_is_named(checkpoint: Path, altered: Callable[..., Path]) -> None:
    """The table must be there although the known answer fails too, or it could not be looked for."""

    def widen(folder: Path) -> None:
        model = onnx.load(folder / "model.onnx", load_external_data=False)
        attention = [node for node in model.graph.node if node.op_type == "GroupQueryAttention"]
        for attribute in attention[2].attribute:
            if attribute.name == "local_window_size":
                attribute.i += 1
        (folder / "model.onnx").write_bytes(model.SerializeToString())

    folder = altered(widen)
    done = verify(folder, "--checkpoint", checkpoint, "--layers")
    wrong(done, "the first to diverge is layer 2 (sliding), its attention part")
    assert len(done.stdout.splitlines()) == 9
    document = json.loads(verify("--json", folder, "--checkpoint", checkpoint, "--layers").stdout)
    assert document["ok"] is False
    assert "layer 2" in document["error"]
    assert {row["layer"] for row in document["layers"] if row["error"] > 1e-3} == {2}


def test_a_graph_that_is_not_the_checkpoints_model_is_refused(checkpoint: Path, altered: Callable[..., Path]) -> None:
    """Without its known answer, only the comparison with the checkpoint can find it."""

    def rescale(folder: Path) -> None:
        model = onnx.load(folder / "model.onnx", load_external_data=False)
        for tensor in model.graph.initializer:
            if tensor.name == "/model/embed_tokens/scale":
                tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * 1.1, tensor.name))
        (folder / "model.onnx").write_bytes(model.SerializeToString())

    folder = altered(rescale)
    manifest = Bundle.open(folder).manifest
    files = {name: entry for name, entry in manifest.files.items() if name != "known_answer.json"}
    (folder / "manifest.json").write_bytes(msgspec.structs.replace(manifest, files=files).encode())
    (folder / "known_answer.json").unlink()
    assert verify(folder).returncode == 0
    done = verify(folder, "--checkpoint", checkpoint)
    wrong(done, "the bundle is too far from its checkpoint", "the first to diverge is the embedding")
