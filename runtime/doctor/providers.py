"""Execution providers: whether a session on one really computes, and what it lacks."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

from ..control_groups import ROOT
from ..requirements import Release, release
from .probe import Answer, Probe
from .report import Check, Provider, Status

_GPU_PACKAGE = "onnxruntime-gpu"
_GET_GPU = "pip uninstall -y onnxruntime && pip install 'dagger-edge[cuda]'"
_GET_LIBRARIES = "pip install 'dagger-edge[cuda]' brings the libraries"
# What the loader says of a library that CUDA's provider needs, and what onnxruntime says that it requires.
_MISSING_LIBRARY = re.compile(r"(lib[\w.+-]+\.so[.\d]*): (?:cannot open shared object|undefined symbol)")
_REQUIRED = re.compile(r"Require (cuDNN \S+ and CUDA \d+)")
# A requirement of an extra: ``nvidia-cudnn-cu13~=9.0; extra == "cudnn"``.
_REQUIREMENT = re.compile(r"^(nvidia-[\w-]+)\s*(~=|>=|==|<)\s*([\d.]+).*extra ==")
# How packages of NVIDIA's are named for one CUDA: ``nvidia-cudnn-cu12``.
_OF_CUDA = re.compile(r"-cu\d+$")


def check_cpu(probe: Probe) -> Check:
    """A small product on the CPU."""
    answer = probe.ask("multiply", "cpu")
    if answer.value is None:
        remedy = "pip install --force-reinstall 'onnxruntime>=1.24', built for this processor"
        return Check("provider-cpu", "providers", "failure", f"no session runs: {answer.error}", remedy)
    if not answer.value["right"]:
        remedy = "use another onnxruntime, or check the machine's memory and processor"
        return Check("provider-cpu", "providers", "failure", "a product of small matrices is wrong", remedy)
    return Check("provider-cpu", "providers", "ok", "a session runs, and multiplies rightly")


def check_cuda(probe: Probe, installed: dict[str, str], provider: Provider, root: Path = ROOT) -> Check:
    """A small product on an NVIDIA GPU. What fails is a failure where CUDA was asked for, else a warning where a GPU
    package is installed.

    Args:
        probe: where it is run.
        installed: of `packages.onnxruntimes`.
        provider: that was asked for.
        root: where ``proc`` is; for tests.
    """
    asked, driver = provider == "cuda", _driver(root)
    if _GPU_PACKAGE not in installed:
        if asked:
            finding = f"the installed onnxruntime is for the CPU alone; {driver or 'and there is no NVIDIA driver'}"
            return _cuda("failure", finding, _GET_GPU)
        seen = "no NVIDIA driver here" if driver is None else driver
        return _cuda("skipped", f"not asked for (--provider cuda), onnxruntime-gpu is not installed; {seen}")
    answer = probe.ask("multiply", "cuda")
    if answer.value is not None and "CUDAExecutionProvider" in answer.value["providers"]:
        if answer.value["right"]:
            return _cuda("ok", f"a session runs on the GPU, and multiplies rightly; {driver or 'driver unknown'}")
        return _cuda("failure", "a product of small matrices on the GPU is wrong", "check driver and GPU")
    return _cuda("failure" if asked else "warning", *_why(answer, driver, _wrong_libraries()))


def _why(answer: Answer, driver: str | None, wrong: list[str]) -> tuple[str, str]:
    """Why no session runs on CUDA, and the remedy: the likeliest causes that there are signs of."""
    said = f"{answer.said} {answer.error}"
    missing, required = _MISSING_LIBRARY.search(said), _REQUIRED.search(said)
    causes = [] if driver else ["there is no NVIDIA driver"]
    causes += [f"{missing[1]} cannot be loaded"] if missing else []
    causes += wrong or ([f"it requires {required[1]}"] if required else [])
    if not causes:
        causes = [answer.error or "onnxruntime took the CPU in its place"]
    remedies = [] if driver else ["install the NVIDIA driver (in a container: start it with the GPU)"]
    if missing or wrong:
        remedies.append(_GET_LIBRARIES)
    elif driver:
        remedies += [f"update the driver ({driver})", _GET_LIBRARIES]
    return f"no session runs on the GPU: {', '.join(causes)}", f"{'; '.join(remedies)}; or use --provider cpu"


def _wrong_libraries() -> list[str]:
    """What of NVIDIA's packages is not what the installed onnxruntime-gpu asks for, or is of another CUDA."""
    installed = {
        name: item.version
        for item in importlib.metadata.distributions()
        if (name := str(item.metadata["Name"]).lower().replace("_", "-")).startswith("nvidia-")
    }
    wrong = []
    for requirement in importlib.metadata.requires(_GPU_PACKAGE) or []:
        if (found := _REQUIREMENT.match(requirement)) is None:
            continue
        name, operator, version = found.groups()
        stem = _OF_CUDA.sub("", name)
        others = [other for other in installed if _OF_CUDA.sub("", other) == stem]
        if name in installed and not _fits(release(installed[name]), operator, release(version)):
            wrong.append(f"{name} is {installed[name]} and must be {operator}{version}")
        elif name not in installed and others:
            wrong.append(f"{others[0]} is of another CUDA than {name}{operator}{version}")
    return wrong


def _fits(version: Release, operator: str, wanted: Release) -> bool:
    if operator == "<":
        return version < wanted
    same = len(wanted) if operator == "==" else len(wanted) - 1 if operator == "~=" else 0
    return version >= wanted and version[:same] == wanted[:same]


def _driver(root: Path) -> str | None:
    """The NVIDIA driver in words; None where there is none."""
    try:
        text = (root / "proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "the GPU of Windows" if (root / "dev/dxg").exists() else None
    found = re.search(r"Kernel Module\D*([\d.]+)", text)
    return f"NVIDIA driver {found[1]}" if found else "an NVIDIA driver"


def _cuda(status: Status, finding: str, remedy: str | None = None) -> Check:
    return Check("provider-cuda", "providers", status, finding, remedy)
