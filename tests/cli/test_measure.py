"""``dagger-edge measure``: a real run over small matrices, and what is made of its numbers."""

import json

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from dagger_edge.cli import measure
from dagger_edge.runtime.errors import UsageError
from dagger_edge.runtime.kernels.estimate import best_of, estimate, shape_load
from dagger_edge.runtime.kernels.kernel import BY_NAME, KERNELS
from dagger_edge.runtime.kernels.report import (
    MODEL_NAMES,
    TOKENS,
    Estimate,
    KernelCost,
    Step,
    decode_report,
    model_shape,
)
from dagger_edge.runtime.pieces import KernelSession


@pytest.fixture(scope="module")
def report():
    done = CliRunner().invoke(measure.command, ["--shape", "32x64", "--threads", "1", "--seconds", "0", "--json"])
    assert done.exit_code == 0, done.output
    assert "measure: round 3" in done.stderr
    return decode_report(done.stdout.encode())


def cost(ms, weights=100):
    steps = tuple(Step(count, ms * count, 0.0, 3) for count in TOKENS)
    return KernelCost("a kernel", "int8", 8.0, 2, weights, steps)


def test_every_kernel_is_measured_at_every_number_of_tokens(report):
    """A kernel that fails silently, or is left out of a turn, would look as quick as nothing."""
    assert set(report.kernels) == set(KERNELS)
    for found in report.kernels.values():
        assert tuple(step.tokens for step in found.steps) == TOKENS
        assert all(step.rounds >= 3 for step in found.steps)
        assert found.weights == found.matrices * 32 * 64
        assert found.steps[-1].ms > found.steps[0].ms
    assert report.best in KERNELS
    assert report.threads == 1
    assert 0 < report.available_bytes <= report.memory_bytes


def test_people_are_told_every_kernel_and_the_best(report):
    lines = measure._lines(report)
    for kernel in BY_NAME.values():
        assert sum(line.startswith(kernel.title) for line in lines) == 2
    assert lines[-1].startswith(f"best: {BY_NAME[report.best].title}")


@pytest.mark.parametrize("name", KERNELS)
def test_graphs_compute_and_keep_the_size_of_numbers(name):
    """Numbers that vanish or overflow run at another speed; weights that are not taken would be zeros."""
    random = np.random.default_rng(1)
    graph, weights = BY_NAME[name].graph(128, 256, 3, random)
    x = random.standard_normal((1, 5, 128), np.float32)
    y = KernelSession(graph, weights, 1).run(x)
    assert y.shape == x.shape
    assert 0.2 < y.std() / x.std() < 5
    if name == "dense":
        expected = x
        for index in range(6):
            expected = expected @ weights[f"w{index}"]
        assert np.abs(y - expected).max() < 1e-3
    packed = [array for key, array in weights.items() if not key.endswith((".scales", ".zeros"))]
    assert len({array.tobytes() for array in packed}) == len(packed)
    size = 8 * sum(array.nbytes for array in weights.values()) / (6 * 128 * 256)
    assert size == pytest.approx(BY_NAME[name].bits, rel=0.03)


def test_costs_are_in_proportion_and_on_a_line_between():
    found = cost(2.0)
    assert found.ms(6, 100) == 12
    assert found.ms(60, 50) == pytest.approx(60)
    with pytest.raises(ValueError, match="300 tokens"):
        found.ms(300, 1)


def test_a_model_is_layers_and_head():
    """An estimate without the head, or with logits for every token of the question, is a third off at 4B."""
    shape = model_shape("4b")
    assert shape.layer_weights == 94_371_840
    load = shape_load(shape, "rows")
    found = estimate(load, {"rows": cost(1.0, 10**6), "blocks-8-32": cost(1.0, 10**6)}, 24 << 30)
    products, head = 34 * 94.371840, 262_208 * 2560 / 1e6
    assert found.plain_ms == pytest.approx(300 * (products + head))
    assert found.drafted_ms == pytest.approx(60 * 6 * (products + head))
    assert found.question_ms == pytest.approx(60 * products + head)
    assert found.size_bytes == pytest.approx(products * 1e6 + head * 9e6 / 8)
    assert found.fits
    assert not estimate(load, {"rows": cost(1.0), "blocks-8-32": cost(1.0)}, 4 << 30).fits


def test_the_best_fits_is_quick_and_of_equals_the_more_exact():
    """A choice by noise would give away bits for nothing."""
    items = {
        "huge": Estimate(10, False, 1, 1, 1),
        "exact": Estimate(8, True, 50, 52, 1),
        "small": Estimate(4, True, 50, 50, 1),
        "slow": Estimate(8, True, 50, 90, 1),
    }
    bits = {"huge": 32, "exact": 8, "small": 4, "slow": 16}
    assert best_of(items, bits) == "exact"
    assert best_of({"huge": items["huge"]}, bits) is None


@pytest.mark.parametrize("name", ["", "5b", "64", "64x", "x", "64x128x2", "-1x5", "31x64", "1e3x64", "9999999999x64"])
def test_a_shape_that_is_none_is_exit_code_2(name):
    with pytest.raises(UsageError, match="shape"):
        CliRunner().invoke(measure.command, ["--shape", name], catch_exceptions=False, standalone_mode=False)


def test_models_are_shapes():
    for name in MODEL_NAMES:
        assert model_shape(name).vocabulary > 262_000


def test_a_shape_beyond_memory_is_refused_before_anything_is_allocated():
    """Asked for too much, a small machine would be brought down."""
    with pytest.raises(UsageError, match="GB of memory"):
        CliRunner().invoke(measure.command, ["--shape", "65536x65536"], catch_exceptions=False, standalone_mode=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda document: document.update(colour=1), "colour"),
        (lambda document: document.update(report_version=2), "report_version"),
        (lambda document: document["kernels"].update(ternary={}), "kernels"),
        (lambda document: document["kernels"]["rows"]["steps"].pop(0), "none of 1 tokens"),
        (lambda document: document["kernels"]["rows"]["steps"].reverse(), "rising"),
        (lambda document: document["kernels"]["rows"]["steps"][0].update(ms=0), r"steps\[0\].ms"),
        (lambda document: document.update(processor="\x1b[2J"), "processor"),
        (lambda document: document.update(kernels={}), "kernels"),
    ],
)
def test_a_changed_report_is_refused_where_it_was_changed(report, change, words):
    """Numbers of no machine would choose a recipe all the same."""
    document = json.loads(msgspec.json.encode(report))
    change(document)
    with pytest.raises(ValueError, match=words):
        decode_report(json.dumps(document).encode())


@pytest.mark.parametrize("data", [b"", b"\xff", b"[" * 200_000, b"{}", b" " * 300_000])
def test_what_is_no_report_is_refused(data):
    with pytest.raises(ValueError, match=r"."):
        decode_report(data)
