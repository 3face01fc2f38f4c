"""Predictions for another machine, held against a machine whose steps are known exactly."""

import pytest
from bench_samples import LOAD, READ, SLOPE, result, step_s
from msgspec.structs import replace

from dagger_edge.runtime.bench.plan import Machine, predict
from dagger_edge.runtime.bench.words import prediction_text
from dagger_edge.runtime.errors import UsageError

HERE = Machine(1, READ, 24 << 30)


def test_the_machine_that_was_measured_is_predicted_as_it_was():
    """A model that does not come back to what it was made from is wrong anywhere else, too."""
    made = predict(result(threads=(1,)), HERE)
    assert made.predicted.answer_s == pytest.approx(made.here.answer_s)
    assert made.predicted.plain_tokens_per_s == pytest.approx(made.here.plain_tokens_per_s)
    assert made.predicted.prefill_tokens_per_s == pytest.approx(made.here.prefill_tokens_per_s)
    assert made.predicted.answers_per_hour == pytest.approx(3600 / made.here.answer_s)


def test_cores_carry_the_tokens_and_bandwidth_the_weights():
    """All of a step in proportion to one of them would be off by half."""
    plain_here = step_s(1) + 0.002
    reading = (LOAD.weight_bytes + LOAD.kv_read_bytes) / READ
    more_cores = predict(result(threads=(1,)), Machine(4, READ, 24 << 30)).predicted
    assert 1 / more_cores.plain_tokens_per_s == pytest.approx(plain_here - SLOPE * 3 / 4, rel=1e-3)
    faster = predict(result(threads=(1,)), Machine(1, 2 * READ, 24 << 30)).predicted
    assert 1 / faster.plain_tokens_per_s == pytest.approx(plain_here - reading / 2, rel=1e-3)


def test_two_threads_are_predicted_from_one_and_shown_beside_what_was_measured():
    """What was measured here with more threads is the proof of the model, or its refutation."""
    made = predict(result(threads=(1, 2)), Machine(2, READ, 24 << 30))
    assert made.from_threads == 1
    assert made.measured is not None
    assert made.predicted.answer_s == pytest.approx(made.measured.answer_s, rel=0.03)
    assert made.measured.answer_s < made.here.answer_s
    assert "predicted / measured" in prediction_text(made)
    assert predict(result(threads=(1, 2)), Machine(2, READ, 24 << 30), threads=2).from_threads == 2


def test_noise_of_a_few_percent_moves_the_prediction_by_a_few():
    exact = predict(result(threads=(1,)), Machine(4, 2 * READ, 24 << 30)).predicted.answer_s
    for seed in range(10):
        noisy = predict(result(seed, threads=(1,)), Machine(4, 2 * READ, 24 << 30)).predicted.answer_s
        assert noisy == pytest.approx(exact, rel=0.12)


def test_weights_that_stay_in_the_cache_are_not_read_from_memory():
    """The demo would be predicted to be slow by a slow memory that it never touches."""
    made = result(threads=(1,))
    cached = replace(made, runs=tuple(replace(run, ceiling=replace(run.ceiling, cached=True)) for run in made.runs))
    slow = predict(cached, Machine(1, READ / 10, 24 << 30))
    assert slow.predicted.answer_s == pytest.approx(slow.here.answer_s)
    assert any("cache" in note for note in slow.notes)


@pytest.mark.parametrize(("memory", "fits"), [(4 << 30, False), (6_000_000_000, False), (8 << 30, True)])
def test_a_process_needs_its_peak_and_a_little(memory, fits):
    made = predict(result(), Machine(2, READ, memory))
    assert made.fits == fits
    assert ("does not fit" in prediction_text(made)) != fits


def test_far_away_is_said_to_be_far():
    notes = predict(result(threads=(2,)), Machine(64, READ, 24 << 30)).notes
    assert any("from 2 to 64 threads is far" in note for note in notes)


def test_steps_that_noise_bent_are_still_a_step():
    """A negative cost of a token would make infinitely many cores infinitely slow."""
    made = result(threads=(1,))
    rows = tuple(
        replace(row, median=max(1.0, 200 - 10 * row.settings["tokens"])) if row.what == "step" else row
        for row in made.rows
    )
    found = predict(replace(made, rows=rows), Machine(8, READ, 24 << 30)).predicted
    assert found.answer_s > 0
    assert found.plain_tokens_per_s > 0


@pytest.mark.parametrize("what", ["step", "step size", "plain token", "prefill", "peak memory", "answer part"])
def test_a_result_that_lacks_a_row_is_refused_by_its_name(what):
    made = result()
    without = replace(made, rows=tuple(row for row in made.rows if row.what != what))
    with pytest.raises(UsageError, match="measure it again"):
        predict(without, HERE)


def test_threads_that_were_not_measured_and_runs_without_a_ceiling_are_refused():
    made = result(threads=(1, 2))
    with pytest.raises(UsageError, match="it has 1, 2"):
        predict(made, HERE, threads=3)
    bare = replace(made, runs=tuple(replace(run, provider="cuda", ceiling=None) for run in made.runs))
    with pytest.raises(UsageError, match="cuda has no measured ceiling"):
        predict(bare, HERE)
