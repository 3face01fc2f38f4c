"""``dagger-edge export`` and ``inspect`` as processes: stdout, stderr and exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from dagger_edge.runtime.bundle import Bundle

pytestmark = pytest.mark.export

SOURCE = str(Path(__file__).parent.parent.parent / "src")


def dagger_edge(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dagger_edge", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": SOURCE, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_export_prints_the_bundle_and_no_wall_of_warnings(checkpoint: Path, tmp_path: Path) -> None:
    done = dagger_edge("export", checkpoint, tmp_path / "made", "--prompt", "question", "--name", "tiny")
    assert done.returncode == 0, done.stderr
    path, size = done.stdout.rstrip("\n").split("\t")
    assert Bundle.open(path).manifest.name == "tiny"
    assert size.endswith(" MB")
    assert len(done.stderr.splitlines()) <= 6
    assert "Warning" not in done.stderr


def test_a_terminal_is_shown_bytes_and_time_left(checkpoint: Path, tmp_path: Path) -> None:
    """At 4B the weights take minutes; a bar in a log file would be noise, and is tested above."""
    terminal, inner = pty.openpty()
    command = [sys.executable, "-m", "dagger_edge", "export", str(checkpoint), str(tmp_path / "made"), "--no-verify"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": SOURCE}, stdout=subprocess.PIPE, stderr=inner, check=False
    )
    os.close(inner)
    shown = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while block := os.read(terminal, 4096):
            shown += block
    os.close(terminal)
    assert done.returncode == 0
    assert b"[####" in shown
    assert b"0 of 0 MB" in shown


def test_no_verify_warns_and_stays_visible(checkpoint: Path, tmp_path: Path) -> None:
    """A bundle that nobody compared must not look like one that passed."""
    done = dagger_edge("export", checkpoint, tmp_path / "made", "--no-verify")
    assert done.returncode == 0
    assert [line for line in done.stderr.splitlines() if line.startswith("warning: not compared with the checkpoint")]
    manifest = Bundle.open(tmp_path / "made").manifest
    assert manifest.precision.recipe["verification"] == "skipped by request"
    assert manifest.export_command.endswith("--no-verify")
    shown = dagger_edge("inspect", tmp_path / "made").stdout
    assert "skipped by request" in shown
    assert "not measured at export" in shown


@pytest.mark.parametrize(("precision", "head"), [("fp16", ()), ("int8", ("--head", "short"))])
def test_precision_and_head_are_in_the_manifest(
    checkpoint: Path, tmp_path: Path, precision: str, head: tuple[str, ...]
) -> None:
    """An option that is read and dropped, or that the command in the manifest does not repeat."""
    options = ("--precision", precision, *head, "--context", "100")
    done = dagger_edge("export", checkpoint, tmp_path / "made", *options)
    assert done.returncode == 0, done.stderr
    manifest = Bundle.open(tmp_path / "made").manifest
    assert manifest.precision.name == precision
    assert manifest.architecture.context_length == 100
    assert manifest.export_command.endswith(" ".join(options))
    assert manifest.precision.recipe.get("head_cut") == (head[1] if head else None)
    assert manifest.parity is not None
    assert manifest.parity.kl_divergence is not None


def test_inspect_tells_what_the_bundle_is(bundle: Bundle) -> None:
    text = dagger_edge("inspect", bundle.path)
    assert text.returncode == 0, text.stderr
    for word in (
        "gemma3_text",
        "3 layers",
        "fp32",
        "card",
        "greedily decoded tokens equal",
        "all intact",
        "model.onnx.data",
        "made for",
    ):
        assert word in text.stdout
    document = json.loads(dagger_edge("inspect", "--json", bundle.path).stdout)
    assert document["intact"] is True
    assert document["size_bytes"] == bundle.size_bytes
    assert document["manifest"]["architecture"]["sliding_window"] == 8


def test_exit_codes_tell_usage_from_bundle(checkpoint: Path, bundle: Bundle, tmp_path: Path) -> None:
    assert dagger_edge("export", tmp_path, tmp_path / "made").returncode == 2
    assert dagger_edge("export", checkpoint, bundle.path).returncode == 2
    assert dagger_edge("inspect", tmp_path).returncode == 4


def test_the_adapter_option_reaches_the_export(checkpoint: Path, tmp_path: Path) -> None:
    """An option that is read and dropped would export the base model without a word."""
    done = dagger_edge("export", checkpoint, tmp_path / "made", "--adapter", tmp_path / "nothing")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: adapter {tmp_path / 'nothing'}: there is no such folder")
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_in_the_middle_is_one_line_and_leaves_nothing(checkpoint: Path, tmp_path: Path) -> None:
    """A limit on file sizes (in KiB) stands in for the full disk: it needs no root."""
    arguments = ["export", str(checkpoint), str(tmp_path / "made")]
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 100; exec "$0" "$@"', sys.executable, "-m", "dagger_edge", *arguments],
        env={**os.environ, "PYTHONPATH": SOURCE, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert "file size limit" in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_killed_export_leaves_nothing_that_looks_like_a_bundle(checkpoint: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dagger_edge", "export", str(checkpoint), str(tmp_path / "made")]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": SOURCE}, stderr=subprocess.PIPE, text=True)
    with process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("comparing"):  # weights are written, the manifest is not
                process.kill()
                break
    assert not (tmp_path / "made").exists()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".made.tmp-")
    assert dagger_edge("inspect", left).returncode == 4


def test_export_without_its_packages_says_what_to_install(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "shadow").mkdir()
    for name in ("torch", "optimum"):
        (tmp_path / "shadow" / f"{name}.py").write_text(f"raise ModuleNotFoundError('No module named {name}')")
    path = f"{tmp_path / 'shadow'}{os.pathsep}{SOURCE}"
    done = dagger_edge("export", checkpoint, tmp_path / "made", PYTHONPATH=path)
    assert done.returncode == 2
    assert "pip install 'dagger-edge[export]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_help_and_inspect_import_no_export_package(bundle: Bundle) -> None:
    code = (
        "import sys, dagger_edge.cli.export, dagger_edge.cli.inspect;"
        "dagger_edge.cli.inspect.command([sys.argv[1]], standalone_mode=False);"
        "print({'torch', 'transformers', 'optimum', 'onnx', 'onnxruntime'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundle.path)],
        env={**os.environ, "PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "set()"
