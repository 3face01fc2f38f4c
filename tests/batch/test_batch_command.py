"""`dagger-edge batch` at the command line, over the demo."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from batch_samples import lines, rows_of

ROOT = Path(__file__).resolve().parents[2]
QUESTIONS = [
    json.loads(line)["question"] for line in (ROOT / "tests/data/demo_questions.jsonl").read_text().splitlines()
]


def start(*args, before=None, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "dagger_edge", "batch", *map(str, args)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=before,  # noqa: PLW1509 (there are none)
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment},
    )


def run(*args, **options):
    with start(*args, **options) as process:
        out, told = process.communicate(timeout=120)
    assert out == ""
    return process.returncode, told


@pytest.fixture
def folder(tmp_path):
    """With ``in.jsonl``: three questions, of which the second is none."""
    rows = [{"id": "a", "question": QUESTIONS[0]}, {"id": "b", "question": ""}, {"id": "c", "question": QUESTIONS[1]}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.fixture
def long(tmp_path):
    """With ``in.jsonl``: so many questions that a signal comes in time."""
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(QUESTIONS[n % 20]) + "\n" for n in range(2000)))
    return tmp_path


def wait_for_rows(process, out, count=1):
    limit = time.monotonic() + 60
    while not (out.exists() and out.read_bytes().count(b"\n") >= count):
        assert process.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_a_file_of_questions_is_answered_once(folder):
    """All of it: results, the error, the summary; and nothing is done again, nor mixed with another batch."""
    code, told = run(folder / "in.jsonl", folder / "out.jsonl")
    assert (code, told) == (
        1,
        f"3 of 3 rows are done, 3 of them now; 1 without a result: see {folder}/out.errors.jsonl\n",
    )
    found = lines(folder / "out.jsonl")
    assert [(row["row"], row["id"], row["result"]["question"]) for row in found] == [
        (1, "a", QUESTIONS[0]),
        (3, "c", QUESTIONS[1]),
    ]
    assert found[0]["result"]["answer"] == 11
    assert lines(folder / "out.errors.jsonl")[0]["error"]["code"] == "no_question"
    (folder / "moved").mkdir()
    for name in ("out.jsonl", "out.errors.jsonl", "out.jsonl.batch.json"):
        (folder / name).rename(folder / "moved" / name)
    code, told = run(folder / "in.jsonl", folder / "moved/out.jsonl", "--workers", 1)
    assert (code, told.splitlines()[0]) == (1, "going on: 3 of 3 rows are done")
    code, told = run(folder / "in.jsonl", folder / "moved/out.jsonl", "--samples", 2)
    assert code == 2
    assert "samples is 2, it was null" in told
    (folder / "in.jsonl").write_text('{"question":"x"}\n')
    code, told = run(folder / "in.jsonl", folder / "moved/out.jsonl")
    assert (code, told.count("\n")) == (2, 1)
    assert "the input is another one" in told


def test_csv_and_votes_in_order_by_several_processes(tmp_path):
    """A task that does not travel, or threads and samples that are lost on the way."""
    text = "".join(f'{n},"{QUESTIONS[n]}"\n' for n in range(3))
    (tmp_path / "in.csv").write_text("no,text\n" + text)
    names = ("--question-field", "text", "--id-field", "no", "--samples", 2, "--max-new-tokens", 300)
    code, told = run(tmp_path / "in.csv", tmp_path / "out.jsonl", *names, "--workers", 2, "--ordered")
    assert code == 0, told
    found = [(row["row"], row["id"], row["result"]["samples"]) for row in lines(tmp_path / "out.jsonl")]
    assert found == [
        (1, "0", 2),
        (2, "1", 2),
        (3, "2", 2),
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_row_in_hand(long, number):
    """A service that is stopped, and a row that is there by half or is lost; another batch is kept out meanwhile."""
    out = long / "out.jsonl"
    with start(long / "in.jsonl", out, "--threads", 1) as process:
        wait_for_rows(process, out, 2)
        assert run(long / "in.jsonl", out)[0] == 5
        process.send_signal(number)
        told = process.communicate(timeout=60)[1].splitlines()
    assert process.returncode == 6
    assert told[0] == "stopping: the rows in hand are finished first; once more to stop at once"
    done = len(lines(out))
    assert told[-2] == f"{done} of 2,000 rows are done, {done} of them now; 0 without a result"
    assert told[-1] == "error: interrupted"
    assert [row["row"] for row in lines(out)] == list(range(1, done + 1))


def test_killed_and_gone_on_with(long):
    """A row that is lost or twice after SIGKILL, with the model at work; a torn line is told."""
    out, count = long / "out.jsonl", 0
    for _ in range(2):
        with start(long / "in.jsonl", out, "--threads", 1) as process:
            wait_for_rows(process, out, count + 1)
            process.kill()
        with out.open("ab") as file:
            file.write(b'{"row":1999,"resu')
        count = out.read_bytes().count(b"\n")
    with start(long / "in.jsonl", out, "--threads", 1) as process:
        wait_for_rows(process, out, count + 1)
        process.terminate()
        told = process.communicate(timeout=60)[1]
    assert told.startswith(
        f"cut off 17 bytes of a line that was not finished\ngoing on: {count} of 2,000 rows are done"
    )
    found = rows_of(long)
    assert found == list(range(1, len(found) + 1))


def test_a_full_disk_is_one_error_and_loses_nothing(long):
    """Rows that were told as done and are gone; a traceback; a batch that does not go on when there is room."""
    import resource

    out = long / "out.jsonl"
    code, told = run(
        long / "in.jsonl", out, before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9000, resource.RLIM_INFINITY))
    )
    done = lines(out)
    assert (code, told) == (
        2,
        f"error: {out}: File too large: the {len(done)} rows that are done stay done; mend it, and the same command"
        " goes on\n",
    )
    assert len(done) >= 2
    with start(long / "in.jsonl", out) as process:
        wait_for_rows(process, out, len(done) + 1)
        process.terminate()
        process.communicate(timeout=60)
    found = rows_of(long)
    assert found == list(range(1, len(found) + 1))


def test_a_disk_without_room_is_one_error_and_loses_nothing(long):
    """As above, on a real file system that is full: of a row, a part still finds room."""
    disk, saved = long / "disk", long / "saved"
    disk.mkdir()
    saved.mkdir()
    command = f"""
mount -t tmpfs -o size=64k none {disk} || exit 77
{sys.executable} -m dagger_edge batch {long}/in.jsonl {disk}/out.jsonl --threads 1
code=$?
cp {disk}/* {saved}
exit $code
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode in {1, 77}:
        pytest.skip(f"no file system can be mounted here: {done.stderr}")
    found = rows_of(saved)
    assert (done.returncode, done.stderr) == (
        2,
        f"error: {disk}/out.jsonl: No space left on device: the {len(found)} rows that are done stay done; mend it, and"
        " the same command goes on\n",
    )
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= 2


def test_a_folder_that_cannot_be_written_is_one_error(folder):
    """A traceback; or an hour of work before it is noticed."""
    closed = folder / "closed"
    closed.mkdir()
    closed.chmod(0o500)

    # Root may write anywhere by two capabilities, which PR_CAPBSET_DROP takes from what is run.
    library = ctypes.CDLL(None)
    code, told = run(
        folder / "in.jsonl", closed / "out.jsonl", before=lambda: [library.prctl(24, each, 0, 0, 0) for each in (1, 2)]
    )
    assert (code, told) == (2, f"error: {closed}/out.jsonl: Permission denied\n")
    assert list(closed.iterdir()) == []


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("in.jsonl", "in.jsonl"), "are not three files"),
        (("in.jsonl", "out.jsonl", "--errors", "in.jsonl"), "are not three files"),
        (("none.jsonl", "out.jsonl"), "none.jsonl: No such file"),
        (("in.txt", "out.jsonl"), "say what it is with --format"),
        (("in.jsonl", "no/out.jsonl"), "no/out.jsonl: No such file or directory"),
        (("in.jsonl", "out.jsonl", "--ray-address", "x:1"), "--ray-address is for --engine ray"),
        (("in.jsonl", "out.jsonl", "--temperature", "-1"), "temperature is -1.0"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_written(folder, monkeypatch, args, told):
    """An input that is overwritten; files that are left of a batch that never was."""
    from click.testing import CliRunner

    from dagger_edge.cli.batch import command
    from dagger_edge.runtime.errors import UsageError

    monkeypatch.chdir(folder)
    before = (folder / "in.jsonl").read_bytes()
    done = CliRunner().invoke(command, args)
    assert isinstance(done.exception, UsageError)
    assert told in str(done.exception)
    assert {path.name for path in folder.iterdir()} == {"in.jsonl"}
    assert (folder / "in.jsonl").read_bytes() == before


def test_time_left_is_told_in_two_units():
    """A time left that nobody can read."""
    from dagger_edge.cli.progress import duration

    told = [duration(seconds) for seconds in (0.4, 59, 61, 3599.7, 3_660, 90_000)]
    assert told == ["0 s", "59 s", "1 min 1 s", "1 h 0 min", "1 h 1 min", "1 d 1 h"]
