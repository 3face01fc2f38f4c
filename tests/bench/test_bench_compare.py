"""Comparing: what is flagged is a change, and every change that matters is flagged."""

import re
import tracemalloc
from itertools import combinations

import numpy as np
import pytest
from bench_samples import result
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dagger_edge.runtime.bench.compare import compare
from dagger_edge.runtime.bench.rank import family_levels, ratio_interval
from dagger_edge.runtime.bench.words import comparison_text
from dagger_edge.runtime.errors import UsageError

TIMED_OTHERWISE = {"other work", "memory speed", "matrix speed", "steps", "step size", "peak memory"}


def verdicts(found, wanted):
    return {
        (change.what, *change.settings.values())
        for change in found.changes
        if change.verdict == wanted and change.what != "answer part"
    }


def slow_by_a_fifth(what, _settings):
    return 1.0 if what in TIMED_OTHERWISE else 1.2


def counted(one, other):
    """The p of Mann-Whitney's test by looking at every arrangement."""
    both = [*one, *other]
    places = range(len(both))

    def from_middle(first):
        wins = sum((both[i] > both[j]) + (both[i] == both[j]) / 2 for i in first for j in set(places) - set(first))
        return abs(wins - len(one) * len(other) / 2)

    all_of_them = [from_middle(first) for first in combinations(places, len(one))]
    return sum(number >= from_middle(tuple(range(len(one)))) for number in all_of_them) / len(all_of_them)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=4, max_size=9), st.integers(2, 7))
def test_the_level_of_a_single_row_is_that_of_the_exact_rank_test(values, cut):
    """An approximation is wrong where it counts: in the tail, with ten samples. Ties are no difference."""
    one, other = values[: min(cut, len(values) - 1)], values[min(cut, len(values) - 1) :]
    (((found, _),),) = family_levels([[(one, other)]])
    # Of 20,000 arrangements, four standard deviations.
    assert found == pytest.approx(counted(one, other), abs=0.015)


def test_equal_samples_are_no_difference():
    """Counts of steps are the same in every process."""
    (((found, _),),) = family_levels([[([36.0] * 10, [36.0] * 10)]])
    assert found == 1
    (((found, least),),) = family_levels([[([36.0] * 10, [40.0] * 10)]])
    assert found == least < 1e-3


def test_rows_that_move_together_count_as_one_and_others_as_many():
    """Corrected row by row, ten processes would see little of what all rows show: all share a process's luck."""
    random = np.random.default_rng(2)
    luck, apart = random.standard_normal((2, 10)), random.standard_normal((40, 2, 10))
    row = (luck[0], luck[1] + 1.7)
    together = family_levels([[row] * 40])[0][0].found
    assert together == family_levels([[row]])[0][0].found
    assert family_levels([[row, *((one, other) for one, other in apart)]])[0][0].found > 4 * together


def test_many_rows_are_compared_in_little_memory_and_still_told():
    """A sweep of 64 numbers of threads has thousands of rows."""
    random = np.random.default_rng(3)
    rows = [(one, other) for one, other in random.standard_normal((3000, 2, 12))]
    rows[7] = (rows[7][0], rows[7][1] + 100)
    tracemalloc.start()
    (levels,) = family_levels([rows])
    assert tracemalloc.get_traced_memory()[1] < 300e6
    tracemalloc.stop()
    assert levels[7].found == levels[7].least
    assert min(level.found for level in levels[:7]) > 0.05


def test_among_rows_that_did_not_change_one_is_flagged_as_rarely_as_is_said():
    """Each row tested at 5 % by itself, two of three comparisons of twenty rows would flag something; and processes of
    which each has its own luck, in all rows, are no excuse."""
    random = np.random.default_rng(1)
    tries = 60
    for luck in (0.0, 3.0):
        flagged = 0
        for _ in range(tries):
            pairs = random.standard_normal((20, 2, 10)) + luck * random.standard_normal((1, 2, 10))
            levels = family_levels([[(one, other) for one, other in pairs]])[0]
            flagged += min(level.found for level in levels) <= 0.05
        # Five percent, and three standard deviations.
        assert flagged / tries <= 0.05 + 3 * (0.05 * 0.95 / tries) ** 0.5


@pytest.mark.parametrize("luck", [0.0, 0.1])
def test_no_row_is_flagged_between_identical_runs_in_20_tries(luck):
    """Also where each process is a tenth quicker or slower for all of its life, as placement in memory makes it."""
    for seed in range(20):
        found = compare(result(2 * seed, luck=luck), result(2 * seed + 1, luck=luck))
        assert (found.regressions, found.improvements) == (0, 0), comparison_text(found)


def test_a_slowdown_of_20_percent_is_flagged_in_nearly_every_row_that_has_it():
    """Of everything that takes time, with disturbed processes on both sides."""
    shares = []
    for seed in range(10):
        slow = result(100 + seed, scale=slow_by_a_fifth)
        found = compare(result(seed), slow)
        tested = [change for change in found.changes if change.tested and change.what not in TIMED_OTHERWISE]
        shares.append(found.regressions / len(tested))
        assert not found.improvements
        assert not verdicts(found, "worse") & {(name,) for name in TIMED_OTHERWISE}
    assert min(shares) > 0.7
    assert sum(shares) / len(shares) > 0.9


def test_a_slowdown_of_20_percent_is_flagged_though_processes_differ_by_as_much():
    seen = [
        compare(result(seed, luck=0.07), result(100 + seed, luck=0.07, scale=slow_by_a_fifth)).regressions > 0
        for seed in range(20)
    ]
    assert sum(seen) >= 18


def test_a_slowdown_of_one_row_is_flagged_there_and_nowhere_else():
    def slower(what, settings):
        return 1.2 if (what, settings.get("tokens")) == ("step", 8) else 1.0

    named = [verdicts(compare(result(seed), result(50 + seed, scale=slower)), "worse") for seed in range(20)]
    assert sum(found == {("step", 8)} for found in named) >= 14
    assert all(found <= {("step", 8)} for found in named)


def test_fewer_tokens_a_second_are_worse_and_a_quicker_row_is_no_regression():
    """Taken for a time, a lower speed would be praised."""
    slow = compare(result(1), result(2, scale=lambda what, _: 1.5 if what == "prefill" else 1.0))
    assert verdicts(slow, "worse") == {("prefill", 64), ("prefill", 256)}
    quick = compare(result(1), result(2, scale=lambda what, _: 0.6 if what == "prefill" else 1.0))
    assert verdicts(quick, "better") == {("prefill", 64), ("prefill", 256)}
    assert quick.regressions == 0


def test_a_machine_that_is_slower_itself_is_not_the_programs_fault():
    """A neighbour on the same machine, or a hot processor, would be taken for a regression of everything."""
    busy = result(3, scale=lambda what, _: 1.0 if what in {"steps", "step size", "peak memory"} else 1.5)
    found = compare(result(1), busy)
    assert found.regressions == 0
    assert any("machine itself was slower" in note for note in found.notes)
    worse = compare(result(1), result(3, scale=lambda what, _: {"load": 3.0, "steps": 1.2}.get(what, 1.5)))
    # Counts do not follow the machine's speed.
    assert {("load",), ("steps", 12), ("peak memory",)} <= verdicts(worse, "worse")


def drifting(seed):
    """A machine that is slower by up to a third for some processes, and differently from run to run."""
    random = np.random.default_rng(seed)
    return (random.uniform(0.75, 1.0) * np.exp(0.1 * random.standard_normal(12))).tolist()


def test_at_the_same_pace_no_row_is_flagged_however_the_machine_drifts():
    """Twelve processes of a slow minute against twelve of a quick one differ in every row."""
    for seed in range(20):
        pair = [result(number, rates=drifting(number), follows=0.75) for number in (2 * seed, 2 * seed + 1)]
        found = compare(*pair)
        assert (found.regressions, found.improvements) == (0, 0), comparison_text(found)


def test_at_the_same_pace_a_slowdown_is_found_on_a_machine_that_became_as_much_quicker():
    rates = [0.8] * 12, [1.0] * 12
    seen = []
    for seed in range(10):
        found = compare(result(seed, rates=rates[0]), result(100 + seed, rates=rates[1], scale=slow_by_a_fifth))
        seen.append(found.regressions)
        assert not found.improvements
    assert min(seen) > 8, seen


@pytest.mark.parametrize("follows", [0.6, 0.75, 0.85])
def test_how_far_a_program_follows_the_pace_makes_no_verdict(follows):
    """Prompts do less than steps."""
    before = result(1, rates=[1.0] * 12, follows=follows)
    for rate in (0.75, 1.3):
        found = compare(before, result(2, rates=[rate] * 12, follows=follows))
        assert (found.regressions, found.improvements) == (0, 0), comparison_text(found)


def test_changes_are_those_at_the_same_pace():
    found = compare(result(rates=[1.0] * 12), result(rates=[0.8] * 12))
    (load,) = [change for change in found.changes if change.what == "load"]
    assert load.after == pytest.approx(load.before / 0.8)
    # Programs follow the pace by 0.85 of it at most.
    assert load.slower == pytest.approx(0.8**-0.15, rel=1e-4)
    # What does not follow the machine stays as it is, and so does a result that tells no paces.
    assert not verdicts(found, "worse")
    (load,) = [change for change in compare(result(), result(rates=[0.5] * 12)).changes if change.what == "load"]
    assert load.slower == pytest.approx(2, rel=1e-4)


def test_where_paces_are_told_the_machines_drift_is_no_second_excuse():
    """A machine that is slower itself, and rows that are at the same pace."""
    slower = result(
        3, rates=[1.0] * 12, scale=lambda what, _: 1.5 if what in {"memory speed", "matrix speed", "load"} else 1.0
    )
    found = compare(result(1, rates=[1.0] * 12), slower)
    assert ("load",) in verdicts(found, "worse")
    assert any("compared at the same pace" in note for note in found.notes)


def test_two_machines_are_compared_as_they_are():
    """Whoever chooses a box asks which is quicker."""
    other = result(rates=[0.5] * 12)
    other = replace(other, provenance=replace(other.provenance, processor="another"))
    (load,) = [change for change in compare(result(rates=[1.0] * 12), other).changes if change.what == "load"]
    assert load.slower == pytest.approx(2, rel=1e-4)


def test_a_machine_that_others_used_is_told():
    """Runs with two threads slow down by more than the machine's speeds when others take a core: seen here."""
    found = compare(result(1), result(2, others=1.3))
    assert any(re.search(r"1\.[234] cores while the second was measured", note) for note in found.notes)
    assert not compare(result(1), result(2)).notes


def test_a_change_of_a_count_is_a_change():
    found = compare(result(1), result(2, scale=lambda what, _: 1.1 if what == "steps" else 1.0))
    assert verdicts(found, "worse") == {("steps", 12)}


def test_too_few_samples_are_said_to_be_too_few():
    """Three against three cannot tell anything among twenty rows: neither a verdict nor an all-clear."""
    found = compare(result(1, repeats=3), result(2, repeats=3, scale=lambda what, _: 2.0 if what == "load" else 1.0))
    assert found.regressions == 0
    assert ("load",) in verdicts(found, "untold")
    assert "too few samples" in comparison_text(found)


def test_runs_are_joined_by_threads_and_rows_that_stand_alone_are_named():
    one = result(1, threads=(1, 2))
    other = result(2, threads=(2, 4))
    found = compare(one, replace(other, rows=tuple(row for row in other.rows if row.what != "load")))
    assert {change.run for change in found.changes} == {"cpu, threads 2"}
    assert "cpu, threads 2: load" in found.only_before
    assert any(name.startswith("cpu, threads 4") for name in found.only_after)
    assert not any("load" in name for name in found.only_after)


def test_another_bundle_may_be_compared_and_is_told():
    """A precision against another is what people compare most."""
    other = result(2, precision="int4")
    other = replace(other, runs=tuple(replace(run, weights_sha256="cd" * 32) for run in other.runs))
    found = compare(result(1), other)
    assert found.changes
    assert any("other digests" in note for note in found.notes)


def test_nothing_in_common_is_an_error():
    with pytest.raises(UsageError, match="no row in common"):
        compare(result(1, threads=(1,)), result(2, threads=(2,)))


def test_the_interval_holds_the_ratio_and_is_the_same_twice():
    low, high = ratio_interval([10.0, 11.0, 9.0, 10.5], [20.0, 21.0, 19.0, 22.0])
    assert low < 2 < high
    assert (low, high) == ratio_interval([10.0, 11.0, 9.0, 10.5], [20.0, 21.0, 19.0, 22.0])
    assert ratio_interval([0.0, 0.0], [0.0, 0.0]) == (1, 1)


def test_people_read_the_verdict_first():
    found = compare(result(1), result(2, scale=lambda what, _: 1.5 if what == "load" else 1.0))
    text = comparison_text(found)
    tested = sum(change.tested for change in found.changes)
    assert text.startswith(f"1 of {tested} rows are worse, 0 better")
    (line,) = [line for line in text.splitlines() if line.startswith("| load ")]
    assert "**worse**" in line
