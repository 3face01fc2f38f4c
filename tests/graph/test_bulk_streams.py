"""Bulk commands as processes: closed pipes, waiting readers, memory."""

import os
import subprocess
import sys
import threading
from pathlib import Path

from row_samples import TEXT, lines_of

from dagger_edge.cli.rows import MAX_ROW_BYTES

ROOT = Path(__file__).resolve().parents[2]


def start(*args, **options):
    # Unbuffered, no output could wait too long.
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": ""}
    command = [sys.executable, "-m", "dagger_edge", *args]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, **options)


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    """`head` behind the command, and a traceback or a message on the screen."""
    path = tmp_path / "many.jsonl"
    path.write_bytes(lines_of(TEXT) * 20_000)
    process = start("run", str(path), "--json")
    assert process.stdout.readline().startswith(b'{"line":1,')
    process.stdout.close()
    assert (process.wait(timeout=60), process.stderr.read()) == (0, b"")
    process.stderr.close()


def test_a_row_is_answered_before_the_next_one_is_there():
    """A conversation over pipes that stands still, because the answer waits in a buffer."""
    with start("run", "-", "--lines", "--json", stdin=subprocess.PIPE) as process:
        limit = threading.Timer(30, process.kill)
        limit.start()
        for number in (1, 2):
            process.stdin.write(lines_of(TEXT))
            process.stdin.flush()
            answer = process.stdout.readline()
            assert answer.startswith(b'{"line":%d,' % number)
        limit.cancel()
        _, summary_line = process.communicate(timeout=60)
    assert process.returncode == 0
    assert summary_line.startswith(b"2 rows: 2 strict")


def test_memory_does_not_grow_with_the_rows(tmp_path):
    """A file that is read whole, or a row that is kept until its end comes."""
    code = """
import resource, sys
from dagger_edge.cli.main import main
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""
    peaks = []
    for name, data in (
        ("small", lines_of(TEXT)),
        ("big", lines_of(TEXT, {"x": "y" * 1000}) * 20_000 + b"[" * 80_000_000),
    ):
        path = tmp_path / f"{name}.jsonl"
        path.write_bytes(data)
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        done = subprocess.run(
            [sys.executable, "-c", code, "run", str(path), "--json"], capture_output=True, env=environment, check=False
        )
        peaks.append(int(done.stderr.split()[-1]))
    assert peaks[1] - peaks[0] < 5 * MAX_ROW_BYTES / 1024
