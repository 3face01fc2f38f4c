"""`dagger-edge bench plan` held against what was measured: two threads from one, and one from two.

    dagger-edge bench --threads 1,2 --out demo.json
    PYTHONPATH=src python benchmarks/plan_check.py demo.json [another.json ...]

Each bundle's run with one thread is told the memory speed of the run with two, and so the other way round, as one would
do for a machine that is to be bought. Printed and written is what was predicted by what was measured: 1.00 is right.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from dagger_edge.runtime.bench.plan import Figures, Machine, predict
from dagger_edge.runtime.bench.rows import BenchResult, decode_result
from dagger_edge.runtime.errors import UsageError
from dagger_edge.runtime.files import write_whole

ROOT = Path(__file__).resolve().parent.parent
_FIGURES = Figures.__struct_fields__


def checked(result: BenchResult) -> Iterator[dict[str, Any]]:
    """A row for each pair of runs of a bundle that differ in threads alone."""
    for here, run in enumerate(result.runs):
        for there, other in enumerate(result.runs):
            if run.weights_sha256 != other.weights_sha256 or here == there or not (run.threads and other.threads):
                continue
            if run.ceiling is None or other.ceiling is None:
                continue
            # Of several bundles, this one alone.
            alone = msgspec.structs.replace(
                result,
                runs=(run, other),
                rows=tuple(
                    msgspec.structs.replace(row, run=(here, there).index(row.run))
                    for row in result.rows
                    if row.run in (here, there)
                ),
            )
            machine = Machine(other.threads, other.ceiling.read_bytes_per_s, result.provenance.memory_bytes)
            made = predict(alone, machine, threads=run.threads)
            if made.measured is None:
                raise UsageError("a run is not found again")
            yield {
                "bundle": run.bundle,
                "precision": run.precision,
                "from_threads": run.threads,
                "threads": other.threads,
                "predicted": msgspec.to_builtins(made.predicted),
                "measured": msgspec.to_builtins(made.measured),
                "predicted_by_measured": {
                    name: round(getattr(made.predicted, name) / getattr(made.measured, name), 3) for name in _FIGURES
                },
            }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+", help="of `dagger-edge bench --threads 1,2 --format json`")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/plan_check.json")
    options = parser.parse_args()
    rows = []
    for path in options.results:
        result = decode_result(path.read_bytes())
        rows += [{"result": path.name, **row} for row in checked(result)]
    if not rows:
        raise SystemExit("none of the results has a bundle with two numbers of threads")
    names = " ".join(path.name for path in options.results)
    command = f"PYTHONPATH=src python benchmarks/plan_check.py {names}"
    write_whole(options.out, json.dumps({"command": command, "rows": rows}, indent=1) + "\n")
    for row in rows:
        figures = ", ".join(f"{name} {value:.2f}" for name, value in row["predicted_by_measured"].items())
        sys.stdout.write(f"{row['bundle']} {row['precision']}, {row['from_threads']} to {row['threads']}: {figures}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
