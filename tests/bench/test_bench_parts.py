"""The parts of a benchmark: ceilings, energy, stopwatch, questions, documents."""

import csv
import io
import json
import re
import time
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from bench_samples import LOAD, READ, result
from msgspec.structs import replace

from dagger_edge.runtime.bandwidth import memory_bandwidth
from dagger_edge.runtime.bench import energy, provenance
from dagger_edge.runtime.bench.ceiling import bundle_load, ceiling_of, prefill_bound, step_bound
from dagger_edge.runtime.bench.compare import compare
from dagger_edge.runtime.bench.energy import Meter, energy_source
from dagger_edge.runtime.bench.inside import findings
from dagger_edge.runtime.bench.job import Job
from dagger_edge.runtime.bench.measure import Plan
from dagger_edge.runtime.bench.process import run_job
from dagger_edge.runtime.bench.questions import bench_questions
from dagger_edge.runtime.bench.rows import QUANTITIES, Pace, decode_result, make_row
from dagger_edge.runtime.bench.stopwatch import Stopwatch
from dagger_edge.runtime.bench.table import comma_separated, json_lines, markdown, table
from dagger_edge.runtime.bench.yardstick import Yardstick
from dagger_edge.runtime.bundle import Bundle
from dagger_edge.runtime.errors import BundleError, ProviderError, UsageError
from dagger_edge.runtime.files import write_whole
from dagger_edge.runtime.solver import Solver, demo_bundle


def test_what_a_step_of_the_demo_asks_of_a_machine():
    """Bits for bytes, keys without values, or a window that is not seen, and every share is off."""
    load = bundle_load(Bundle.open(demo_bundle(), verify=False).manifest, 200, 4)
    assert load.weight_bytes == 1376256 + 21504 + 2654208 + 7077888
    # Two KV heads of 48 float32 numbers, keys and values; six layers, of which two see all 200 and four 128.
    assert load.kv_token_bytes == 6 * 2 * 2 * 48 * 4
    assert load.kv_read_bytes == (2 * 200 + 4 * 128) * 2 * 2 * 48 * 4
    assert load.products == (663552 + 1769472, 344064)


def test_a_step_is_bound_by_reading_or_by_multiplying_whichever_is_longer():
    ceiling = ceiling_of(LOAD, "rows", READ, 100e9)
    reading = (LOAD.weight_bytes + LOAD.kv_read_bytes) / READ
    assert step_bound(ceiling, 1) == pytest.approx(reading)
    assert ceiling.tokens_per_s == pytest.approx(1 / reading)
    assert step_bound(ceiling, 16) == pytest.approx(16 * 3.3e9 / 100e9)
    # Logits of one token alone; weights once for every 64.
    assert prefill_bound(ceiling, 512) == pytest.approx((512 * 3.2e9 + 0.1e9) / 100e9)
    assert prefill_bound(ceiling_of(LOAD, "rows", READ / 100, 100e9), 65) == pytest.approx(2 * 4e9 / (READ / 100))


def test_few_bytes_are_read_from_the_cache_and_no_slower():
    """Starting threads counted as reading, a cache would look slower than memory."""
    assert memory_bandwidth(1, 4 << 20) > 0.7 * memory_bandwidth(1)


def test_drag_makes_a_run_slower_by_its_share():
    """The proof that a planted slowdown is seen is none where nothing was planted."""
    session = SimpleNamespace(run_bound=lambda _binding, ids, _mask, _at: time.sleep(0.02) or ids)
    watch = Stopwatch(session, drag=1.0)
    session.run_bound(None, np.zeros((1, 1), np.int64), None, 1)
    assert watch.steps[0].seconds >= 0.04


@pytest.fixture
def powercap(tmp_path):
    for name, kind, value in (
        ("intel-rapl:0", "package-0", 1_000_000),
        ("intel-rapl:0:0", "core", 600_000),
        ("intel-rapl:1", "package-1", 5_000_000),
        ("intel-rapl:2", "psys", 9_000_000),
    ):
        zone = tmp_path / name
        zone.mkdir()
        (zone / "name").write_text(kind + "\n")
        (zone / "energy_uj").write_text(f"{value}\n")
        (zone / "max_energy_range_uj").write_text("9999999\n")
    return tmp_path


def test_energy_is_of_the_packages_and_of_what_is_within_them_once(powercap):
    meter = Meter(powercap)
    before = meter.read()
    assert before == [1_000_000, 5_000_000]
    (powercap / "intel-rapl:0" / "energy_uj").write_text("3000000\n")
    assert meter.joules(before, meter.read()) == 2
    assert energy_source(powercap) == energy.RAPL


def test_a_counter_that_began_again_gives_no_negative_energy(powercap):
    meter = Meter(powercap)
    before = meter.read()
    (powercap / "intel-rapl:1" / "energy_uj").write_text("1000000\n")
    assert meter.joules(before, meter.read()) == 6


@pytest.mark.parametrize("content", ["", "many"])
def test_energy_that_is_not_told_is_no_error(powercap, tmp_path, content):
    """Most machines let only root read it."""
    (powercap / "intel-rapl:0" / "energy_uj").write_text(content)
    assert energy_source(powercap) is None
    assert Meter(powercap).joules(None, None) is None
    assert energy_source(tmp_path / "nothing") is None


def test_the_stopwatch_tells_the_prompt_from_the_steps():
    """A chunk of the prompt taken for a step of the answer, the model's time would be its double."""
    session = SimpleNamespace(run_bound=lambda _binding, ids, _mask, _at: ids)
    watch = Stopwatch(session)
    for rows, length in ((1, 64), (1, 36), (1, 4), (2, 1)):
        session.run_bound(None, np.zeros((rows, length), np.int64), None, 1)
    assert [(step.rows, step.length) for step in watch.steps] == [(1, 64), (1, 36), (1, 4), (2, 1)]
    assert [step.length for step in watch.after_prompt(100)] == [4, 1]
    # The last chunk may hold what was forced or guessed as well.
    assert [step.length for step in watch.after_prompt(90)] == [4, 1]


def test_the_questions_are_a_dozen_of_the_generators():
    """Of MSVAMP, their licence would have to come along."""
    lines = (demo_bundle().parents[3] / "tests/data/realistic_graphs.jsonl").read_text("utf-8").splitlines()
    generated = {row["question"]: len(row["graph"]["nodes"]) for row in map(json.loads, lines)}
    questions = bench_questions()
    assert len({item.question for item in questions}) == 12
    assert all(generated[item.question] == item.nodes for item in questions)
    assert {item.nodes for item in questions[:4]} > {4, 5}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"questions": 0}, "questions is 0"),
        ({"questions": 13}, "from 1 to 12"),
        ({"repeats": 0}, "repeats is 0"),
        ({"threads": (1, 1)}, "threads has something twice"),
        ({"samples": (4, 4)}, "samples has something twice"),
    ],
)
def test_a_plan_that_cannot_be_measured_is_refused_by_name(change, words):
    with pytest.raises(UsageError, match=words):
        Plan((demo_bundle(),), **change)


@pytest.mark.parametrize(
    ("bundle", "provider", "error"), [("nowhere", "cpu", BundleError), (str(demo_bundle()), "cuda", ProviderError)]
)
def test_an_error_of_the_measuring_process_is_raised_as_it_was(bundle, provider, error):
    """Lost in another process, all that a user would see is that something went wrong."""
    with pytest.raises(error):
        run_job(Job(bundle, provider, 1, ("কত?",), (), ()))


def test_a_row_is_its_samples_median_and_quartiles():
    row = make_row(0, "load", {}, [4.0, 1.0, 3.0, 2.0, 10.0])
    assert (row.median, row.quartiles, row.samples) == (3, (2, 4), (4, 1, 3, 2, 10))
    assert (row.unit, row.better) == ("s", "lower")


def test_a_commit_is_that_of_a_checkout_that_holds_the_code(monkeypatch):
    """A package that is installed inside of another project's checkout would be told to be of that project."""
    found = provenance._commit()
    assert found is None or re.fullmatch(r"[0-9a-f]{40}\+?", found)
    monkeypatch.setattr(provenance, "_git", lambda _folder, *arguments: None if "ls-files" in arguments else "c0ffee")
    assert provenance._commit() is None
    monkeypatch.setattr(provenance, "_git", lambda _folder, *arguments: "" if "status" in arguments else "c0ffee")
    assert provenance._commit() == "c0ffee"


def test_the_pace_is_that_of_the_rounds_since_it_was_asked_last():
    yardstick = Yardstick(2)
    times = iter([0.1, 0.2, 0.3, 0.6, 0.5, 1.0])
    yardstick._timed = lambda _work: next(times)
    yardstick.take()
    yardstick.take()
    assert yardstick.pace() == Pace(pytest.approx(5), pytest.approx(2.5))
    yardstick.take()
    assert yardstick.pace() == Pace(2, 1)


def test_the_pace_of_a_processor_is_not_told_of_a_gpu():
    with Solver.open(demo_bundle(), threads=1) as solver:
        for provider, told in (("cpu", True), ("cuda", False)):
            job = Job(str(demo_bundle()), provider, 1, (bench_questions()[0].question,), (), (), plain_tokens=2)
            paces = [sample.pace for sample in findings(solver, job).samples if sample.what == "step"]
            assert [pace is not None for pace in paces] == [told] * len(paces) != []


def test_a_round_of_the_yardstick_is_short_and_works_in_every_thread():
    yardstick = Yardstick(3)
    yardstick._results = [np.zeros_like(numbers) for numbers in yardstick._numbers]
    yardstick.take()
    assert all(
        np.array_equal(made, np.exp(numbers))
        for made, numbers in zip(yardstick._results, yardstick._numbers, strict=True)
    )
    assert all(rate > 1 for rate in yardstick.pace())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda document: document.update(colour=1), "colour"),
        (lambda document: document.update(result_version=2), "result_version"),
        (lambda document: document.update(runs=[]), "runs"),
        (lambda document: document["rows"][0].update(run=7), "run that is not there"),
        (lambda document: document["rows"][0].update(paces=[[1.0, 1.0]]), "not as many paces as samples"),
        (lambda document: document["rows"][0].update(paces=[[0.0, 1.0]] * 12), "paces"),
        (lambda document: document["rows"][0].update(samples=[]), "samples"),
        (lambda document: document["rows"][0].update(median=-1), "median"),
        (lambda document: document["runs"][0].update(bundle="\x1b[2J"), "bundle"),
    ],
)
def test_a_changed_result_is_refused_where_it_was_changed(change, words):
    document = as_json(result())
    change(document)
    with pytest.raises(ValueError, match=words):
        decode_result(json.dumps(document).encode())


@pytest.mark.parametrize("data", [b"", b"\xff", b"[" * 200_000, b"{}", b" " * (1 << 25)])
def test_what_is_no_result_is_refused(data):
    with pytest.raises(ValueError, match=r"."):
        decode_result(data)


def as_json(made):
    return json.loads(msgspec.json.encode(made))


def test_rows_for_programs_carry_all_that_they_depend_on():
    """A row that was copied out of a file has to say where it comes from."""
    made = result(1, threads=(1, 2))
    lines = [json.loads(line) for line in json_lines(made).splitlines()]
    assert len(lines) == len(made.rows)
    assert all(line["provenance"]["commit"] and line["run"]["weights_sha256"] and line["samples"] for line in lines)
    assert {line["run"]["threads"] for line in lines} == {1, 2}
    records = list(csv.DictReader(io.StringIO(comma_separated(made))))
    assert len(records) == len(made.rows)
    assert all(None not in record and None not in record.values() for record in records)
    for record, line in zip(records, lines, strict=True):
        assert float(record["median"]) == line["median"]
        assert json.loads(record["settings"]) == line["settings"]
        assert record["provenance.commit"] == line["provenance"]["commit"]
        assert record["run.ceiling.kernel"] == "rows"


def test_runs_without_a_ceiling_do_not_shift_the_columns():
    """Of a GPU, beside one of the CPU."""
    made = result(1, threads=(1, 2))
    made = replace(made, runs=(replace(made.runs[0], ceiling=None), made.runs[1]))
    records = list(csv.DictReader(io.StringIO(comma_separated(made))))
    assert {record["run.ceiling.kernel"] for record in records} == {"", "rows"}
    assert "Ceiling: not measured on cpu." in markdown(made)


def test_the_table_begins_with_the_ceiling():
    """A number without its ceiling says nothing."""
    lines = markdown(result(1)).splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("| "))
    assert any(line.startswith("Ceiling: **8.4 tokens/s**") for line in lines[:first])
    whats = [line.split("|")[1].split(",")[0].strip() for line in lines[first + 2 :]]
    places = [list(QUANTITIES).index(what) for what in whats]
    assert places == sorted(places)


def test_a_table_is_one_of_markdown():
    """A rule without a dash is no rule, and the table is a heap of signs."""
    lines = table(("", "n"), [["a", "1"]])
    assert re.fullmatch(r"\| -+ \| -+: \|", lines[1])
    assert len({len(line) for line in lines}) == 1


def test_a_file_is_written_whole_or_stays_as_it_was(tmp_path):
    """Ctrl-C or a full disk after minutes of measuring, and half a result in place of the last one."""
    path, link = tmp_path / "result.json", tmp_path / "link.json"
    link.symlink_to(path)
    write_whole(link, "first\n")
    assert link.is_symlink()
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "second" * 100_000 + "\ud800")
    assert path.read_text("utf-8") == "first\n"
    assert {file.name for file in tmp_path.iterdir()} == {"result.json", "link.json"}
    write_whole(path, "third")
    assert path.read_text("utf-8") == "third"
    write_whole(Path("/dev/null"), "lost")


def test_a_peer_is_told_apart_from_us_with_its_settings():
    """In one table, its figures would pass for ours."""
    made = result(1, threads=(1, 2))
    peer = replace(made.runs[1], engine="llama.cpp", options={"n_batch": "2048"}, weights_sha256=None, ceiling=None)
    made = decode_result(msgspec.json.encode(replace(made, runs=(made.runs[0], peer), task="one graph of 314 tokens")))
    text = markdown(made)
    assert "## llama.cpp: a 4B, int8, cpu, threads 2" in text
    assert "Settings: n_batch 2048." in text
    assert "one graph of 314 tokens" in text
    assert "processes" not in text
    found = compare(made, made)
    assert {change.run for change in found.changes} == {
        "a 4B, int8, cpu, threads 1",
        "llama.cpp, a 4B, int8, cpu, threads 2",
    }
