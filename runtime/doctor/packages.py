"""Python, and the packages that the runtime needs or does not."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Sequence

from ..requirements import OLDEST_PYTHON, PACKAGES, Bounds, dotted
from .probe import Probe
from .report import Check, Status

_UNNEEDED = ("torch", "transformers", "optimum-onnx", "onnx")


def check_python() -> Check:
    """Whether this Python is one that packages are built for."""
    version, bits = platform.python_version(), 64 if sys.maxsize > 1 << 32 else 32
    finding = f"{version}, {bits} bits, {platform.system()} {platform.machine()}"
    wanted = dotted(OLDEST_PYTHON)
    if sys.version_info[:2] < OLDEST_PYTHON:
        return _check("python", "failure", f"{finding}: too old", f"install Python {wanted} or newer")
    if bits == 32:
        return _check("python", "failure", f"{finding}: onnxruntime has no build for it", "install a 64-bit Python")
    if platform.system() != "Linux":
        remedy = "use Linux for what has to be relied on"
        return _check("python", "warning", f"{finding}: dagger-edge is tested on Linux only", remedy)
    return _check("python", "ok", finding)


def check_packages(probe: Probe) -> list[Check]:
    """A check for each required package: there, of a version that will do, and importable."""
    return [_check_package(name, bounds, probe) for name, bounds in PACKAGES.items()]


def _check_package(name: str, bounds: Bounds, probe: Probe) -> Check:
    title, version, wanted = f"package-{name}", installed_version(name), bounds.specifier(name)
    if version is None:
        return _check(title, "failure", "not installed", f"pip install '{wanted}'")
    if not bounds.allow(version):
        return _check(title, "failure", f"{version} is not {wanted}", f"pip install --upgrade '{wanted}'")
    answer = probe.ask("import", name)
    if answer.value is None:
        remedy = f"install a build for this processor and system: pip install --force-reinstall '{wanted}'"
        return _check(title, "failure", f"{version} cannot be imported: {answer.error}", remedy)
    return _check(title, "ok", version)


def check_unneeded(loaded: Sequence[str] | None) -> Check:
    """That nothing of the export's is needed: ``loaded`` are the modules of it that answering loaded, where it ran."""
    if loaded:
        remedy = "report it: the runtime is to run without them"
        return _check("unneeded-packages", "warning", f"{', '.join(loaded)} loaded by an answer", remedy)
    there = [f"{name} {version}" for name in _UNNEEDED if (version := installed_version(name)) is not None]
    finding = f"{', '.join(there)} installed" if there else "torch, transformers and onnx not installed"
    return _check("unneeded-packages", "ok", f"{finding}; needed for `dagger-edge export` alone")


def installed_version(name: str) -> str | None:
    """That of a package; None where none is there, or its metadata is damaged."""
    try:
        version: str | None = importlib.metadata.version(name)
    except (importlib.metadata.PackageNotFoundError, KeyError):
        return None
    return version


def _check(name: str, status: Status, finding: str, remedy: str | None = None) -> Check:
    return Check(name, "packages", status, finding, remedy)
