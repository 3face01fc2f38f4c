"""Writing what a race found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from dagger_edge.runtime.files import write_whole

from .result import to_result


def write(document: dict[str, Any], out: Path, bench: Path) -> None:
    """The document of a race to ``out``, the same in the form of `dagger-edge bench` to ``bench``."""
    write_whole(out, json.dumps(document, indent=2) + "\n")
    result = msgspec.json.format(msgspec.json.encode(to_result(document)), indent=1).decode()
    write_whole(bench, result + "\n")
