"""Starting the process of an engine, and asking it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

# Spinning threads of an engine end by themselves; this long nobody works after each request.
_REST_S = 0.3
_FOLDER = Path(__file__).resolve().parent.parent


class Peer:
    """An engine in a process of its own.

    Args:
        module: of this package.
        arguments: its command line.

    Attributes:
        name: how the engine is called in results.
        about: what it says about itself, and ``load_seconds`` from the start of its process.
        idle_cpu_s: processor time that it used while others worked.
    """

    def __init__(self, name: str, module: str, arguments: Sequence[str]) -> None:
        self.name, self.idle_cpu_s = name, 0.0
        paths = [str(_FOLDER), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        command = [sys.executable, "-m", f"peers.{module}", *arguments]
        begin = time.perf_counter()
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.about = {**self._answer()["about"], "load_seconds": round(time.perf_counter() - begin, 2)}

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Sends one request, and waits for its answer."""
        assert self._process.stdin is not None
        time.sleep(_REST_S)
        self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        self.idle_cpu_s += answer.pop("idle_cpu_s")
        return answer

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with status {self._process.wait()}; what it said is above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
