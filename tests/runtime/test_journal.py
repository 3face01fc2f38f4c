"""A journal: what a kill leaves, who may write, and what happens where there is no room."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dagger_edge.runtime.errors import BusyError
from dagger_edge.runtime.journal import Journal, JournalError

ROOT = Path(__file__).resolve().parents[2]


def visit(line):
    if not line.startswith(b"row"):
        raise ValueError("not a line of a batch")


def recovered(path):
    """The lines that are left after opening ``path``, and the bytes that were cut off."""
    found = []
    with Journal(path) as journal:
        torn = journal.recover(lambda line: (visit(line), found.append(line)))
    assert path.read_bytes() == b"".join(line + b"\n" for line in found)
    return found, torn


def test_whole_lines_stay_and_a_torn_one_goes_wherever_it_is_torn(tmp_path):
    """A row of which half is there counts as done, or takes the one before it along."""
    whole, last = b"row 1\nrow 2\n", b"row 3, which is longer\n"
    path = tmp_path / "out"
    for length in range(len(last)):
        path.write_bytes(whole + last[:length])
        assert recovered(path) == ([b"row 1", b"row 2"], length)
    path.write_bytes(whole + last)
    assert recovered(path) == ([b"row 1", b"row 2", last[:-1]], 0)


@pytest.mark.parametrize("tail", [b"\0" * 4096, b"row \0\0\0", b"\0\0\0 3\n"])
def test_blocks_that_a_machine_lost_are_cut_off(tmp_path, tail):
    """After a power cut a file may end with zeros where data was not written yet."""
    path = tmp_path / "out"
    path.write_bytes(b"row 1\n" + tail)
    assert recovered(path) == ([b"row 1"], len(tail))


@pytest.mark.parametrize(
    "content", [b"a line of mine\n", b"row 1\nmine\n", b"row 1\nmine\nrow 2\n", b"row 1\n\0\nrow 2\n"]
)
def test_whole_lines_of_somebody_else_are_refused_and_left(tmp_path, content):
    """A file that is no batch's, of which everything is cut off as if it were torn."""
    path = tmp_path / "out"
    path.write_bytes(content)
    with Journal(path) as journal, pytest.raises(JournalError, match=r"out, line [12]: not a line of a batch"):
        journal.recover(visit)
    assert path.read_bytes() == content


def test_one_writes_at_a_time_and_a_dead_one_holds_nothing(tmp_path):
    """Two batches that write into each other; or a lock that outlives its process."""
    code = """
import sys
from pathlib import Path
from dagger_edge.runtime.journal import Journal
journal = Journal(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
"""
    path = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    ) as other:
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(BusyError, match="another process"):
            Journal(path)
        other.kill()
        other.wait()
        Journal(path).close()


@pytest.mark.parametrize("kind", ["folder", "device", "missing folder"])
def test_what_is_no_file_is_refused_in_one_line(tmp_path, kind):
    """A pipe or device that could not be read again; a traceback for a folder that is not there."""
    path = {"folder": tmp_path, "device": Path("/dev/null"), "missing folder": tmp_path / "no" / "out"}[kind]
    with pytest.raises(JournalError) as told:
        Journal(path)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)


def test_a_line_for_which_there_is_no_room_is_not_there_by_half(tmp_path):
    """Half a row at the end of a full disk, and the rows after it behind the half."""
    code = """
import resource, sys
from pathlib import Path
from dagger_edge.runtime.journal import Journal, JournalError
with Journal(Path(sys.argv[1])) as journal:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    try:
        for number in range(100):
            journal.append(b"row %02d, which is longer\\n" % number)
    except JournalError as error:
        print(error, number)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    journal.sync()
"""
    path = tmp_path / "out"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout == f"{path}: File too large 4\n"
    assert [line[:6] for line in path.read_bytes().splitlines()] == [b"row 00", b"row 01", b"row 02", b"row 03"]
