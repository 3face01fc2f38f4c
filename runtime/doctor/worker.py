"""The process that is asked: ``python -m dagger_edge.runtime.doctor.worker`` reads tasks and writes answers, a JSON
document a line. It may end at any of them: that is what it is for.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from .isolation import forbid_network

if TYPE_CHECKING:
    from ..bundle import Bundle
    from ..ort import Provider

# What on site there need not be, and what must not be loaded where there is.
_HEAVY = ("torch", "transformers", "optimum", "onnx", "huggingface_hub")
_SIDE = 8


def _import(name: str) -> dict[str, Any]:
    """Version and file of a module."""
    module = importlib.import_module(name)
    return {"version": getattr(module, "__version__", None), "file": getattr(module, "__file__", None)}


def _multiply(provider: Provider) -> dict[str, Any]:
    """A product of two small matrices on ``provider``, as a session of a bundle would be opened."""
    import numpy as np

    from ..kernels.protobuf import constant, model, node
    from ..ort import PROVIDERS, check_available, load_onnxruntime, open_session, session_options

    ort = load_onnxruntime()
    check_available(ort, provider)
    if provider == "cuda":
        ort.preload_dlls()
    x = np.arange(_SIDE * _SIDE, dtype=np.float32).reshape(_SIDE, _SIDE)
    graph = model([node("MatMul", ["x", "w"], "y")], [constant("w", x)], {"x": ("rows", _SIDE)}, ["y"])
    session = open_session(graph, session_options(), [PROVIDERS[provider]])
    (y,) = session.run(["y"], {"x": x})
    return {"providers": session.get_providers(), "right": bool(np.allclose(y, x @ x)), "version": ort.__version__}


def _known_answer(bundle: str, provider: Provider) -> dict[str, Any]:
    """What the model of ``bundle`` says here, against what it said where it was exported."""
    from ..bundle import Bundle
    from ..solver import Solver

    started = time.perf_counter()
    with Solver.open(Bundle.open(bundle, remember=True), provider=provider) as solver:
        found = solver.check_known_answer()
        seconds = time.perf_counter() - started
        loaded = [name for name in _HEAVY if name in sys.modules]
        known = None
        if found is not None:
            known = {"difference": found.max_logit_diff, "tolerance": found.tolerance, "tokens": found.tokens}
        return {"answer": known, "seconds": seconds, "loaded": loaded, **_measurements(solver.bundle, provider)}


def _measurements(bundle: Bundle, provider: Provider) -> dict[str, Any]:
    """What was measured here before: seconds of steps by their tokens, and the kernel that suits."""
    from ..kept_cost import known_step_cost
    from ..kernels.kept import known_report

    cost, report = known_step_cost(bundle, provider, None), known_report()
    steps = None if cost is None else list(zip(cost.sizes, cost.seconds, strict=True))
    return {"steps": steps, "best": None if report is None else report.best}


_TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    "import": _import,
    "multiply": _multiply,
    "known_answer": _known_answer,
}


def main() -> None:
    """Answers tasks until stdin ends."""
    # What libraries print must not stand between answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # It may crash, and is no one's to look into.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    network = forbid_network()
    for line in sys.stdin:
        answers.write(json.dumps({"network": network, **_answer(cast("list[str]", json.loads(line)))}) + "\n")
        answers.flush()


def _answer(task: list[str]) -> dict[str, Any]:
    try:
        return {"value": _TASKS[task[0]](*task[1:])}
    except KeyboardInterrupt:
        raise
    # Panics of extensions written in Rust, and modules that call exit, are no Exception.
    except BaseException as error:
        return {"kind": type(error).__name__, "error": " ".join(str(error).split()) or type(error).__name__}


if __name__ == "__main__":
    main()
