"""The document of a race in the form of `dagger-edge bench`, for `bench compare`, reports and docs/benchmarks.md."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from dagger_edge.runtime.bench.rows import (
    OURS,
    QUANTITIES,
    BenchResult,
    BenchRun,
    Provenance,
    Row,
    Settings,
    make_row,
)

# Names of engines in a race begin so.
_ENGINES = {
    "ours": OURS,
    "genai's build": "onnxruntime-genai, its own build",
    "genai": "onnxruntime-genai",
    "llama.cpp": "llama.cpp",
    "transformers": "transformers",
}
_PLAIN, _BEST = "plain", "grammar and drafts"


def to_result(document: dict[str, Any]) -> BenchResult:
    """A race as a result: a run an engine, a sample a round. Rows of one round have the same place in all runs."""
    origin, task = document["provenance"], document["task"]
    runs, rows = [], []
    for index, (name, about) in enumerate(document["engines"].items()):
        runs.append(_run(name, about, document))
        rows += list(_rows(index, name, about, document))
    order = list(QUANTITIES)
    return BenchResult(
        result_version=1,
        provenance=_provenance(origin),
        settings={"threads": str(origin["threads"]), "steps": str(origin["steps"])},
        questions=1,
        repeats=origin["rounds"],
        runs=tuple(runs),
        rows=tuple(sorted(rows, key=lambda row: (row.run, order.index(row.what)))),
        task=f"a prompt of {task['prompt_tokens']} tokens, {task['fixed_tokens']} of them fixed, and its graph of"
        f" {task['answer_tokens']}, the same in all engines, which took turns in {origin['rounds']} rounds",
    )


def _run(name: str, about: dict[str, Any], document: dict[str, Any]) -> BenchRun:
    engine, precision = _told(name)
    origin, ours = document["provenance"], engine == OURS
    size = about.get("bundle_bytes") or about.get("model_bytes") or 0
    return BenchRun(
        bundle=about.get("bundle") or origin.get("model", "4B shape, random weights"),
        precision=precision,
        weights_sha256=about.get("weights_sha256"),
        size_bytes=size,
        prefix_tokens=document["task"]["fixed_tokens"] if ours and about.get("snapshot") else 0,
        provider="cpu",
        threads=origin["threads"],
        ceiling=None,
        engine=engine,
        options={
            "version": about["version"],
            **{key: _text(value) for key, value in about["settings"].items()},
            **{key: _text(value) for key, value in about.get("recipe", {}).items() if key in ("kernel", "weights")},
        },
    )


def _told(name: str) -> tuple[str, str]:
    """Engine and precision of a name such as ``genai INT4``."""
    for prefix, engine in _ENGINES.items():
        if name.startswith(f"{prefix} "):
            precision = name.removeprefix(f"{prefix} ")
            return engine, precision.lower() if engine == OURS else precision
    raise ValueError(f"{name}: no engine is called so")


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _provenance(origin: dict[str, Any]) -> Provenance:
    """Documents from before 2026-11-26 do not say all of it."""
    commit = origin["commit"] + "+" * origin["changed"]
    return Provenance(
        dagger_edge=origin.get("dagger_edge", "0.1.0"),
        commit=commit,
        created=origin["date"],
        versions={"python": origin["python"], **origin["packages"]},
        system=origin.get("system", "Linux"),
        processor=origin["processor"],
        instructions=tuple(origin.get("instructions", ())),
        cores=origin["cores"],
        cache_bytes=origin.get("cache_bytes", 0),
        memory_bytes=origin.get("memory_bytes", 0),
        load=round(origin["load_average"], 2),
        energy=None,
        command=origin["command"],
    )


def _rows(run: int, name: str, about: dict[str, Any], document: dict[str, Any]) -> Iterator[Row]:
    rounds = [row[name] for row in document["rounds"]]
    prompt, steps = document["task"]["prompt_tokens"], document["provenance"]["steps"]
    kept = "snapshot" if name.startswith("ours") else "prompt cache"

    def row(what: str, key: str, settings: Settings, scale: float = 1.0) -> Row:
        return make_row(run, what, settings, [one[key] * scale for one in rounds])

    yield make_row(run, "load", {}, [about["load_seconds"]])
    cut = min(512, prompt)
    yield make_row(run, "prefill", {"tokens": cut}, [cut / one["prompt 512"] for one in rounds])
    yield make_row(run, "prefill", {"tokens": prompt}, [prompt / one["prompt"] for one in rounds])
    yield row("first token", "prompt", {"start": "whole prompt"}, 1e3)
    yield row("first token", "resumed prompt", {"start": kept}, 1e3)
    yield row("going back", "going back to the fixed part", {}, 1e3)
    yield row("plain token", "token", {"tokens at most": steps}, 1e3)
    yield make_row(run, "plain speed", {"tokens at most": steps}, [1 / one["token"] for one in rounds])
    if "token under the grammar" in rounds[0]:
        yield row("plain token", "token under the grammar", {"tokens at most": steps, "decoding": "grammar"}, 1e3)
    yield row("answer", "answer", {"start": "whole prompt", "decoding": _PLAIN})
    yield row("answer", "warm answer", {"start": kept, "decoding": _PLAIN})
    if "best answer" in rounds[0]:
        best: Settings = {"start": kept, "decoding": _BEST}
        yield row("answer", "best answer", best)
        yield row("steps", "steps", best)
        yield make_row(run, "step size", best, [one["fed"] / one["steps"] for one in rounds])
    for key in rounds[0]:
        if key.startswith("step "):
            yield row("step", key, {"tokens": int(key.removeprefix("step "))}, 1e3)
    yield make_row(run, "peak memory", {}, [about["peak_rss_bytes"] / 1e6])
