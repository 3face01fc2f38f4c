"""`dagger-edge solve` as a user runs it: a process of its own, the demo bundle, real questions."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dagger_edge.runtime.solver import demo_bundle

ROOT = Path(__file__).resolve().parents[2]
QUESTION = "রহিমের কাছে ৫টি আম ছিল। সে করিমকে ২টি আম দিল। রহিমের কাছে এখন কতটি আম আছে?"


def solve(*args, stdin=b"", stdout=subprocess.PIPE, **environment):
    command = [sys.executable, "-m", "dagger_edge", "solve", *map(str, args)]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment}
    return subprocess.run(command, input=stdin, stdout=stdout, stderr=subprocess.PIPE, env=env, check=False)


def failure(run):
    """The one line of an error; no traceback may stand beside it."""
    lines = run.stderr.decode().strip().splitlines()
    assert "Traceback" not in run.stderr.decode()
    assert lines[-1].startswith("error: ")
    return run.returncode, lines[-1]


def test_the_answer_stands_in_both_scripts_with_its_steps():
    run = solve(QUESTION)
    text = run.stdout.decode()
    assert run.returncode == 0
    assert "3" in text
    assert "৩" in text
    assert "রহিমের আম" in text
    assert run.stderr == b""


@pytest.mark.parametrize("how", ["argument", "stdin", "file"])
def test_every_way_of_asking_gives_the_same_json(how, tmp_path):
    path = tmp_path / "question.txt"
    path.write_text(QUESTION, encoding="utf-8")
    run = {
        "argument": lambda: solve(QUESTION, "--json"),
        "stdin": lambda: solve("-", "--json", stdin=QUESTION.encode()),
        "file": lambda: solve("--file", path, "--json"),
    }[how]()
    document = json.loads(run.stdout)
    assert document["answer"] == 3
    assert document["question"] == QUESTION
    assert document["result"]["answer_text_bn"] == "৩"


def test_a_byte_order_mark_is_not_part_of_the_question(tmp_path):
    path = tmp_path / "question.txt"
    path.write_text(QUESTION, encoding="utf-8-sig")
    assert json.loads(solve("--file", path, "--json").stdout)["question"] == QUESTION


def test_the_graph_that_is_printed_is_read_by_run(tmp_path):
    path = tmp_path / "graph.json"
    path.write_bytes(solve(QUESTION, "--graph").stdout)
    command = [sys.executable, "-m", "dagger_edge", "run", str(path), "--json"]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    run = subprocess.run(command, capture_output=True, env=env, check=True)
    assert json.loads(run.stdout)["answer"] == 3


@pytest.mark.parametrize(
    ("args", "stdin", "message"),
    [
        ((), b"", "give one question"),
        (("",), b"", "empty"),
        (("-",), b" \n", "empty"),
        (("ক" * 20_000,), b"", "20,000 characters"),
        (("-",), "ক".encode() * 20_000, "32,000 bytes"),
        (("-",), b"\xff\xfe\x00", "not UTF-8"),
        (("--file", "/nonexistent/question.txt"), b"", "/nonexistent/question.txt"),
        ((QUESTION, "--file", "x.txt"), b"", "give one question"),
        ((QUESTION, "--json", "--graph"), b"", "not both"),
    ],
)
def test_a_bad_question_is_one_line_and_exit_code_2(args, stdin, message):
    code, line = failure(solve(*args, stdin=stdin))
    assert code == 2
    assert message in line


def test_a_question_past_the_context_names_both_numbers():
    code, line = failure(solve("রহিম ৫টি আম খেল। " * 300))
    assert code == 2
    assert "1,024" in line


def test_a_free_graph_that_is_cut_off_gives_no_answer():
    run = solve(QUESTION, "--free", "--max-new-tokens", 20)
    code, line = failure(run)
    assert code == 1
    assert "cut off at the limit" in line
    assert run.stdout == b""


def test_a_limit_that_no_graph_keeps_is_refused_with_what_one_needs():
    """Under the grammar there is no cut off graph: a limit too small has to be an error before the model runs."""
    code, line = failure(solve(QUESTION, "--max-new-tokens", 20))
    assert code == 2
    needed = int(re.search(r"allow (\d+) or more", line)[1])
    assert failure(solve(QUESTION, "--max-new-tokens", needed - 1))[0] == 2
    assert solve(QUESTION, "--max-new-tokens", needed).returncode in {0, 1}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--temperature", 0),
        ("--temperature", "nan"),
        ("--top-k", -1),
        ("--top-p", 1.5),
        ("--min-p", -0.1),
        ("--seed", -1),
    ],
)
def test_sampling_out_of_range_is_refused_by_name(option, value):
    code, line = failure(solve(QUESTION, option, value))
    assert code == 2
    assert option[2:].replace("-", "_") in line


def test_the_same_seed_draws_the_same_graph_with_and_without_drafts():
    """Drafts that took part in the drawing would make answers depend on the machine's speed."""
    arguments = (QUESTION, "--json", "--temperature", 3, "--top-p", 1)
    texts = {
        seed: [
            json.loads(solve(*arguments, "--seed", seed, *more).stdout or "{}").get("text")
            for more in ((), ("--no-drafts",))
        ]
        for seed in (1, 2, 3)
    }
    assert all(first == second for first, second in texts.values())
    assert len({first for first, _ in texts.values()}) > 1


def test_samples_are_counted_and_shown():
    vote = json.loads(solve(QUESTION, "--samples", 4, "--temperature", 1.2, "--json").stdout)
    assert vote["samples"] == 4
    assert sum(candidate["votes"] for candidate in vote["candidates"]) + len(vote["failures"]) == 4
    assert vote["confidence"] == vote["candidates"][0]["votes"] / 4
    assert vote["answer"] == vote["solution"]["answer"]
    text = solve(QUESTION, "--samples", 4, "--temperature", 1.2).stdout.decode()
    assert f"confidence: {vote['confidence']:.0%}" in text


def test_nodes_are_shown_as_they_close_and_stdout_is_the_result_alone():
    streamed, plain = solve(QUESTION, "--stream"), solve(QUESTION)
    assert streamed.stdout == plain.stdout
    assert plain.stderr == b""
    assert [line.split(",")[0].strip() for line in streamed.stderr.decode().splitlines()] == [
        "n1",
        "n2",
        "n3",
        "final_result",
    ]


@pytest.fixture
def bundle(tmp_path):
    return Path(shutil.copytree(demo_bundle(), tmp_path / "bundle"))


def test_a_missing_bundle_is_exit_code_4(tmp_path):
    code, line = failure(solve(QUESTION, "--bundle", tmp_path / "nothing"))
    assert code == 4
    assert "nothing" in line


def test_a_truncated_bundle_is_exit_code_4_even_unverified(bundle):
    weights = bundle / "model.onnx.data"
    os.truncate(weights, weights.stat().st_size - 1)
    code, line = failure(solve(QUESTION, "--bundle", bundle, "--no-verify"))
    assert code == 4
    assert "model.onnx.data" in line


def test_one_flipped_bit_in_the_weights_is_noticed(bundle):
    weights = bundle / "model.onnx.data"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    code, line = failure(solve(QUESTION, "--bundle", bundle))
    assert code == 4
    assert "altered" in line


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_a_broken_file_that_nobody_verified_is_one_line(bundle, name):
    path = bundle / name
    path.write_bytes(b"\x08" * path.stat().st_size)
    code, line = failure(solve(QUESTION, "--bundle", bundle, "--no-verify"))
    assert code == 4
    assert name in line


def test_cuda_without_a_gpu_build_is_exit_code_3_and_no_silent_cpu_run():
    code, line = failure(solve(QUESTION, "--provider", "cuda"))
    assert code == 3
    assert "CUDAExecutionProvider" in line


def test_options_come_from_the_environment():
    assert json.loads(solve(QUESTION, DAGGER_EDGE_SOLVE_JSON="1").stdout)["answer"] == 3


def test_a_full_disk_under_the_result_is_one_line():
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        code, line = failure(solve(QUESTION, stdout=full))
    assert code == 2
    assert "No space left" in line


def test_a_reader_that_went_away_is_no_error():
    read, write = os.pipe()
    os.close(read)
    run = solve(QUESTION, stdout=write)
    os.close(write)
    assert run.returncode == 0
    assert run.stderr == b""
