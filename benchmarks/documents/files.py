"""The committed results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dagger_edge.runtime.bench.rows import BenchResult, decode_result

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks/results"
DOCS = ROOT / "docs"


def bench(name: str) -> BenchResult | None:
    """A result in the form of `dagger-edge bench`; None where it was not measured yet.

    Raises:
        ValueError: the file is of another form.
    """
    path = RESULTS / name
    return decode_result(path.read_bytes()) if path.exists() else None


def document(name: str) -> Any:
    """A result in a form of its own; None where it was not measured yet."""
    path = RESULTS / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def digest(names: list[str]) -> str:
    """Of the content of result files, those that are missing left out."""
    found = hashlib.sha256()
    for name in names:
        if (RESULTS / name).exists():
            found.update((RESULTS / name).read_bytes())
    return found.hexdigest()[:16]


def sentences(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of Markdown with words in its cells, which need no columns of one width."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
