"""A real benchmark of the demo against a copy of itself, in turns."""

import shutil

import msgspec
import pytest
from msgspec.structs import replace

from dagger_edge.runtime.bench.compare import compare
from dagger_edge.runtime.bench.inside import STEP_SIZES
from dagger_edge.runtime.bench.measure import Plan, measure
from dagger_edge.runtime.bench.rows import QUANTITIES, decode_result, make_row
from dagger_edge.runtime.bench.words import comparison_text
from dagger_edge.runtime.solver import demo_bundle

REPEATS = 6
# Rows of other benchmarks in the same form.
OTHERS = {"graph", "going back", "batch step"}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    copy = shutil.copytree(demo_bundle(), tmp_path_factory.mktemp("bundles") / "copy")
    plan = Plan((demo_bundle(), copy), threads=(1,), prefill=(32, 5000), questions=1, repeats=REPEATS, samples=(2,))
    lines = []
    made = measure(plan, lines.append)
    assert sum(line.startswith("ceiling of dagger-edge-demo") for line in lines) == 2
    return decode_result(msgspec.json.encode(made))


def half(result, index, factor=1.0):
    """One run as a result of its own, all that takes time ``factor`` times slower."""

    def slower(row):
        if row.run != index or not QUANTITIES[row.what].timed or row.kind == "machine":
            return row
        change = 1 / factor if row.better == "higher" else factor
        return make_row(index, row.what, row.settings, [value * change for value in row.samples], row.paces)

    rows = tuple(replace(slower(row), run=0) for row in result.rows if row.run == index)
    return replace(result, runs=(result.runs[index],), rows=rows)


def test_every_row_is_there_with_a_sample_of_each_process(measured):
    """A quantity that is left out without a word, or a process that was not counted."""
    rows = [row for row in measured.rows if row.run == 0]
    assert {row.what for row in rows} >= set(QUANTITIES) - {"energy", *OTHERS}
    assert all(len(row.samples) == REPEATS for row in rows)
    assert [row.settings["tokens"] for row in rows if row.what == "step"] == list(STEP_SIZES)
    assert all(len(row.paces) == REPEATS for row in rows if QUANTITIES[row.what].timed and row.kind != "machine")
    # The context has no room for the other.
    assert [row.settings["tokens"] for row in rows if row.what == "prefill"] == [32]
    # The demo's prompts have no beginning that is worth keeping.
    starts = [row.settings["start"] for row in rows if row.what == "first token"]
    assert starts == ["cold", "whole prompt"]


def test_numbers_that_say_the_same_agree(measured):
    """Units that are mixed up, tokens that are counted twice, parts that leave something out."""
    for run in (0, 1):
        value = {(row.what, row.settings.get("part")): row.samples for row in measured.rows if row.run == run}
        parts = [samples for (what, _), samples in value.items() if what == "answer part"]
        for process in range(REPEATS):
            answer = value["answer", None][process]
            assert sum(part[process] for part in parts) == pytest.approx(answer, rel=1e-4)
            assert value["answers", None][process] == pytest.approx(60 / answer, rel=1e-4)
            assert value["speed", None][process] == pytest.approx(value["tokens", None][process] / answer, rel=1e-4)
            assert value["plain speed", None][process] == pytest.approx(
                1e3 / value["plain token", None][process], rel=1e-4
            )
        assert value["tokens", None][0] > value["steps", None][0] > 1
        assert value["step size", None][0] > 1
        assert value["answered", None] == (1,) * REPEATS
        assert value["load", None][0] > value["answer part", "reading the question"][0]
    assert 20 < measured.find(0, "peak memory").median < 2000


def test_shares_are_of_the_ceiling(measured):
    run, row = measured.runs[0], measured.find(0, "plain speed")
    assert run.ceiling is not None
    assert row.ceiling == pytest.approx(run.ceiling.tokens_per_s, rel=1e-4)
    assert row.share == pytest.approx(row.median / row.ceiling, rel=1e-3)
    step = measured.find(0, "step", tokens=16)
    assert step.share == pytest.approx(step.ceiling / step.median, rel=1e-3)
    assert all(row.ceiling is None for row in measured.rows if row.what in {"load", "answer", "peak memory"})


def test_provenance_names_machine_versions_and_weights(measured):
    where = measured.provenance
    assert where.cores >= 1
    assert {"python", "onnxruntime", "numpy"} <= set(where.versions)
    bundle = measured.runs[0]
    assert bundle.bundle == "dagger-edge-demo"
    assert bundle.weights_sha256.startswith("50289364")
    assert bundle.threads == 1
    assert bundle.prefix_tokens == 0


def test_two_runs_of_the_same_agree_and_a_slower_one_does_not(measured):
    """Measured in turns on whatever machine this is; planted is what even a busy one can show."""
    found = compare(half(measured, 0), half(measured, 1))
    assert found.regressions == 0, comparison_text(found)
    # Six processes are few for the level that is usual.
    assert compare(half(measured, 0), half(measured, 1, factor=4.0), level=0.05).regressions > 0
