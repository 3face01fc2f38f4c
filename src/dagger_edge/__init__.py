"""dagger-edge: DAGGER's Bengali word problem solver on onnxruntime, without PyTorch.

    import dagger_edge as de

    with de.demo() as solver:                       # or de.Solver.open("bundle/")
        solution = solver.solve("রহিমের কাছে ৫টি আম ছিল। ...")

    graph = de.read(text).graph
    result = de.execute(graph)

Names are imported when they are first used: the graph language needs neither onnxruntime nor tokenizers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .runtime.bundle import Bundle
    from .runtime.errors import (
        BundleError,
        DaggerEdgeError,
        GraphError,
        ModelError,
        ProviderError,
        UsageError,
    )
    from .runtime.events import Event, NodeClosed, Solved, Written
    from .runtime.graph import (
        Answers,
        ExecutionError,
        Fix,
        Graph,
        GraphBatch,
        GraphParseError,
        GraphWarning,
        Influence,
        Node,
        Reading,
        Result,
        Step,
        check_question,
        evaluate,
        execute,
        execute_many,
        read,
        sensitivity,
        sweep,
    )
    from .runtime.options import DecodeOptions
    from .runtime.sampling import Sampling
    from .runtime.solution import NoAnswerError, Solution, Timings
    from .runtime.solver import Solver, demo
    from .runtime.vote import Candidate, Vote

__version__ = "0.1.0"

_HOMES = {
    "Answers": "graph",
    "Bundle": "bundle",
    "BundleError": "errors",
    "Candidate": "vote",
    "DaggerEdgeError": "errors",
    "DecodeOptions": "options",
    "Event": "events",
    "ExecutionError": "graph",
    "Fix": "graph",
    "Graph": "graph",
    "GraphBatch": "graph",
    "GraphError": "errors",
    "GraphParseError": "graph",
    "GraphWarning": "graph",
    "Influence": "graph",
    "ModelError": "errors",
    "NoAnswerError": "solution",
    "Node": "graph",
    "NodeClosed": "events",
    "ProviderError": "errors",
    "Reading": "graph",
    "Result": "graph",
    "Sampling": "sampling",
    "Solution": "solution",
    "Solved": "events",
    "Solver": "solver",
    "Step": "graph",
    "Timings": "solution",
    "UsageError": "errors",
    "Vote": "vote",
    "Written": "events",
    "check_question": "graph",
    "demo": "solver",
    "evaluate": "graph",
    "execute": "graph",
    "execute_many": "graph",
    "read": "graph",
    "sensitivity": "graph",
    "sweep": "graph",
}

__all__ = [
    "Answers",
    "Bundle",
    "BundleError",
    "Candidate",
    "DaggerEdgeError",
    "DecodeOptions",
    "Event",
    "ExecutionError",
    "Fix",
    "Graph",
    "GraphBatch",
    "GraphError",
    "GraphParseError",
    "GraphWarning",
    "Influence",
    "ModelError",
    "NoAnswerError",
    "Node",
    "NodeClosed",
    "ProviderError",
    "Reading",
    "Result",
    "Sampling",
    "Solution",
    "Solved",
    "Solver",
    "Step",
    "Timings",
    "UsageError",
    "Vote",
    "Written",
    "check_question",
    "demo",
    "evaluate",
    "execute",
    "execute_many",
    "read",
    "sensitivity",
    "sweep",
]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".runtime.{_HOMES[name]}", __name__), name)
