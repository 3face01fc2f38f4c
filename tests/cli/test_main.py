"""The command line as a whole: help, versions, exit codes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dagger_edge
from dagger_edge.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
TOOL = [sys.executable, "-m", "dagger_edge"]


def run(*args, **options):
    return subprocess.run([*TOOL, *args], capture_output=True, text=True, env=ENVIRONMENT, check=False, **options)


def test_the_version_is_the_packages():
    assert run("--version").stdout == f"dagger-edge, version {dagger_edge.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_list_exists_and_has_help(command):
    shown = run(command, "--help")
    assert shown.returncode == 0
    assert shown.stdout.startswith("Usage: dagger-edge")


@pytest.mark.parametrize("args", [("nonsense",), ("solve", "--nonsense"), ("run",), ("solve", "x", "--threads", "0")])
def test_a_wrong_command_line_is_exit_code_2_without_a_traceback(args):
    shown = run(*args)
    assert shown.returncode == 2
    assert "Traceback" not in shown.stderr
    assert shown.stdout == ""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_is_exit_code_6_and_one_line(stop):
    process = subprocess.Popen(
        [*TOOL, "run", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    # It has to be past its imports and waiting for its input.
    deadline = time.monotonic() + 10
    while "pipe" not in Path(f"/proc/{process.pid}/wchan").read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(stop)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr.strip()) == (6, b"error: interrupted")


def test_a_bug_of_ours_is_one_line_that_asks_for_a_report(monkeypatch, capsys):
    from dagger_edge.cli import main

    def broken(_):
        raise RuntimeError("boom")

    monkeypatch.setattr(main.cli, "invoke", broken)
    monkeypatch.setattr(sys, "argv", ["dagger-edge", "run", "graph.json"])
    monkeypatch.delenv("DAGGER_EDGE_DEBUG", raising=False)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 70
    assert capsys.readouterr().err == "error: internal error, please report it (RuntimeError: boom)\n"


GRAPH = """{"nodes": [{"id": "n1", "op": "const", "val": 5, "label": "আম"},
{"id": "final_result", "op": "identity", "args": ["n1"]}]}"""


def test_bengali_comes_out_whatever_the_locale():
    shown = subprocess.run(
        [*TOOL, "run", "-"],
        input=GRAPH.encode(),
        capture_output=True,
        env={**ENVIRONMENT, "PYTHONIOENCODING": "latin-1", "LC_ALL": "C"},
        check=True,
    )
    assert "৫" in shown.stdout.decode()


@pytest.mark.parametrize(("closed", "code"), [("<&-", 2), (">&-", 0)])
def test_a_closed_stream_is_no_bug_of_ours(closed, code):
    shown = subprocess.run(
        f'"{sys.executable}" -m dagger_edge run - {closed}',
        shell=True,
        input=GRAPH.encode() if code == 0 else None,
        stdin=None if code == 0 else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        check=False,
    )
    assert shown.returncode == code
    assert b"internal" not in shown.stderr


def test_a_reader_that_went_away_is_no_error():
    read, write = os.pipe()
    os.close(read)
    shown = subprocess.run(
        [*TOOL, "run", "-"], input=GRAPH.encode(), stdout=write, stderr=subprocess.PIPE, env=ENVIRONMENT, check=False
    )
    os.close(write)
    assert (shown.returncode, shown.stderr) == (0, b"")


def test_an_interruption_that_became_another_error_is_still_one(tmp_path):
    """Inside the import of an extension it turns into an ImportError, which told people to install onnxruntime."""
    (tmp_path / "onnxruntime.py").write_text(
        "import os, signal\n"
        "try:\n    os.kill(os.getpid(), signal.SIGTERM)\n    raise SystemExit('no signal')\n"
        "except KeyboardInterrupt:\n    raise ImportError('initialization failed')\n"
    )
    environment = {**ENVIRONMENT, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT / 'src'}"}
    done = subprocess.run([*TOOL, "solve", "x"], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 6
    assert done.stderr == "error: interrupted\n"
