"""Running pip, and what its failures mean."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...runtime.errors import UsageError
from .target import Target

_NO_NETWORK = re.compile(r"Retrying \(Retry|Max retries exceeded")
_NO_WHEEL = re.compile(r"No matching distribution found for (\S+)")
_ALTERED = re.compile(r"DO NOT MATCH THE HASHES.*?\n\s+(\S+) ", re.DOTALL)


def download(locks: Sequence[Path], target: Target, folder: Path) -> None:
    """Fetches the wheels of ``locks`` (requirements with hashes, all of them) for ``target`` into ``folder``.

    Where they come from, pip's own settings say: ``PIP_INDEX_URL``, or ``PIP_NO_INDEX`` and ``PIP_FIND_LINKS``.

    Raises:
        UsageError: no pip, no network, no wheel for the target, or one whose hash is another.
    """
    options = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--dest", str(folder), *target.pip_options]
    options += [option for lock in locks for option in ("--requirement", str(lock))]
    run(["download", *options], f"fetching the wheels for {target.title}")


def run(arguments: Sequence[str], doing: str, environment: Mapping[str, str] | None = None) -> None:
    """Runs pip of this Python.

    Raises:
        UsageError: it is not there, or failed; the message says why in a line.
    """
    if importlib.util.find_spec("pip") is None:
        raise UsageError(
            f"{doing} needs pip, which {sys.executable} does not have: run `{sys.executable} -m ensurepip`"
        )
    command = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment, check=False)
    if done.returncode:
        raise UsageError(f"{doing}: {_reason(done.stderr + done.stdout)}")


def _reason(said: str) -> str:
    if match := _ALTERED.search(said):
        return f"{match[1]} is not the file that the lock names (its hash is another); fetch from another index"
    if _NO_NETWORK.search(said):
        return "the package index cannot be reached; check the network, or set PIP_INDEX_URL to one that can"
    if match := _NO_WHEEL.search(said):
        return f"there is no wheel of {match[1]} for it; choose another --platform, --python or --provider"
    lines = [line.strip() for line in said.splitlines() if "error" in line.lower()] or said.strip().splitlines()[-1:]
    return f"pip failed: {lines[0] if lines else 'it says nothing'}; run pip by hand to see more"
