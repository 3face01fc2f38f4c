"""Python, the packages that the runtime needs, and what the two onnxruntimes do to each other."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from ..requirements import OLDEST_ONNXRUNTIME, OLDEST_PYTHON, PACKAGES, Bounds, dotted, release
from .probe import Answer, Probe
from .report import Check, Provider, Status

# All of these install the folder `onnxruntime`.
_SAME_FOLDER = (
    *("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-rocm"),
    *("onnxruntime-training", "onnxruntime-qnn", "ort-nightly", "ort-nightly-gpu"),
)
_UNNEEDED = ("torch", "transformers", "optimum-onnx", "onnx")
_OTHER_BUILD = "install a build for this processor and system: pip install --force-reinstall '{specifier}'"


def check_python() -> Check:
    """Whether this Python is one that packages are built for."""
    version, bits = platform.python_version(), 64 if sys.maxsize > 1 << 32 else 32
    finding = f"{version}, {bits} bits, {platform.system()} {platform.machine()}"
    wanted = dotted(OLDEST_PYTHON)
    if sys.version_info[:2] < OLDEST_PYTHON:
        return _check("python", "failure", f"{finding}: too old", f"install Python {wanted} or newer")
    if bits == 32:
        return _check("python", "failure", f"{finding}: onnxruntime has no build for it", "install a 64-bit Python")
    if sys.platform != "linux":
        remedy = "use Linux for what has to be relied on"
        return _check("python", "warning", f"{finding}: dagger-edge is tested on Linux only", remedy)
    return _check("python", "ok", finding)


def check_packages(probe: Probe) -> list[Check]:
    """A check for each required package: there, of a version that will do, and importable."""
    return [_check_package(name, bounds, probe) for name, bounds in PACKAGES.items()]


def _check_package(name: str, bounds: Bounds, probe: Probe) -> Check:
    title, version = f"package-{name}", _version(name)
    install = f"pip install '{bounds.specifier(name)}'"
    if version is None:
        return _check(title, "failure", "not installed", install)
    if not bounds.allow(version):
        return _check(title, "failure", f"{version} is not {bounds.specifier(name)}", f"{install} --upgrade")
    answer = probe.ask("import", name)
    if answer.value is None:
        return _check(
            title, "failure", f"{version} cannot be imported: {answer.error}", _import_remedy(answer, install)
        )
    return _check(title, "ok", version)


def _import_remedy(answer: Answer, install: str) -> str:
    return (
        f"install a build for this processor and system: {install} --force-reinstall"
        if answer.ended
        else (f"{install} --force-reinstall")
    )


def onnxruntimes() -> dict[str, str]:
    """Name and version of each installed package that brings the module onnxruntime."""
    found = {name: _version(name) for name in _SAME_FOLDER}
    return {name: version for name, version in found.items() if version is not None}


def check_onnxruntime(probe: Probe, installed: dict[str, str], provider: Provider) -> Check:
    """Whether there is one onnxruntime, whole, new enough, and importable."""
    wanted = f"pip install 'dagger-edge[{provider}]'"
    again = f"pip uninstall -y {' '.join(installed)} && {wanted}"
    answer = probe.ask("import", "onnxruntime")
    version = None if answer.value is None else answer.value["version"]
    title = " and ".join(f"{name} {number}" for name, number in installed.items())
    if len(installed) > 1:
        finding = f"{title} are both installed: they share one folder, and overwrite each other"
        return _failure(f"{finding}{'' if version else '; it cannot be imported'}", again)
    if version is None and answer.kind == "ModuleNotFoundError" and not installed:
        return _failure("not installed", wanted)
    if not installed:
        return _failure(
            f"there is a module onnxruntime ({version or answer.error}) of no package",
            f"{wanted}, and remove what else provides it",
        )
    if version is None or not isinstance(version, str):
        return _unusable(title, next(iter(installed)), answer, again)
    if release(version) < OLDEST_ONNXRUNTIME:
        oldest = dotted(OLDEST_ONNXRUNTIME)
        finding = f"{title} is too old: before {oldest} its sliding windows are wrong"
        return _failure(finding, f"pip install --upgrade '{next(iter(installed))}>={oldest}'")
    if release(version) != release(next(iter(installed.values()))):
        return _failure(f"{title} is installed, but the module is {version}: another one overwrote it", again)
    return _check("onnxruntime", "ok", title)


def _unusable(title: str, name: str, answer: Answer, again: str) -> Check:
    """One that is installed, and cannot be used."""
    lost = _lost_files(name)
    if lost:
        finding = (
            f"{title} is broken: {lost[0]} is missing ({len(lost)} files): uninstalling another onnxruntime took them"
        )
        return _failure(finding, again)
    if answer.value is not None:
        return _failure(f"{title} is broken: the module onnxruntime is empty", again)
    finding = f"{title} cannot be imported: {answer.error}"
    if answer.ended:
        return _failure(finding, _OTHER_BUILD.format(specifier=f"{name}>={dotted(OLDEST_ONNXRUNTIME)}"))
    return _failure(finding, again)


def _lost_files(name: str) -> list[str]:
    """What the package installed and is not there."""
    files = importlib.metadata.distribution(name).files or []
    return [str(file) for file in files if not Path(str(file.locate())).exists()]


def check_unneeded(loaded: Sequence[str] | None) -> Check:
    """That nothing of the export's is needed: ``loaded`` are the modules of it that answering loaded, where it ran."""
    there = [f"{name} {version}" for name in _UNNEEDED if (version := _version(name)) is not None]
    finding = f"{', '.join(there)} installed" if there else "torch, transformers and onnx not installed"
    if loaded:
        remedy = "report it: the runtime is to run without them"
        return _check("unneeded-packages", "warning", f"{', '.join(loaded)} loaded by an answer", remedy)
    return _check("unneeded-packages", "ok", f"{finding}; needed for `dagger-edge export` alone")


def _version(name: str) -> str | None:
    """That of a package; None where none is there, or its metadata is damaged."""
    try:
        version: str | None = importlib.metadata.version(name)
    except (importlib.metadata.PackageNotFoundError, KeyError):
        return None
    return version


def _failure(finding: str, remedy: str) -> Check:
    return _check("onnxruntime", "failure", finding, remedy)


def _check(name: str, status: Status, finding: str, remedy: str | None = None) -> Check:
    return Check(name, "packages", status, finding, remedy)
