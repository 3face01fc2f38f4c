"""`dagger-edge bench`, `bench compare` and `bench plan` at the command line."""

import json
import sys
from pathlib import Path

import msgspec
import pytest
from bench_samples import result
from click.testing import CliRunner

from dagger_edge.cli import bench, main
from dagger_edge.runtime.bench import measure as measuring
from dagger_edge.runtime.bench.rows import decode_result
from dagger_edge.runtime.errors import UsageError


def run(*args, **environment):
    return CliRunner().invoke(main.cli, ["bench", *map(str, args)], env=environment)


@pytest.fixture
def results(tmp_path):
    """Files of results by name."""
    found = {
        "one": result(1),
        "same": result(2),
        "slow": result(3, scale=lambda what, _: 1.4 if what == "load" else 1.0),
        "threads": result(4, threads=(1, 2)),
    }
    paths = {name: tmp_path / f"{name}.json" for name in found}
    for name, made in found.items():
        paths[name].write_bytes(msgspec.json.encode(made))
    return paths


@pytest.fixture
def fake(monkeypatch):
    """What is asked for is noted, and nothing is measured: `tests/bench` does."""
    plans = []

    def measure(plan, progress, command):
        assert command.startswith("dagger-edge")
        plans.append(plan)
        progress("round 1 of 1")
        return result(1)

    monkeypatch.setattr(measuring, "measure", measure)
    return plans


def test_the_demo_is_measured_for_real(tmp_path):
    """All of it once, from the command line to the files."""
    out = tmp_path / "demo.json"
    args = ("--repeats", 1, "--questions", 1, "--prefill", 16, "--samples", 2, "--threads", 1, "--out", out)
    done = run(*args, XDG_CACHE_HOME=str(tmp_path))
    assert done.exit_code == 0, done.output
    made = decode_result(out.read_bytes())
    assert made.runs[0].threads == 1
    assert "## dagger-edge-demo, fp32, cpu, threads 1" in done.stdout
    assert "bench: warming up" in done.stderr
    planned = run("plan", "--cores", 2, "--bandwidth", 20, "--memory", 4, XDG_CACHE_HOME=str(tmp_path))
    assert planned.stdout.startswith("dagger-edge-demo, fp32, on 2 cores")


def test_options_become_the_plan(fake, tmp_path):
    run("--threads", "1, 2", "--prefill", "8", "--questions", 3, "--repeats", 4, "--samples", "1,2,8")
    run("--bundle", tmp_path / "a", "--bundle", tmp_path / "b", "--provider", "cuda")
    first, second = fake
    assert (first.threads, first.prefill, first.samples) == ((1, 2), (8,), (1, 2, 8))
    assert (first.questions, first.repeats, first.provider) == (3, 4, "cpu")
    assert (second.bundles, second.threads, second.provider) == ((tmp_path / "a", tmp_path / "b"), (None,), "cuda")


@pytest.mark.parametrize("form", ["json", "jsonl", "csv"])
def test_data_goes_to_stdout_and_the_table_to_stderr(fake, form):
    done = run("--format", form)
    assert "| answer " in done.stderr
    assert "| answer " not in done.stdout
    if form != "csv":
        assert all(json.loads(line) for line in (done.stdout.splitlines() if form == "jsonl" else [done.stdout]))


def test_the_table_is_on_stdout_by_default_and_beside_a_file(fake, tmp_path):
    assert "| answer " in run().stdout
    out = tmp_path / "rows.csv"
    done = run("--out", out)
    assert "| answer " in done.stdout
    assert out.read_text(encoding="utf-8").startswith("run.bundle,")


@pytest.mark.parametrize(("name", "begins"), [("page.html", "<!DOCTYPE html>"), ("plots.svg", "<?xml")])
def test_a_report_is_written(fake, tmp_path, name, begins):
    pytest.importorskip("matplotlib")
    assert run("--report", tmp_path / name).exit_code == 0
    assert (tmp_path / name).read_text(encoding="utf-8").startswith(begins)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--out", "result.txt"), "its ending is none of md, json, jsonl, csv"),
        (("--report", "page.pdf"), "its ending is none of .html, .svg"),
        (("--out", "not-there/result.json"), "there is no folder not-there"),
        (("--report", "not-there/page.html"), "there is no folder not-there"),
        (("--questions", 13), "from 1 to 12"),
        (("--threads", "2,2"), "threads has something twice"),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_is_measured(fake, args, words):
    error = run(*args).exception
    assert isinstance(error, UsageError)
    assert words in str(error)
    assert not fake


@pytest.mark.parametrize("value", ["", "0", "1,", "-1", "1.5", "two", "١", "9" * 12, ",".join(["1"] * 65)])
@pytest.mark.parametrize("option", ["--threads", "--prefill", "--samples"])
def test_a_list_that_is_none_is_a_usage_error(fake, option, value):
    done = run(option, value)
    assert done.exit_code == 2
    assert option in done.stderr
    assert not fake


def test_a_report_without_matplotlib_is_refused_before_anything_is_measured(fake, monkeypatch, tmp_path):
    """Minutes of measuring, and then an ImportError."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    error = run("--report", tmp_path / "page.html").exception
    assert isinstance(error, UsageError)
    assert "dagger-edge[report]" in str(error)
    assert not fake


def test_a_result_is_shown_again_whoever_measured_it(results, tmp_path):
    """A race of peers takes twenty minutes, and its picture would take another race."""
    pytest.importorskip("matplotlib")
    peers = Path(__file__).parents[2] / "benchmarks/results/peers_4b.json"
    for source, words in ((results["one"], "| answer "), (peers, "## llama.cpp: ")):
        out = tmp_path / "page.html"
        done = run("report", source, "--out", out)
        assert done.exit_code == 0, done.output
        assert words in done.stdout
        assert "<svg" in out.read_text("utf-8")
    assert isinstance(run("report", peers, "--out", "page.pdf").exception, UsageError)
    assert json.loads(run("report", peers, "--format", "json").stdout)["runs"][3]["engine"] == "llama.cpp"


def test_compare_tells_by_its_exit_code(results):
    """What a script goes by."""
    assert run("compare", results["one"], results["same"]).exit_code == 0
    worse = run("compare", results["one"], results["slow"])
    assert worse.exit_code == 1
    assert "1 of " in worse.stdout.splitlines()[0]
    better = run("compare", results["slow"], results["one"])
    assert better.exit_code == 0
    document = json.loads(run("compare", results["one"], results["slow"], "--format", "json").stdout)
    assert document["regressions"] == 1
    assert [change["what"] for change in document["changes"] if change["verdict"] == "worse"] == ["load"]


def test_options_of_subcommands_come_from_the_environment(results):
    """Named by both: an option of `bench` and one of `bench compare` may have one name."""
    args = ("compare", results["one"], results["slow"])
    assert run(*args, DAGGER_EDGE_BENCH_COMPARE_THRESHOLD="1").exit_code == 0
    assert run(*args, DAGGER_EDGE_BENCH_THRESHOLD="1").exit_code == 1


def test_options_of_bench_come_from_the_environment(fake):
    assert run(DAGGER_EDGE_BENCH_REPEATS="7").exit_code == 0
    assert fake[0].repeats == 7


def test_plan_predicts_from_a_file(results):
    args = ("--cores", 2, "--bandwidth", 34, "--memory", 16, "--from", results["threads"])
    text = run("plan", *args).stdout
    assert "predicted / measured" in text
    document = json.loads(run("plan", *args, "--format", "json").stdout)
    assert document["from_threads"] == 1
    assert document["fits"] is True
    assert document["predicted"]["answers_per_hour"] > document["here"]["answers_per_hour"]


def test_plan_without_any_measurement_says_what_to_do(tmp_path):
    done = run("plan", "--cores", 2, "--bandwidth", 34, "--memory", 16, XDG_CACHE_HOME=str(tmp_path / "empty"))
    assert isinstance(done.exception, UsageError)
    assert "run `dagger-edge bench`" in str(done.exception)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[]", b'{"result_version": 1}'])
def test_a_file_that_is_no_result_is_one_line(results, tmp_path, content):
    path = tmp_path / "other.json"
    path.write_bytes(content)
    for args in (
        ("compare", results["one"], path),
        ("plan", "--cores", 2, "--bandwidth", 1, "--memory", 1, "--from", path),
    ):
        error = run(*args).exception
        assert isinstance(error, UsageError)
        assert "other.json" in str(error)
        assert "\n" not in str(error)


def test_published_schemas_take_what_is_printed(results, fake):
    """The documents of `bench` are for programs: what they are told has to be true."""
    from jsonschema import Draft202012Validator

    folder = Path(__file__).resolve().parents[2] / "docs" / "schema"
    plan = ("plan", "--cores", 2, "--bandwidth", 34, "--memory", 16, "--from", results["threads"])
    for name, args in {
        "bench": (),
        "bench-compare": ("compare", results["one"], results["slow"]),
        "bench-plan": plan,
    }.items():
        schema = Draft202012Validator(json.loads((folder / f"{name}.schema.json").read_text(encoding="utf-8")))
        schema.validate(json.loads(run(*args, "--format", "json").stdout))


def test_the_group_alone_measures_and_a_subcommand_does_not(fake, results):
    assert bench.command.name == "bench"
    run("compare", results["one"], results["same"])
    assert not fake
    run()
    assert len(fake) == 1
