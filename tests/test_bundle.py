"""Opening a bundle: every way in which a folder can be wrong is a `BundleError` that names the file."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dagger_edge.runtime import verified as verified_module
from dagger_edge.runtime.bundle import Bundle, template_text
from dagger_edge.runtime.errors import BundleError
from dagger_edge.runtime.manifest import MAX_MANIFEST_BYTES, decode_manifest

FILES = {
    "model.onnx": b"graph",
    "model.onnx.data": bytes(range(256)) * 64,
    "tokenizer.json": b"{}",
    "prompt.txt": 'প্রশ্ন: {question} {"n": 1}'.encode(),
}


def entry(data: bytes) -> dict[str, Any]:
    return {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def manifest(**changes: Any) -> dict[str, Any]:
    content = {
        "format_version": 1,
        "name": "fake",
        "source": {"name": "checkpoint", "revision": None, "shards": {"model.safetensors": entry(b"w")}},
        "architecture": {
            "model_type": "gemma3_text",
            "num_layers": 3,
            "num_heads": 4,
            "num_kv_heads": 2,
            "head_dim": 16,
            "hidden_size": 32,
            "vocab_size": 320,
            "context_length": 256,
            "sliding_window": 8,
            "global_layers": [2],
        },
        "precision": {"name": "fp32", "recipe": {}},
        "files": {name: entry(data) for name, data in FILES.items()},
        "prompt": "card",
        "special_ids": {"bos": 2, "pad": 0, "start_of_turn": 3, "end_of_turn": 4, "stop": [1, 4]},
        "tools": {"torch": "2.13.0"},
        "parity": None,
        "export_command": "dagger-edge export checkpoint fake",
        "created": "2026-11-23T00:00:00+00:00",
    }
    return {**content, **changes}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "fake"
    path.mkdir()
    for name, data in FILES.items():
        (path / name).write_bytes(data)
    seal(path)
    return path


def seal(folder: Path, **changes: Any) -> None:
    (folder / "manifest.json").write_text(json.dumps(manifest(**changes)), encoding="utf-8")


def refused(folder: Path, *words: str, verify: bool = True) -> None:
    """The bundle is refused in one line: its name, the given words, and a remedy after a semicolon."""
    with pytest.raises(BundleError) as caught:
        Bundle.open(folder, verify=verify)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1000
    for word in (str(folder), *words, "; "):
        assert word in message


def test_an_intact_bundle_gives_its_places_and_its_prompt(folder: Path) -> None:
    opened = Bundle.open(str(folder))
    assert opened.model_path.read_bytes() == b"graph"
    assert opened.tokenizer_path == folder / "tokenizer.json"
    assert opened.prompt_template == FILES["prompt.txt"].decode()
    assert opened.manifest.special_ids.stop == (1, 4)
    assert opened.size_bytes == sum(map(len, FILES.values()))


def test_a_manifest_survives_being_written_and_read(folder: Path) -> None:
    read = Bundle.open(folder).manifest
    assert decode_manifest(read.encode()) == read
    assert read.encode() == decode_manifest(read.encode()).encode()


def test_a_missing_folder_or_a_file_is_no_bundle(tmp_path: Path) -> None:
    refused(tmp_path / "nothing", "no such folder")
    (tmp_path / "file").write_bytes(b"")
    refused(tmp_path / "file", "not a folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "manifest.json is missing")


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("verify", [True, False])
def test_a_missing_file_is_named(folder: Path, name: str, verify: bool) -> None:
    (folder / name).unlink()
    refused(folder, f"{name} is missing", verify=verify)


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("verify", [True, False])
def test_a_file_cut_short_is_found_without_hashing(folder: Path, name: str, verify: bool) -> None:
    os.truncate(folder / name, len(FILES[name]) - 1)
    refused(folder, name, "bytes", verify=verify)


@pytest.mark.parametrize("name", sorted(set(FILES) - {"prompt.txt"}))
def test_one_flipped_bit_is_found(folder: Path, name: str) -> None:
    data = bytearray(FILES[name])
    data[-1] ^= 1
    (folder / name).write_bytes(data)
    refused(folder, f"{name} is altered")


def test_a_symbolic_link_is_refused_even_to_the_right_content(folder: Path) -> None:
    (folder / "model.onnx.data").rename(folder.parent / "elsewhere")
    (folder / "model.onnx.data").symlink_to(folder.parent / "elsewhere")
    refused(folder, "model.onnx.data is a symbolic link")


def test_a_linked_manifest_is_refused(folder: Path) -> None:
    (folder / "manifest.json").rename(folder.parent / "elsewhere")
    (folder / "manifest.json").symlink_to(folder.parent / "elsewhere")
    refused(folder, "manifest.json", "symbolic link")


def test_a_pipe_or_a_folder_in_place_of_a_file_does_not_hang(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    os.mkfifo(folder / "model.onnx")
    refused(folder, "model.onnx is a device, pipe or socket")
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").mkdir()
    refused(folder, "model.onnx is a folder")


def test_a_hard_link_is_accepted_only_when_its_content_was_verified(folder: Path) -> None:
    os.link(folder / "model.onnx", folder.parent / "second-name")
    Bundle.open(folder)
    refused(folder, "model.onnx has 2 hard links", verify=False)


@pytest.mark.parametrize(
    "name",
    ["../secret", "/etc/passwd", "a/b", "..", ".", ".hidden", "", "a\\b", "a\nb", "x" * 200, "manifest.json"],
)
def test_a_file_name_cannot_leave_the_folder(folder: Path, name: str) -> None:
    seal(folder, files={**manifest()["files"], name: entry(b"")})
    refused(folder, "not a plain file name")


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_required_file_must_be_listed(folder: Path, name: str) -> None:
    seal(folder, files={other: entry(data) for other, data in FILES.items() if other != name})
    with pytest.raises(BundleError, match=re.escape(name)):
        Bundle.open(folder)


@pytest.mark.parametrize(
    "name",
    [
        "other.onnx",
        "other.data",
        "prefix.npy",
        "pytorch_model.bin",
        "x.ONNX",
        "genai_config.json",
        "config.json",
        "modeling.py",
        "ops.so",
        "x.jinja",
    ],
)
def test_what_a_tool_reads_by_its_name_must_be_listed(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"")
    refused(folder, name, "not listed")


def test_a_note_beside_the_bundle_is_no_harm(folder: Path) -> None:
    (folder / "README.md").write_text("mine", encoding="utf-8")
    (folder / ".gitattributes").write_text("", encoding="utf-8")
    Bundle.open(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"[]",
        b"null",
        b"{",
        b'{"format_version": "1"}',
        b'{"format_version": 1e99}',
        b'{"format_version": ' + b"9" * 5000 + b"}",
        b"[" * 500_000,
        b'{"a": ' * 100_000,
        b'{"format_version": 1, "name": "\xed\xa0\x80"}',
        b" " * (MAX_MANIFEST_BYTES + 1),
    ],
    ids=[
        "empty",
        "binary",
        "list",
        "null",
        "cut",
        "string",
        "float",
        "digits",
        "deep",
        "deeper",
        "utf8",
        "huge",
    ],
)
def test_a_garbage_manifest_is_an_error_of_one_line(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    refused(folder, "manifest.json is not usable")


def test_a_newer_format_is_named_before_its_unknown_fields(folder: Path) -> None:
    seal(folder, format_version=2, novelty=True)
    refused(folder, "format version 2")


ARCHITECTURE = manifest()["architecture"]
SPECIAL = manifest()["special_ids"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"surprise": 1}, "surprise"),
        ({"prompt": "other"}, "prompt"),
        ({"files": []}, "files"),
        ({"files": {"model.onnx": {"size_bytes": -1, "sha256": "0" * 64}}}, "size_bytes"),
        ({"files": {"model.onnx": {"size_bytes": 1, "sha256": "../" * 10}}}, "sha256"),
        ({"name": "\x1b[2J"}, "name"),
        ({"architecture": {**ARCHITECTURE, "num_layers": 10**12}}, "num_layers"),
        ({"architecture": {**ARCHITECTURE, "num_layers": True}}, "num_layers"),
        ({"architecture": {**ARCHITECTURE, "head_dim": 16.5}}, "head_dim"),
        ({"architecture": {**ARCHITECTURE, "global_layers": [3]}}, "global layer 3"),
        ({"special_ids": {**SPECIAL, "bos": 320}}, "bos"),
        ({"special_ids": {**SPECIAL, "stop": [1, 4000]}}, "stop"),
        ({"special_ids": {**SPECIAL, "stop": []}}, "stop"),
        ({"special_ids": {**SPECIAL, "pad": -1}}, "pad"),
    ],
)
def test_a_hostile_field_is_named(folder: Path, changes: dict[str, Any], word: str) -> None:
    seal(folder, **changes)
    refused(folder, "manifest.json is not usable", word)


@pytest.mark.parametrize("text", [b"no placeholder", b"{question} {question}", b"\xff{question}"])
def test_a_prompt_must_hold_its_placeholder_once(folder: Path, text: bytes) -> None:
    (folder / "prompt.txt").write_bytes(text)
    seal(folder, files={**manifest()["files"], "prompt.txt": entry(text)})
    refused(folder, "prompt.txt")


def test_a_prompt_too_large_is_not_read_into_memory(folder: Path) -> None:
    text = b"{question}" + b" " * (1 << 20)
    (folder / "prompt.txt").write_bytes(text)
    seal(folder, files={**manifest()["files"], "prompt.txt": entry(text)})
    refused(folder, "prompt.txt is larger")


def test_each_file_is_hashed_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    original = verified_module.sha256_of
    monkeypatch.setattr(verified_module, "sha256_of", lambda path, _advance: hashed.append(path.name) or original(path))
    Bundle.open(folder)
    assert sorted(hashed) == sorted(FILES)
    hashed.clear()
    Bundle.open(folder, verify=False)
    assert hashed == []


def test_templates_hold_the_question_once_and_differ_as_documented() -> None:
    card, paper = template_text("card"), template_text("paper")
    for template in (card, paper, template_text("question")):
        assert template.count("{question}") == 1
        assert "{{" not in template
    assert paper == card.replace("}```", "}\n```").replace("Task:\n\nQuestion", "Task:\nQuestion")
    assert hashlib.sha256(card.encode()).hexdigest().startswith("fd8180f8b2b205a3")


def test_opening_a_bundle_imports_no_engine(folder: Path) -> None:
    code = (
        "import sys; from dagger_edge.runtime.bundle import Bundle; Bundle.open(sys.argv[1]);"
        "print({'torch', 'transformers', 'optimum', 'onnx', 'onnxruntime'} & set(sys.modules))"
    )
    source = str(Path(__file__).parent.parent / "src")
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "set()"
