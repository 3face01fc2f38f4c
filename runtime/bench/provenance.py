"""Where a measurement comes from: commit, versions, machine."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ... import __version__
from ..kernels.machine import cache_bytes, instructions, memory_bytes, processor_name, usable_cores
from ..ort import onnxruntime_version
from .energy import energy_source
from .rows import Provenance

_PACKAGES = ("numpy", "tokenizers", "llguidance")


def provenance(command: str | None = None) -> Provenance:
    """Of what is measured now, by this code.

    Args:
        command: what measures it again, without folders of this machine.

    Raises:
        ProviderError: onnxruntime is missing or too old.
    """
    return Provenance(
        dagger_edge=__version__,
        commit=_commit(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={
            "python": platform.python_version(),
            "onnxruntime": onnxruntime_version(),
            **{name: found for name in _PACKAGES if (found := _version(name)) is not None},
        },
        system=f"{platform.system()} {platform.release()}",
        processor=processor_name(),
        instructions=instructions(),
        cores=usable_cores(),
        cache_bytes=cache_bytes(),
        memory_bytes=memory_bytes()[0],
        load=round(os.getloadavg()[0], 2),
        energy=energy_source(),
        command=command,
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """That of the checkout that holds this file; an installed package may lie in a checkout that does not."""
    file = Path(__file__).resolve()
    if _git(file.parent, "ls-files", "--error-unmatch", file.name) is None:
        return None
    commit, changes = _git(file.parent, "rev-parse", "HEAD"), _git(file.parent, "status", "--porcelain", "-uno")
    return commit and commit + ("+" if changes else "")


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says; None where it fails, or is not there."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
