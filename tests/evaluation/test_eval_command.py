"""`dagger-edge eval` as a user runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
COMMAND = [sys.executable, "-m", "dagger_edge", "eval"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
GOLD = [DATA / "mgsm_bn_gold.jsonl", DATA / "msvamp_bn_gold.jsonl"]


def run(*args, **environment):
    command = [*COMMAND, *map(str, args)]
    return subprocess.run(command, capture_output=True, env=ENVIRONMENT | environment, check=False)


def document(*args):
    made = run(*args, "--format", "json")
    assert made.returncode == 0, made.stderr.decode()
    return json.loads(made.stdout)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """The 725 gold graphs as the texts of a model."""
    path = tmp_path_factory.mktemp("gold") / "outputs.jsonl"
    path.write_bytes(b"".join(file.read_bytes() for file in GOLD))
    return path


def test_gold_graphs_fed_as_outputs_are_all_right_without_a_model(tmp_path, outputs):
    """Any of the 725 lost between reader, matching, executor and comparison; or onnxruntime needed for it."""
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('hidden')")
    path = f"{tmp_path}{os.pathsep}{ROOT / 'src'}"
    out = tmp_path / "rows.jsonl"
    sets = [argument for file in GOLD for argument in ("--data", file)]
    made = run(*sets, "--outputs", outputs, "--out", out, "--format", "json", PYTHONPATH=path)
    assert made.returncode == 0, made.stderr.decode()
    found = json.loads(made.stdout)
    assert found["complete"]
    assert (found["total"]["questions"], found["total"]["correct"], found["total"]["strict"]) == (725, 725, 725)
    assert found["total"]["accuracy"] == 1
    assert (found["total"]["distractors"]["precision"], found["total"]["distractors"]["recall"]) == (1, 1)
    assert [item["benchmark"] for item in found["sets"]] == ["MGSM", "MSVAMP"]


def test_outputs_that_belong_to_other_questions_are_refused(tmp_path, outputs):
    """Texts shifted by one, which scores every one of them against another question."""
    lines = outputs.read_text().splitlines(keepends=True)
    shifted = tmp_path / "shifted.jsonl"
    shifted.write_text("".join([*lines[1:725], lines[0]]))
    sets = [argument for file in GOLD for argument in ("--data", file)]
    made = run(*sets, "--outputs", shifted, "--out", tmp_path / "rows.jsonl")
    assert made.returncode == 2
    assert "line 1: it is of another question than row 1 of mgsm_bn_gold" in made.stderr.decode()
    shifted.write_text("".join(lines[:7]))
    assert "7 texts for 725 questions" in run(*sets, "--outputs", shifted, "--out", tmp_path / "r").stderr.decode()


def test_outputs_in_another_order_are_matched_by_name(tmp_path):
    """A batch server's results, which come as they are done."""
    questions, texts = tmp_path / "q.jsonl", tmp_path / "t.jsonl"
    rows = [json.loads(line) for line in GOLD[1].read_text().splitlines()[:9]]
    questions.write_text(
        "".join(json.dumps({"id": f"q{index}", **row, "graph": None}) + "\n" for index, row in enumerate(rows))
    )
    texts.write_text(
        "".join(
            json.dumps({"custom_id": f"q{index}", "output": json.dumps(row["graph"])}) + "\n"
            for index, row in reversed(list(enumerate(rows)))
        )
    )
    out = tmp_path / "rows.jsonl"
    found = document("--data", questions, "--outputs", texts, "--match", "id", "--out", out)
    assert found["total"]["correct"] == 9
    texts.write_text(texts.read_text().replace('"q3"', '"q4"'))
    again = run("--data", questions, "--outputs", texts, "--match", "id", "--out", tmp_path / "r2")
    assert '"q4" is there twice' in again.stderr.decode()


def test_the_demo_answers_resumes_and_is_compared_with_its_vote(tmp_path):
    """A model's run that asks again what it has, a vote scored as one graph, a comparison that finds neither."""
    greedy, voted = tmp_path / "greedy.jsonl", tmp_path / "voted.jsonl"
    data = ("--data", f"msvamp={GOLD[1]}")
    assert document(*data, "--out", greedy, "--rows", "1-2")["total"]["questions"] == 2
    found = document(*data, "--out", greedy, "--rows", "1-4")
    assert found["total"]["questions"] == 4
    assert found["header"]["settings"]["precision"] == "fp32"
    assert found["total"]["cost"]["steps"] > 1
    assert len(greedy.read_text().splitlines()) == 5
    vote = document(*data, "--out", voted, "--rows", "1-4", "--samples", 3)
    assert 0 < vote["total"]["confidence"] <= 1
    page = tmp_path / "page.html"
    made = run("compare", greedy, voted, "--report", page)
    assert made.returncode == 0, made.stderr.decode()
    assert "McNemar" in made.stdout.decode()
    assert page.read_text().startswith("<!DOCTYPE html>")
    other = run(*data, "--out", greedy, "--free")
    assert other.returncode == 2
    assert "other settings (grammar true there, false now)" in other.stderr.decode()


def test_a_question_without_room_in_the_context_is_a_row_that_says_so(tmp_path):
    """A run that ends at the first question that is too long, as all are for the demo in the card's prompt."""
    out = tmp_path / "rows.jsonl"
    found = document("--data", GOLD[1], "--rows", "1-2", "--prompt", "card", "--out", out)
    assert found["total"]["rejected"] == 2
    assert found["header"]["settings"]["prompt"] == "card"
    assert "the model's context is 1,024" in json.loads(out.read_text().splitlines()[1])["error"]


def test_an_interruption_keeps_the_rows_and_says_so(tmp_path):
    """Ctrl-C that loses what was answered, or ends in a traceback."""
    out = tmp_path / "rows.jsonl"
    command = [*COMMAND, "--data", str(GOLD[1]), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and (not out.exists() or out.read_bytes().count(b"\n") < 3):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 6
    assert b"has all rows so far" in told
    assert b"Traceback" not in told
    assert out.read_bytes().endswith(b"\n")
    assert b"Not complete" in run("summary", out).stdout


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ((), "give a test set with --data"),
        (("--data", "nothing.csv", "--out", "x"), "nothing.csv: No such file"),
        (("--data", str(GOLD[0]), "--out", "x", "--match", "id"), "are for --outputs"),
        (("--data", str(GOLD[0]), "--data", str(GOLD[0]), "--out", "x"), "two test sets are called"),
        (("compare", str(GOLD[0]), str(GOLD[0])), "not a file of `dagger-edge eval`"),
        (("--data", str(GOLD[0]), "--out", "x", "--outputs", str(GOLD[0]), "--samples", "3"), "leave out --bundle"),
        (("--data", str(GOLD[0]), "--out", "x", "--rows", "7-3"), "is no range of rows"),
        (("compare", "a", "b", "--report", "a.txt"), "ends with .html"),
    ],
)
def test_a_request_that_cannot_be_served_is_one_line(args, told):
    """A traceback, or a run of an hour that fails at its end."""
    made = run(*args)
    assert made.returncode == 2
    assert told in made.stderr.decode()
    assert "Traceback" not in made.stderr.decode()
