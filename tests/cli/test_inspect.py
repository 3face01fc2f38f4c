"""``dagger-edge inspect --ceiling``: a bound from a measurement of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import dagger_edge as de
from dagger_edge.cli import inspect as inspect_module
from dagger_edge.cli import measure
from dagger_edge.runtime.bandwidth import memory_bandwidth
from dagger_edge.runtime.solver import demo_bundle


def test_the_measurement_is_that_of_a_machine() -> None:
    """Off by the number of threads, or bits for bytes, it would leave the range of all machines."""
    one = memory_bandwidth(threads=1)
    assert 5e8 < one < 5e11
    assert one < memory_bandwidth() * 2


def test_the_ceiling_is_speed_over_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect_module, "_CACHED_BYTES", 1)
    document = json.loads(
        CliRunner().invoke(inspect_module.command, ["--json", "--ceiling", str(demo_bundle())]).stdout
    )
    ceiling, weights = document["ceiling"], document["manifest"]["files"]["model.onnx.data"]["size_bytes"]
    assert 0 < ceiling["bytes_per_token"] <= weights
    expected = ceiling["memory_bytes_per_s"] / ceiling["bytes_per_token"]
    assert ceiling["tokens_per_s"] == pytest.approx(expected, rel=1e-6)
    text = CliRunner().invoke(inspect_module.command, ["--ceiling", str(demo_bundle())]).stdout
    assert "tokens/s decoded one by one" in text


def test_weights_that_a_cache_holds_have_no_bound_by_memory() -> None:
    """A figure of thousands of tokens a second would be taken for a promise."""
    document = json.loads(
        CliRunner().invoke(inspect_module.command, ["--json", "--ceiling", str(demo_bundle())]).stdout
    )
    assert document["ceiling"]["tokens_per_s"] is None


def test_nothing_is_measured_unasked() -> None:
    document = json.loads(CliRunner().invoke(inspect_module.command, ["--json", str(demo_bundle())]).stdout)
    assert document["ceiling"] is None


def test_what_steps_cost_is_told_once_it_is_measured() -> None:
    """Drafts are cut by a figure that nobody could see."""
    demo = str(demo_bundle())
    assert "a step here" in CliRunner().invoke(inspect_module.command, [demo]).stdout
    asked = ["--json", "--steps", "--threads", "1", demo]
    measured = json.loads(CliRunner().invoke(inspect_module.command, asked).stdout)
    kept = json.loads(CliRunner().invoke(inspect_module.command, ["--json", "--threads", "1", demo]).stdout)
    assert kept["step_cost"] == measured["step_cost"]
    assert measured["step_cost"]["sizes"] == [1, 2, 4, 8, 16]
    assert sorted(measured["step_cost"]["seconds"]) == measured["step_cost"]["seconds"]
    text = CliRunner().invoke(inspect_module.command, ["--threads", "1", demo]).stdout
    assert f"16: {measured['step_cost']['seconds'][-1] * 1e3:,.3g} ms" in text


def test_the_verdict_on_the_machine_is_that_of_the_last_measurement(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = CliRunner().invoke(inspect_module.command, [str(demo_bundle())]).stdout
    assert "not measured yet; `dagger-edge measure`" in before
    done = CliRunner().invoke(measure.command, ["--shape", "32x64", "--threads", "1", "--seconds", "0"])
    told = CliRunner().invoke(inspect_module.command, [str(demo_bundle())]).stdout
    assert done.stdout.splitlines()[-1] in told


def test_inspecting_needs_no_onnxruntime(tmp_path: Path) -> None:
    """A bundle is inspected where it is carried through, too: looking up what was measured must not load the engine."""
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('not installed')")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(de.__file__).parents[1]}"}
    command = [sys.executable, "-m", "dagger_edge", "inspect", str(demo_bundle())]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
