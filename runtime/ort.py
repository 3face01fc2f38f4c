"""The only module that imports onnxruntime: finds it, opens sessions of it, and words its errors."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .errors import ProviderError
from .manifest import ProviderName

if TYPE_CHECKING:
    import onnxruntime

Provider = ProviderName
PROVIDERS: dict[Provider, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

# Older ones run our graphs with windows that are off by one (onnxruntime#25927), and say nothing.
_OLDEST = (1, 24)
# From here on sessions can use memory of ours as their file of weights; older ones would copy it whole.
_LENDING = (1, 32)


def onnxruntime_version() -> str:
    """The version of onnxruntime.

    Raises:
        ProviderError: it is missing or too old.
    """
    version: str = load_onnxruntime().__version__
    return version


def installed_onnxruntime() -> str:
    """Which onnxruntime is installed, without loading it; empty where none is."""
    for name in ("onnxruntime", "onnxruntime-gpu"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return f"{name} {importlib.metadata.version(name)}"
    return ""


def load_onnxruntime() -> onnxruntime:
    """The module onnxruntime.

    Raises:
        ProviderError: it is missing or too old.
    """
    try:
        import onnxruntime
    except ImportError:
        raise ProviderError(
            "onnxruntime is not installed: pip install 'dagger-edge[cpu]', or 'dagger-edge[cuda]' for an NVIDIA GPU"
        ) from None
    if _version(onnxruntime) < _OLDEST:
        wanted = ".".join(map(str, _OLDEST))
        raise ProviderError(
            f"onnxruntime {onnxruntime.__version__} is too old, its sliding windows are wrong: "
            f"pip install --upgrade 'onnxruntime>={wanted}' (or onnxruntime-gpu)"
        )
    return onnxruntime


def takes_mapped_weights() -> bool:
    """Whether sessions of this onnxruntime can use a file of weights that is mapped already."""
    return _version(load_onnxruntime()) >= _LENDING


def session_options(threads: int | None = None) -> onnxruntime.SessionOptions:
    """Options that leave the telling of errors to exceptions, with so many threads an operator (None: its default)."""
    options = load_onnxruntime().SessionOptions()
    # Printed as well, errors would stand beside our one line.
    options.log_severity_level = 4
    if threads is not None:
        options.intra_op_num_threads = threads
    return options


def open_session(model: str | bytes, options: onnxruntime.SessionOptions, providers: Sequence[str]) -> Any:
    """An ``InferenceSession`` without onnxruntime's own fallback, which goes on with the CPU and prints on stdout."""
    return load_onnxruntime().InferenceSession(model, options, providers=list(providers), enable_fallback=0)


def check_available(ort: onnxruntime, provider: Provider) -> None:
    """Raises ProviderError where this onnxruntime was built without ``provider``."""
    available = ort.get_available_providers()
    if PROVIDERS[provider] not in available:
        raise ProviderError(
            f"this onnxruntime has no {PROVIDERS[provider]} (it has {', '.join(available)}): "
            f"pip uninstall onnxruntime, then pip install 'dagger-edge[{provider}]'"
        )


def _version(ort: onnxruntime) -> tuple[int, ...]:
    return tuple(int(part) for part in ort.__version__.split(".")[:2])


def first_line(error: Exception) -> str:
    """The first line of an error of onnxruntime, whose errors have no common base of their own."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def optional_inputs(session: onnxruntime.InferenceSession) -> set[str]:
    """The names of inputs that need not be fed."""
    return {value.name for value in session.get_overridable_initializers()}
