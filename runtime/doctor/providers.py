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
_GET_LIBRARIES = "pip install 'dagger-edge[cuda]' brings the right ones"
# What the loader says of a library that CUDA's provider needs.
_MISSING_LIBRARY = re.compile(r"(lib[\w.+-]+\.so[.\d]*): (?:cannot open shared object file|undefined symbol)")
# A requirement of an extra: ``nvidia-cudnn-cu12~=9.0; extra == "cudnn"``.
_REQUIREMENT = re.compile(r"^(nvidia-[\w-]+)\s*(~=|>=|==|<)\s*([\d.]+).*extra ==")


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
    return _cuda("failure" if asked else "warning", *_why(answer, driver))


def _why(answer: Answer, driver: str | None) -> tuple[str, str]:
    """Why no session runs on CUDA, and the remedy: the likeliest cause that there are signs of."""
    missing = _MISSING_LIBRARY.search(f"{answer.said} {answer.error}")
    wrong = _wrong_libraries()
    if missing:
        finding = f"{missing[1]} cannot be loaded, which onnxruntime-gpu needs"
    elif wrong:
        finding = f"no session runs on the GPU: {wrong[0]}"
    elif driver is None:
        finding = "no session runs on the GPU: there is no NVIDIA driver"
    else:
        finding = f"no session runs on the GPU: {answer.error or 'onnxruntime took the CPU in its place'}"
    if driver is None:
        remedy = "install the NVIDIA driver (in a container: start it with the GPU), or use --provider cpu"
        return finding, f"{remedy}; {_GET_LIBRARIES}" if missing else remedy
    return finding, f"{'; '.join(wrong) + ': ' if wrong else ''}{_GET_LIBRARIES}; else update the driver ({driver})"


def _wrong_libraries() -> list[str]:
    """What of NVIDIA's packages is not what the installed onnxruntime-gpu asks for."""
    wrong = []
    for requirement in importlib.metadata.requires(_GPU_PACKAGE) or []:
        found = _REQUIREMENT.match(requirement)
        if found is None:
            continue
        try:
            version = importlib.metadata.version(found[1])
        except importlib.metadata.PackageNotFoundError:
            continue
        if not _fits(release(version), found[2], release(found[3])):
            wrong.append(f"{found[1]} is {version}, and must be {found[2]}{found[3]}")
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
