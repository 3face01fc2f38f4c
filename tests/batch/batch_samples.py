"""Batches over an operator that needs no model: what a row says is what happens to it."""

import json
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass

from dagger_edge.runtime.batch.batch import run_batch
from dagger_edge.runtime.batch.ledger import Ledger
from dagger_edge.runtime.batch.local import InProcess
from dagger_edge.runtime.batch.state import InputMark, State
from dagger_edge.runtime.batch.work import RowFailedError
from dagger_edge.runtime.errors import BundleError

STATE = State(InputMark(1, "a"), {"samples": None}, "out.errors.jsonl")


@dataclass(frozen=True)
class Says:
    """Gives the text back. A text "fail" fails, "bug" is an error nobody thought of, "die" ends the process, and
    "slow 0.1 …" takes so many seconds; ``broken`` cannot be opened."""

    broken: bool = False

    @contextmanager
    def open(self):
        if self.broken:
            raise BundleError("bundle here: broken")
        yield self._work

    @staticmethod
    def _work(text):
        first, *rest = text.split()
        if first == "fail":
            raise RowFailedError("no_answer", f"nothing for {text}")
        if first == "bug":
            raise ZeroDivisionError("not thought of")
        if first == "die":
            os._exit(7)
        if first == "slow":
            time.sleep(float(rest[0]))
        return {"text": text, "pid": os.getpid()}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def rows_of(folder):
    """The rows of both files, as numbers."""
    return [row["row"] for name in ("out.jsonl", "out.errors.jsonl") for row in lines(folder / name)]


def work(folder, rows, *, engine=None, task=None, state=STATE, **options):
    """One run of a batch in ``folder``."""
    with Ledger(folder / "out.jsonl", state) as ledger:
        return run_batch(rows, task or Says(), engine or InProcess(), ledger, **options)
