"""Kills batches at random moments and goes on with them: every row must be there exactly once.

    python benchmarks/batch_kills.py --kills 200                    # one process, an operator that takes milliseconds
    python benchmarks/batch_kills.py --kills 50 --workers 2
    python benchmarks/batch_kills.py --kills 20 --demo              # `dagger-edge batch` with the demo
    python benchmarks/batch_kills.py --kills 50 --engine ray        # the driver, on a cluster of three nodes here

A third of the kills come at any moment of the first second (start, lock, reading again what is there), the others up to
half a second after the first new row. After each, all whole lines that were there before must be there still. A batch
that ends before the kills are used up is checked, and another one begun. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagger_edge.cli.tables import Table
from dagger_edge.runtime.batch.batch import run_batch
from dagger_edge.runtime.batch.ledger import Ledger
from dagger_edge.runtime.batch.state import InputMark, State
from dagger_edge.runtime.batch.work import Engine, Operator, RowFailedError

_QUESTIONS = Path(__file__).parents[1] / "tests" / "data" / "msvamp_bn_gold.jsonl"
_EARLY_S, _LATE_S = 1.0, 0.5
# A machine that is shared may stand still for long.
_LIMIT_S = 3600.0


@dataclass(frozen=True)
class Cheap:
    """An operator that waits about ``ms`` milliseconds, fails one row in fifty, and whose result can be checked."""

    ms: float

    @contextmanager
    def open(self) -> Iterator[Operator]:
        """The operator."""
        yield self._work

    def _work(self, text: str) -> dict[str, Any]:
        mark = zlib.crc32(text.encode())
        time.sleep(self.ms / 1000 * (0.5 + mark % 100 / 100))
        if mark % 50 == 0:
            raise RowFailedError("no_answer", f"nothing for {mark}")
        return {"answer": mark}


@dataclass
class Counts:
    """What is reported."""

    kills: int = 0
    before_a_row: int = 0
    torn: int = 0
    batches: int = 0
    seconds: float = 0.0


def main() -> None:
    """Kills, goes on, checks, reports."""
    options = _options()
    if options.child:
        _child(options)
        return
    with tempfile.TemporaryDirectory(dir=options.work) as folder, _cluster(options) as address:
        counts = _campaign(options, Path(folder), address)
    report = {"engine": options.engine, "workers": options.workers, "ordered": options.ordered, "demo": options.demo}
    print(json.dumps({**report, "rows": options.rows, **vars(counts), "every_row_exactly_once": True}))  # noqa: T201


def _campaign(options: argparse.Namespace, folder: Path, address: str | None) -> Counts:
    counts, moments, began = Counts(), random.Random(options.seed), time.monotonic()
    while counts.kills < options.kills:
        place = folder / str(counts.batches)
        place.mkdir()
        _write_input(place / "in.jsonl", options.rows)
        while counts.kills < options.kills and _is_killed(options, place, address, moments, counts):
            pass
        # What is left, undisturbed.
        with _start(options, place, address) as last:
            code = last.wait(_LIMIT_S)
        _check(code in {0, 1}, f"ended with {code}: {(place / 'log').read_text()[-2000:]}")
        _check_rows(place, options)
        counts.batches += 1
    counts.seconds = round(time.monotonic() - began, 1)
    return counts


def _is_killed(
    options: argparse.Namespace, place: Path, address: str | None, moments: random.Random, counts: Counts
) -> bool:
    """Starts the batch and kills it at a random moment. False: it had ended before."""
    before = [_bytes(path) for path in _files(place)]
    with _start(options, place, address) as process:
        if moments.random() < 1 / 3:
            time.sleep(moments.uniform(0, _EARLY_S))
        else:
            _wait_for_row(process, place, sum(map(len, before)))
            time.sleep(moments.uniform(0, _LATE_S))
        if process.poll() is not None:
            _check(process.returncode in {0, 1}, f"ended with {process.returncode}: {(place / 'log').read_text()}")
            return False
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    counts.kills += 1
    after = [_bytes(path) for path in _files(place)]
    for old, new in zip(before, after, strict=True):
        _check(new.startswith(old[: old.rfind(b"\n") + 1]), "a whole line is gone, or another one")
        counts.torn += bool(new) and not new.endswith(b"\n")
    counts.before_a_row += before == after
    if counts.kills % 20 == 0:
        print(f"{counts.kills} kills, {sum(data.count(10) for data in after)} rows", file=sys.stderr)  # noqa: T201
    return True


def _wait_for_row(process: subprocess.Popen[bytes], place: Path, size: int) -> None:
    limit = time.monotonic() + _LIMIT_S
    while process.poll() is None and sum(path.stat().st_size for path in _files(place) if path.exists()) <= size:
        _check(time.monotonic() < limit, "no row comes")
        time.sleep(0.01)


@contextmanager
def _start(options: argparse.Namespace, place: Path, address: str | None) -> Iterator[subprocess.Popen[bytes]]:
    source, out = str(place / "in.jsonl"), str(place / "out.jsonl")
    if options.demo:
        engine = ["--engine", options.engine, *(["--ray-address", address] if address else [])]
        workers = ["--workers", str(options.workers)] if options.workers else []
        command = ["-m", "dagger_edge", "batch", source, out, *engine, *workers, *(["--ordered"] * options.ordered)]
    else:
        command = [__file__, *sys.argv[1:], "--child", str(place), *(["--address", address] if address else [])]
    with (place / "log").open("ab") as log, subprocess.Popen([sys.executable, *command], stderr=log) as process:
        try:
            yield process
        finally:
            process.kill()


def _child(options: argparse.Namespace) -> None:
    """One run of a batch, as `dagger-edge batch` does it."""
    place = Path(options.child)
    table = Table(place / "in.jsonl", "jsonl")
    state = State(InputMark.of(table.path), {"ordered": options.ordered}, "out.errors.jsonl")
    with Ledger(place / "out.jsonl", state) as ledger:
        run_batch(table.rows(), Cheap(options.row_ms), _engine(options), ledger, ordered=options.ordered)


def _engine(options: argparse.Namespace) -> Engine:
    if options.engine == "ray":
        from dagger_edge.runtime.batch.cluster import Cluster

        return Cluster(address=options.address, workers=options.workers, block_rows=8)
    if options.workers:
        from dagger_edge.runtime.batch.workers import Workers

        return Workers(options.workers)
    from dagger_edge.runtime.batch.local import InProcess

    return InProcess()


@contextmanager
def _cluster(options: argparse.Namespace) -> Iterator[str | None]:
    """A Ray cluster of three nodes on this machine, one of them without processors for the driver."""
    if options.engine != "ray":
        yield None
        return
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        yield cluster.address
    finally:
        cluster.shutdown()


def _write_input(path: Path, rows: int) -> None:
    questions = [json.loads(line)["question"] for line in _QUESTIONS.read_text(encoding="utf-8").splitlines()]
    with path.open("w", encoding="utf-8") as file:
        for number in range(1, rows + 1):
            row = {"id": f"q{number}", "question": f"{questions[number % len(questions)]} ({number})"}
            if number % 100 == 0:
                del row["question"]
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _check_rows(place: Path, options: argparse.Namespace) -> None:
    """Every row is in one of the files, once, with its id and its own result, in order if that was asked for."""
    out, errors = ([json.loads(line) for line in _bytes(path).splitlines()] for path in _files(place))
    numbers = sorted(row["row"] for row in out + errors)
    _check(numbers == list(range(1, options.rows + 1)), f"{len(numbers)} rows, {len(set(numbers))} of them different")
    _check(all(row["id"] == f"q{row['row']}" for row in out + errors), "an id is another row's")
    if options.ordered:
        for rows in (out, errors):
            _check([row["row"] for row in rows] == sorted(row["row"] for row in rows), "not in order")
    texts = [json.loads(line).get("question", "") for line in _bytes(place / "in.jsonl").splitlines()]
    for row in out:
        text, result = texts[row["row"] - 1], row["result"]
        is_its_own = (
            result["question"] == text.strip() if options.demo else result["answer"] == zlib.crc32(text.encode())
        )
        _check(is_its_own, f"row {row['row']} has another row's result")


def _files(place: Path) -> tuple[Path, Path]:
    return place / "out.jsonl", place / "out.errors.jsonl"


def _bytes(path: Path) -> bytes:
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    return b""


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise SystemExit(f"FAILED: {what}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--row-ms", type=float, default=6.0)
    parser.add_argument("--engine", choices=["local", "ray"], default="local")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--ordered", action="store_true")
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--address", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
