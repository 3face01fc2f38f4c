"""Engines in turns: rounds in which each does every part of the work, and the document that comes of it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dagger_edge import __version__
from dagger_edge.runtime.kernels.machine import cache_bytes, instructions, memory_bytes

from .process import Peer
from .report import Bar, Report
from .task import Task

ROOT = Path(__file__).resolve().parents[2]
# Positions for peers beyond prompt and answer; they allocate all at once.
ROOM = 16
_CUT = 512
_SIZES = [1, 2, 4, 6, 8, 16]
_REPEATS = 3
_SLICES = 4
# Ids that every engine reads before anything is timed: they bring its weights into memory.
_WARM_UP = 8
_READ_BYTES = 1 << 24
_PACKAGES = ("onnxruntime", "onnxruntime-genai", "llguidance", "tokenizers", "numpy", "torch", "transformers")


# By an engine's name, the module of `peers` and its arguments; names of ours begin with ``ours``.
Commands = Mapping[str, tuple[str, Sequence[str]]]


@dataclass(frozen=True)
class Race:
    """What is run.

    Attributes:
        commands: how each engine is started.
        task: what all do.
        rounds: of all parts.
        steps: single steps that are timed in a round.
        threads: of every engine.
        bars: what is asked of the ratios.
    """

    commands: Commands
    task: Task
    rounds: int
    steps: int
    threads: int
    bars: Sequence[Bar] = ()

    def run(self, about: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """The document of results, of provenance ``about``, and tables in Markdown."""
        started = time.perf_counter()
        told: dict[str, dict[str, Any]] = {}
        rounds = [self._round(number, told) for number in range(self.rounds)]
        report = Report(rounds, len(self.task.answer), self.bars)
        for name, about_engine in told.items():
            about_engine["load_seconds"] = median(about_engine["load_seconds"])
            about_engine["medians"] = report.medians(name)
        document = {
            "passed": report.passed,
            "bars": report.bars(),
            "engines": told,
            "logits_correlation": _agreement(rounds[0]),
            "task": {
                "problem": self.task.number,
                "prompt_tokens": len(self.task.prompt),
                "fixed_tokens": self.task.fixed,
                "answer_tokens": len(self.task.answer),
            },
            "rounds": report.rows,
            "provenance": {**about, "run_seconds": round(time.perf_counter() - started)},
        }
        return document, report.markdown(told)

    def _round(self, number: int, told: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """What each engine answers to each request; ``told`` takes what holds for all rounds.

        Every round has processes of its own: where one lies in memory makes it quicker or slower for all its life.
        """
        turn = number % len(self.commands)
        names = [*self.commands][turn:] + [*self.commands][:turn]
        with ExitStack() as stack:
            engines = [stack.enter_context(self._open(name)) for name in names]
            for engine in engines:
                engine.ask("read", ids=self.task.prompt[:_WARM_UP], cut=_WARM_UP)
            rows = self._parts(engines, number)
            for engine in engines:
                _tell(told, engine)
        return rows

    def _open(self, name: str) -> Peer:
        engine = Peer(name, *self.commands[name])
        say(f"{name}: open after {engine.about['load_seconds']} s")
        return engine

    def _parts(self, engines: list[Peer], number: int) -> dict[str, dict[str, Any]]:
        """The answers, by engine and request; the seconds of its single steps are joined."""
        task = self.task
        rows: dict[str, dict[str, Any]] = {engine.name: {} for engine in engines}
        own = [engine for engine in engines if engine.name.startswith("ours")]

        def each(some: list[Peer], do: str, times: int = 1, **request: Any) -> None:
            answers: dict[str, list[dict[str, Any]]] = {engine.name: [] for engine in some}
            for engine in some * times:
                answers[engine.name].append(engine.ask(do, **request))
                say(f"round {number + 1}: {engine.name} {do} {answers[engine.name][-1].get('seconds', '')}")
            for name, found in answers.items():
                rows[name][do] = sorted(found, key=lambda answer: answer.get("seconds", [0])[-1])[times // 2]

        each(engines, "read", ids=task.prompt, cut=min(_CUT, len(task.prompt)))
        each(engines, "keep", length=task.fixed)
        each(engines, "resume", _REPEATS, ids=task.prompt[task.fixed :])
        for index, part in enumerate(np.array_split(np.array(task.answer[: self.steps]), _SLICES)):
            for engine in engines:
                requests = {"write": {}, **({"held": {"begins": index == 0}} if engine in own else {})}
                for do, request in requests.items():
                    seconds = engine.ask(do, ids=part.tolist(), **request)["seconds"]
                    rows[engine.name].setdefault(do, {"seconds": []})["seconds"] += seconds
                    say(f"round {number + 1}: {engine.name} {do} {len(part)} ids in {sum(seconds):.2f} s")
        each(own, "steps", ids=task.answer[: max(_SIZES)], sizes=_SIZES, repeats=_REPEATS)
        each(own, "answer", question=task.question, prompt=task.prompt, ids=task.answer)
        return rows


def _tell(told: dict[str, dict[str, Any]], engine: Peer) -> None:
    """Adds what ``engine`` says at the end of a round: the highest peak, all loads, the idle time of all."""
    peak, loaded = engine.ask("memory")["peak_rss_bytes"], engine.about["load_seconds"]
    before = told.get(engine.name, {"peak_rss_bytes": 0, "idle_cpu_s": 0.0, "load_seconds": []})
    told[engine.name] = {
        **engine.about,
        "load_seconds": [*before["load_seconds"], loaded],
        "peak_rss_bytes": max(before["peak_rss_bytes"], peak),
        "idle_cpu_s": round(before["idle_cpu_s"] + engine.idle_cpu_s, 2),
    }


def _agreement(first: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """How the logits after the prompt correlate with those of the engine that read it first (one model, rounded in
    several ways), and with the same engine's when it had gone back to the fixed part (whether going back is right)."""
    logits = {name: [np.array(row[do]["logits"]) for do in ("read", "resume")] for name, row in first.items()}
    size = min(len(read) for read, _ in logits.values())
    reference = next(iter(logits.values()))[0][:size]

    def correlation(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
        return round(float(np.corrcoef(one, other)[0, 1]), 4)

    return {
        name: {"with_first": correlation(reference, read[:size]), "resumed": correlation(read, resumed)}
        for name, (read, resumed) in logits.items()
    }


def chosen(found: Commands, only: str | None) -> Commands:
    """Those that ``only`` names; all by default."""
    names = list(found) if only is None else [name.strip() for name in only.split(",")]
    unknown = set(names) - set(found)
    if unknown:
        raise SystemExit(f"--only: there is no {', '.join(sorted(unknown))}; there are {', '.join(found)}")
    return {name: found[name] for name in names}


def into_page_cache(path: Path) -> None:
    """Reads a file, or the files of a folder, so that no engine waits for the disk."""
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        if not file.is_file():
            continue
        with file.open("rb", buffering=0) as opened:
            while opened.read(_READ_BYTES):
                pass


def provenance(threads: int, rounds: int, steps: int, model: str, command: str) -> dict[str, Any]:
    """What the figures hold for, before anything is measured."""
    processor = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": _git("rev-parse", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "dagger_edge": __version__,
        "system": f"{platform.system()} {platform.release()}",
        "processor": processor[0].partition(": ")[2] if processor else platform.machine(),
        "instructions": instructions(),
        "cores": os.cpu_count(),
        "cache_bytes": cache_bytes(),
        "memory_bytes": memory_bytes()[0],
        "load_average": os.getloadavg()[0],
        "glibc_tunables": os.environ.get("GLIBC_TUNABLES", ""),
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name)) is not None},
        "model": model,
        "threads": threads,
        "rounds": rounds,
        "steps": steps,
        "command": f"{command} --rounds {rounds} --steps {steps}",
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def say(text: str) -> None:
    """A line on stderr."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201
