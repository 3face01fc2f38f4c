"""Start-up of a bundle in fresh processes: seconds until the first question is accepted, and memory at its peak.

The first process is reported apart: it fills the user's cache, and reads from the disk what the system has not cached.
Times are from before the process is started to the return of `Solver.open`. Memory is what Linux counts for the
process: its own (``anon``) and pages of files that it has mapped (``file``), which the system can take back;
the peak (``VmHWM``) is of both together. Run it from the repository root:

    PYTHONPATH=src python benchmarks/start_up.py --bundle BUNDLE --json benchmarks/results/start_up.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from dagger_edge.runtime.bench.provenance import provenance
from dagger_edge.runtime.bundle import Bundle
from dagger_edge.runtime.kernels.machine import processor_name, usable_cores
from dagger_edge.runtime.ort import onnxruntime_version
from dagger_edge.runtime.solver import demo_bundle

QUESTION = "রহিমের কাছে ৫টি আম ছিল। সে করিমকে ২টি আম দিল। রহিমের কাছে এখন কতটি আম আছে?"
# Runs in the process that is measured.
OPEN = """
import sys, time
from dagger_edge.runtime.solver import Solver
bundle, threads, tokens, question = sys.argv[1:]
solver = Solver.open(bundle, threads=int(threads) or None)
ready = time.monotonic()
import json, resource
def memory():
    lines = [line.split() for line in open("/proc/self/status")]
    return {line[0].rstrip(":"): int(line[1]) << 10 for line in lines if line[0] in {"VmHWM:", "RssAnon:", "RssFile:"}}
found = {"ready": ready, "at_ready": memory(), "cpu_s": sum(resource.getrusage(resource.RUSAGE_SELF)[:2])}
if int(tokens):
    from dagger_edge import DaggerEdgeError, DecodeOptions
    started = time.monotonic()
    try:
        solver.solve(question, DecodeOptions(max_new_tokens=int(tokens)))
    except DaggerEdgeError as error:
        found["no_answer"] = str(error)[:200]
    found |= {"answer_s": time.monotonic() - started, "after_answer": memory()}
print(json.dumps(found))
"""


def measure(arguments: argparse.Namespace, environment: dict[str, str]) -> dict[str, Any]:
    """One fresh process."""
    command = [sys.executable, "-c", OPEN, arguments.bundle, arguments.threads, arguments.tokens, QUESTION]
    started = time.monotonic()
    run = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True, env=environment)
    found: dict[str, Any] = json.loads(run.stdout)
    found["ready_s"] = found.pop("ready") - started
    return found


def summary(runs: list[dict[str, Any]], size: int) -> dict[str, Any]:
    """Medians and spreads over ``runs`` of a bundle of ``size`` bytes."""
    seconds = sorted(run["ready_s"] for run in runs)
    last = [run.get("after_answer", run["at_ready"]) for run in runs]
    peak = max(memory["VmHWM"] for memory in last)
    return {
        "ready_s": {"median": statistics.median(seconds), "least": seconds[0], "most": seconds[-1]},
        "cpu_s": statistics.median(run["cpu_s"] for run in runs),
        "peak_bytes": peak,
        "anon_bytes": max(memory["RssAnon"] for memory in last),
        "file_bytes": max(memory["RssFile"] for memory in last),
        "peak_by_bundle": peak / size,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=demo_bundle(), help="the demo's where it is left out")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="0 leaves them to onnxruntime")
    parser.add_argument("--tokens", type=int, default=256, help="limit of one answer after opening; 0 gives none")
    parser.add_argument("--json", type=Path, help="a file for the result")
    arguments = parser.parse_args()
    bundle = Bundle.open(arguments.bundle, verify=False)
    with tempfile.TemporaryDirectory() as cache:
        # Bytecode as an installed package has it, wherever this checkout may not write it.
        environment = {**os.environ, "XDG_CACHE_HOME": cache, "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        first, *runs = [measure(arguments, environment) for _ in range(arguments.runs + 1)]
    result = {
        "bundle": bundle.manifest.name,
        "precision": bundle.manifest.precision.name,
        "bundle_bytes": bundle.size_bytes,
        "machine": {"processor": processor_name(), "cores": usable_cores(), "onnxruntime": onnxruntime_version()},
        "threads": arguments.threads,
        "tokens": arguments.tokens,
        "first_ready_s": first["ready_s"],
        **summary(runs, bundle.size_bytes),
        "provenance": msgspec.to_builtins(
            provenance(
                "PYTHONPATH=src python benchmarks/start_up.py --bundle BUNDLE"
                f" --threads {arguments.threads} --tokens {arguments.tokens} --runs {arguments.runs}"
            )
        ),
        "runs": runs,
    }
    text = json.dumps(result, indent=1)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    main()
