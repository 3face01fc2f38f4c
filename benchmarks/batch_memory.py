"""Peak memory of a batch by the number of its rows, with an operator that does nothing; of a new one and of one that is
gone on with when all but the last tenth is done.

    python benchmarks/batch_memory.py [--rows 10000 1000000] [--form jsonl] [--ordered] [--work DIR]

Each in a process of its own. Prints a JSON line each.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagger_edge.cli.tables import Format, Table
from dagger_edge.runtime.batch.batch import run_batch
from dagger_edge.runtime.batch.ledger import Ledger
from dagger_edge.runtime.batch.local import InProcess
from dagger_edge.runtime.batch.state import InputMark, State
from dagger_edge.runtime.batch.stopping import Stop
from dagger_edge.runtime.batch.work import Operator


@dataclass(frozen=True)
class Nothing:
    """Gives back how long the text is."""

    @contextmanager
    def open(self) -> Iterator[Operator]:
        """The operator."""
        yield lambda text: {"length": len(text)}


def main() -> None:
    """The command line of this script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--form", choices=["jsonl", "csv", "parquet"], default="jsonl")
    parser.add_argument("--ordered", action="store_true")
    parser.add_argument("--work")
    options = parser.parse_args()
    for rows in options.rows:
        with tempfile.TemporaryDirectory(dir=options.work) as folder:
            source = Path(folder) / f"in.{options.form}"
            write_input(source, rows)
            for until in (rows - rows // 10, rows):
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    found = pool.apply(run, (source, options.form, until, options.ordered))
                print(json.dumps({"rows": rows, "form": options.form, "ordered": options.ordered, **found}))  # noqa: T201


def run(source: Path, form: Format, until: int, ordered: bool) -> dict[str, Any]:
    """Works until so many rows are done; MiB at the peak and seconds."""
    began = time.monotonic()
    table, stop = Table(source, form), Stop()
    total = table.count()

    def tell(progress: Any) -> None:
        stop.asked = progress.done >= until

    with Ledger(source.with_name("out.jsonl"), State(InputMark.of(source), {}, "out.errors.jsonl")) as ledger:
        before, read_s = len(ledger.done), time.monotonic() - began
        done = run_batch(table.rows(), Nothing(), InProcess(), ledger, ordered=ordered, stopped=stop, tell=tell)
    return {
        "total": total,
        "before": before,
        "done": done.done,
        "until_first_row_s": round(read_s, 2),
        "seconds": round(time.monotonic() - began, 2),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def write_input(path: Path, rows: int) -> None:
    """Questions of a hundred bytes or so, each with an id."""
    texts = (f"রহিমের কাছে {number}টি আম ছিল। সে ২টি খেল।" for number in range(rows))
    if path.suffix == ".parquet":
        from pyarrow import Table as Arrow
        from pyarrow import parquet

        parquet.write_table(Arrow.from_pydict({"id": list(range(rows)), "question": list(texts)}), path)
        return
    with path.open("w", encoding="utf-8") as file:
        if path.suffix == ".csv":
            file.write("id,question\n")
        for number, text in enumerate(texts):
            row = {"id": f"q{number}", "question": text}
            file.write(f"q{number},{text}\n" if path.suffix == ".csv" else json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
