"""Several processes, of which each may die."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from batch_samples import Says, lines, rows_of, work

from dagger_edge.runtime.batch.work import Row
from dagger_edge.runtime.batch.workers import Workers
from dagger_edge.runtime.errors import BundleError, ModelError

HERE = Path(__file__).resolve().parent


def test_a_row_that_kills_its_process_fails_and_no_other_does(tmp_path):
    """A process that dies and takes the batch, or the rows of others, along."""
    rows = [Row(number, "die" if number == 7 else "text") for number in range(20)]
    done = work(tmp_path, rows, engine=Workers(2), ordered=True)
    assert (done.done, done.failed) == (20, 1)
    assert lines(tmp_path / "out.errors.jsonl") == [
        {
            "row": 7,
            "error": {"code": "worker_died", "message": "the process that worked on it died 2 times (exit code 7)"},
        }
    ]
    found = lines(tmp_path / "out.jsonl")
    assert [row["row"] for row in found] == [number for number in range(20) if number != 7]
    assert os.getpid() not in {row["result"]["pid"] for row in found}


def test_processes_that_all_die_end_the_batch(tmp_path):
    """A machine without memory, and every row is written down as bad."""
    with pytest.raises(ModelError, match="died one after another"):
        work(tmp_path, [Row(number, "die") for number in range(100)], engine=Workers(2))
    assert len(rows_of(tmp_path)) <= 3


def test_an_operator_that_cannot_be_opened_there_is_told_here(tmp_path):
    """A broken bundle that looks like processes that die."""
    with pytest.raises(BundleError, match="broken"):
        work(tmp_path, [Row(1, "text")], engine=Workers(1), task=Says(broken=True))


def test_no_process_outlives_a_driver_that_is_killed(tmp_path):
    """Models that stay in memory after a kill, one more with every attempt."""
    code = f"""
import sys
sys.path[:0] = [{str(HERE)!r}, {str(HERE.parents[1] / "src")!r}]
from batch_samples import work
from pathlib import Path
from dagger_edge.runtime.batch.work import Row
from dagger_edge.runtime.batch.workers import Workers
if __name__ == "__main__":
    work(Path({str(tmp_path)!r}), [Row(n, "slow 0.05") for n in range(1000)], engine=Workers(1))
"""
    script = tmp_path / "script.py"
    script.write_text(code)
    out = tmp_path / "out.jsonl"
    with subprocess.Popen([sys.executable, str(script)]) as driver:
        limit = time.monotonic() + 60
        while not (out.exists() and out.stat().st_size):
            assert time.monotonic() < limit
            time.sleep(0.02)
        worker = lines(out)[0]["result"]["pid"]
        os.kill(worker, 0)
        driver.send_signal(signal.SIGKILL)
    while time.monotonic() < limit and Path(f"/proc/{worker}").exists():
        time.sleep(0.02)
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
