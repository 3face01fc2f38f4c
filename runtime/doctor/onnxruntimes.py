"""onnxruntime: several packages bring the same module, and break it when they come or go."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from ..requirements import OLDEST_ONNXRUNTIME, dotted, release
from .packages import installed_version
from .probe import Answer, Probe
from .report import Check, Provider, Status

# All of these install the folder `onnxruntime`.
_FOLDER = "onnxruntime"
_PACKAGES = (
    *("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-rocm"),
    *("onnxruntime-training", "onnxruntime-qnn", "ort-nightly", "ort-nightly-gpu"),
)
_OLDEST = dotted(OLDEST_ONNXRUNTIME)


def installed_onnxruntimes() -> dict[str, str]:
    """Name and version of each installed package that brings the module."""
    found = {name: installed_version(name) for name in _PACKAGES}
    return {name: version for name, version in found.items() if version is not None}


def check_onnxruntime(probe: Probe, installed: dict[str, str], provider: Provider) -> Check:
    """Whether there is one onnxruntime, whole, new enough, and importable.

    Args:
        probe: where it is imported.
        installed: of `installed_onnxruntimes`.
        provider: that is to be used.
    """
    answer = probe.ask("import", _FOLDER)
    version = None if answer.value is None else answer.value["version"]
    install = f"pip install 'dagger-edge[{provider}]'"
    if not installed:
        return _of_no_package(answer, version, install)
    again = f"pip uninstall -y {' '.join(installed)} && {install}"
    title = " and ".join(f"{name} {number}" for name, number in installed.items())
    if len(installed) > 1:
        broken = "" if version else "; it cannot be imported"
        return _failure(f"{title} are installed: they share a folder, and overwrite each other{broken}", again)
    name, number = next(iter(installed.items()))
    if version is None:
        return _unusable(title, name, answer, again)
    if release(version) < OLDEST_ONNXRUNTIME:
        finding = f"{name} {version} is too old: before {_OLDEST} its sliding windows are wrong"
        return _failure(finding, f"pip install --upgrade '{name}>={_OLDEST}'")
    if release(version) != release(number):
        return _failure(f"{title} is installed, but the module is of {version}: another one overwrote it", again)
    return _check("ok", title)


def _of_no_package(answer: Answer, version: str | None, install: str) -> Check:
    if version is None:
        # What uninstalling leaves of the folder is a module without anything in it.
        absent = answer.value is not None or answer.kind == "ModuleNotFoundError"
        return _failure("not installed" if absent else f"of no package, and broken: {answer.error}", install)
    if release(version) < OLDEST_ONNXRUNTIME:
        return _failure(f"{version}, of no package, is too old: its sliding windows are wrong", install)
    return _check("warning", f"{version}, but no package says so: uninstalled, or built by hand", install)


def _unusable(title: str, name: str, answer: Answer, again: str) -> Check:
    """One that is installed, and cannot be imported, or is an empty folder."""
    lost = _lost_files(name)
    if lost:
        finding = f"{title} is broken: {len(lost)} of its files are missing, such as {lost[0]}"
        return _failure(f"{finding}; uninstalling another onnxruntime does that", again)
    if answer.value is not None:
        return _failure(f"{title} is broken: its module is empty", again)
    finding = f"{title} cannot be imported: {answer.error}"
    if answer.ended:
        remedy = f"install a build for this processor and system: pip install --force-reinstall '{name}>={_OLDEST}'"
        return _failure(finding, remedy)
    return _failure(finding, again)


def _lost_files(name: str) -> list[str]:
    """What the package installed in the module's folder and is not there, modules first."""
    files = importlib.metadata.distribution(name).files or []
    lost = [file for file in files if file.parts[0] == _FOLDER and not Path(str(file.locate())).exists()]
    return [str(file) for file in sorted(lost, key=lambda file: (file.suffix != ".py", file))]


def _failure(finding: str, remedy: str) -> Check:
    return _check("failure", finding, remedy)


def _check(status: Status, finding: str, remedy: str | None = None) -> Check:
    return Check("onnxruntime", "packages", status, finding, remedy)
