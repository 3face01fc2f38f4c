"""Asking what may end a process (a broken extension, a lack of memory) of a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

_WORKER = "dagger_edge.runtime.doctor.worker"
# Modules are imported in a second where they work; a large model may read its question for minutes.
IMPORT_S, ANSWER_S = 120.0, 1800.0
_CAUSES = {
    signal.SIGILL: "the processor lacks an instruction that it was built for",
    signal.SIGKILL: "most likely for lack of memory",
    signal.SIGSEGV: "its compiled part is damaged, or does not fit this system",
    signal.SIGBUS: "a file was cut short, or memory has run out",
    signal.SIGABRT: "its compiled part gave up",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a task.

    Attributes:
        value: the result; None where there is none.
        error: why there is none, in a line.
        kind: the error's class; "Crash" where the process ended, "Timeout" where it took too long.
        said: the end of what libraries printed meanwhile.
        network: how the process was kept from the network.
    """

    value: dict[str, Any] | None = None
    error: str = ""
    kind: str = ""
    said: str = ""
    network: str = ""

    @property
    def ended(self) -> bool:
        """Whether the process did not survive the task."""
        return self.kind in {"Crash", "Timeout"}


@dataclass(slots=True)
class Probe:
    """A process that is started when it is asked, and anew after a task has ended it. It imports from where this one
    does, and has no network."""

    _process: subprocess.Popen[bytes] | None = None
    _said: IO[bytes] | None = None

    def ask(self, *task: str, seconds: float = IMPORT_S) -> Answer:
        """The answer to a task of `worker`, by its name and arguments; no task is an error here."""
        try:
            process = self._started()
        except OSError as error:
            return Answer(error=f"no process can be started ({error.strerror})", kind="Crash")
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(task).encode() + b"\n")
            process.stdin.flush()
        if not select.select([process.stdout], [], [], seconds)[0]:
            self.close()
            return Answer(error=f"no answer within {seconds:g} s", kind="Timeout")
        line = process.stdout.readline()
        said = self._new_words()
        if line.endswith(b"\n"):
            return Answer(**json.loads(line), said=said)
        code = process.wait()
        self.close()
        return Answer(error=_describe_end(code), kind="Crash", said=said)

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            with self._process as process:
                process.kill()
        if self._said is not None:
            self._said.close()
        self._process = self._said = None

    def __enter__(self) -> Probe:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._said = _unnamed_file()
            self._process = subprocess.Popen(
                [sys.executable, "-m", _WORKER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL if self._said is None else self._said,
                # Nothing may be left to be written to a process that is gone.
                bufsize=0,
                # Interruptions are for us: we end the process.
                start_new_session=True,
                env=_environment(),
            )
        return self._process

    def _new_words(self) -> str:
        """The end of what was printed since the last task."""
        if self._said is None:
            return ""
        # Position and file are shared with the process, which writes at the end.
        data = os.pread(self._said.fileno(), 1 << 16, 0)
        self._said.truncate(0)
        self._said.seek(0)
        return data.decode(errors="replace")


def _environment() -> dict[str, str]:
    """Ours, with which modules are found where this process finds them, and nowhere else."""
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    return {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1", "PYTHONUTF8": "1"}


def _unnamed_file() -> IO[bytes] | None:
    """One that needs no disk where the system has such; None where there is no room for any."""
    try:
        if hasattr(os, "memfd_create"):
            return open(os.memfd_create("doctor"), "r+b", buffering=0)  # noqa: PTH123 (it has no path)
        return tempfile.TemporaryFile(buffering=0)
    except OSError:
        return None


def _describe_end(code: int) -> str:
    if code >= 0:
        return f"the process ended with exit code {code}"
    try:
        number = signal.Signals(-code)
    except ValueError:
        return f"the process was ended by signal {-code}"
    cause = f": {_CAUSES[number]}" if number in _CAUSES else ""
    return f"the process was ended by {number.name}{cause}"
