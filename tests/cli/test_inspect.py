"""``dagger-edge inspect --ceiling``: a bound from a measurement of this machine."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from dagger_edge.cli import inspect as inspect_module
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
