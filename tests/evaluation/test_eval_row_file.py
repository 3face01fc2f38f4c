"""The file of rows: nothing lost, nothing twice, nothing mixed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dagger_edge.runtime.errors import BusyError, UsageError
from dagger_edge.runtime.evaluation.questions import Question
from dagger_edge.runtime.evaluation.row_file import RowFile, read_run
from dagger_edge.runtime.evaluation.rows import EvalRow, Header, SetEntry, Settings
from dagger_edge.runtime.evaluation.run import evaluate
from dagger_edge.runtime.evaluation.score import Output

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = Settings(sets=(SetEntry("s", "0" * 64, 5),), grammar=True)
QUESTIONS = [Question(set="s", row=row, question=f"কত {row}?", answer=row) for row in range(1, 6)]


def header(settings=SETTINGS):
    return Header(evaluation=1, settings=settings, dagger_edge="0", created="now")


def fill(path, questions, asked=None):
    """Writes the rows that are missing; gives those that were asked for."""
    asked = [] if asked is None else asked

    def answer(question):
        asked.append(question.row)
        return Output(text=f"text of {question.row}\u2028\n")

    with RowFile(path, header()) as journal:
        list(evaluate(questions, answer, journal))
    return asked


def test_what_is_there_is_not_asked_again(tmp_path):
    """A resume that begins anew, or leaves out a row."""
    path = tmp_path / "rows.jsonl"
    assert fill(path, QUESTIONS[:3]) == [1, 2, 3]
    assert fill(path, QUESTIONS) == [4, 5]
    assert fill(path, QUESTIONS) == []
    assert [row.row for row in read_run(path).rows] == [1, 2, 3, 4, 5]
    assert read_run(path).rows[0].text == "text of 1\u2028\n"


@pytest.mark.parametrize("cut", [1, 20, 100])
def test_a_line_that_was_cut_short_is_written_again(tmp_path, cut):
    """A half line that the next row is glued to, so that both are lost."""
    path = tmp_path / "rows.jsonl"
    fill(path, QUESTIONS[:3])
    os.truncate(path, path.stat().st_size - cut)
    assert [row.row for row in read_run(path).rows] == [1, 2]
    assert fill(path, QUESTIONS) == [3, 4, 5]
    assert [row.row for row in read_run(path).rows] == [1, 2, 3, 4, 5]


def test_other_settings_are_refused_and_named(tmp_path):
    """Rows of two runs in one file."""
    path = tmp_path / "rows.jsonl"
    fill(path, QUESTIONS[:1])
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"other settings \(grammar true there, false now\)"):
        RowFile(path, header(Settings(sets=SETTINGS.sets, grammar=False)))
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"my notes", b"{}\n", b'{"evaluation":2}\n', b"\n"])
def test_a_file_of_something_else_is_left_as_it_is(tmp_path, content):
    """A user's file that rows are appended to, or that is cut."""
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="not a file of `dagger-edge eval`"):
        RowFile(path, header())
    assert path.read_bytes() == content


def test_a_row_that_is_there_twice_or_damaged_is_named(tmp_path):
    """A file that somebody joined from two, counted as if it were one run."""
    path = tmp_path / "rows.jsonl"
    fill(path, QUESTIONS[:2])
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines(keepends=True)[1])
    with pytest.raises(UsageError, match="line 4: row 1 of s is there twice"):
        read_run(path)
    path.write_bytes(whole.replace(b'"rejected"', b'"maybe"', 1))
    with pytest.raises(UsageError, match="line 2: Invalid enum value"):
        read_run(path)


def test_two_processes_do_not_write_one_file(tmp_path):
    """Every row there twice, since the command was started twice."""
    path = tmp_path / "rows.jsonl"
    with RowFile(path, header()), pytest.raises(BusyError, match="another process is writing"):
        RowFile(path, header())


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, "tests/evaluation")
from test_eval_row_file import QUESTIONS, fill
class Slow(list):
    def append(self, row):
        print(row, flush=True)
        time.sleep(0.01)
fill(Path(sys.argv[1]), QUESTIONS, Slow())
"""


def test_killed_at_any_moment_every_row_is_there_once(tmp_path):
    """A row that was on its way when the process died, there half or twice after the next start."""
    path = tmp_path / "rows.jsonl"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])}
    for rows in range(1, 5):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, env=environment, cwd=ROOT
        )
        assert process.stdout is not None
        # The second question is asked when the first one's row is on disk.
        process.stdout.readline()
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert len(read_run(path).rows) >= rows
    fill(path, QUESTIONS)
    assert sorted(json.loads(line)["row"] for line in path.read_text().split("\n")[1:-1]) == [1, 2, 3, 4, 5]


def test_rows_keep_what_they_are(tmp_path):
    """A field that the file does not hold, or reads back as another."""
    row = EvalRow(
        set="s", row=1, question="কত?", gold=2.5, outcome="failed", text="t", kind="RED", level="repaired",
        fixes=("prose",), error="node", tokens=3, steps=2, seconds=0.5, confidence=0.25,
    )  # fmt: skip
    with RowFile(tmp_path / "rows.jsonl", header()) as journal:
        journal.append(row)
    assert read_run(tmp_path / "rows.jsonl").rows == (row,)
