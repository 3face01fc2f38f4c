"""`dagger-edge serve` under load beside a plain loop over `Solver.solve`, in the same run: what the server costs.

Rounds of the loop and of N clients (threads, each with its own connection, each asking the next question as soon as it
has an answer) take turns, over the same questions and with the same number of threads for the model. Every answer of
the server is compared with the loop's. Latency is the client's, so with N clients it holds the wait for N - 1 others.
Processor time is that of the process with the model, which other work on the machine changes least.
Run it from the repository root, on a calm machine:

    PYTHONPATH=src python benchmarks/serve_load.py --json benchmarks/results/serve_load.json
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec

from dagger_edge import NoAnswerError, Solver
from dagger_edge.runtime.bench.provenance import provenance
from dagger_edge.runtime.kernels.machine import usable_cores
from dagger_edge.runtime.solver import demo_bundle

QUESTIONS = Path(__file__).resolve().parents[1] / "tests" / "data" / "demo_questions.jsonl"


class Round(NamedTuple):
    """Seconds of the whole, of the processor, and of each answer; and the answers' texts."""

    whole_s: float
    cpu_s: float
    times: list[float]
    texts: list[str]


@contextmanager
def served(bundle: Path, threads: int) -> Iterator[str]:
    """The address of a server in a process of its own."""
    command = [sys.executable, "-m", "dagger_edge", "serve", "--bundle", bundle, "--threads", threads, "--port", 0]
    process = subprocess.Popen(
        list(map(str, [*command, "--queue", 1000])), stderr=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stderr is not None
    found = re.search(r"http://[0-9.:]+", process.stderr.readline())
    assert found is not None
    # Its log must not fill the pipe.
    reader = threading.Thread(target=process.stderr.read)
    reader.start()
    try:
        while httpx.get(f"{found[0]}/readyz", trust_env=False).status_code != 200:
            time.sleep(0.1)
        yield found[0]
    finally:
        process.terminate()
        process.wait()
        reader.join()


def loop(solver: Solver, questions: Sequence[str]) -> Round:
    """One after another, without a server."""
    times, texts = [], []
    began, cpu = time.perf_counter(), time.process_time()
    for question in questions:
        started = time.perf_counter()
        try:
            texts.append(solver.solve(question).text)
        except NoAnswerError as error:
            texts.append(error.text)
        times.append(time.perf_counter() - started)
    return Round(time.perf_counter() - began, time.process_time() - cpu, times, texts)


def load(url: str, questions: Sequence[str], clients: int) -> Round:
    """The same by ``clients`` at once."""
    own = threading.local()

    def ask(question: str) -> tuple[float, str]:
        if not hasattr(own, "client"):
            own.client = httpx.Client(base_url=url, timeout=600, trust_env=False)
        started = time.perf_counter()
        answer = own.client.post("/v1/solve", json={"question": question}).json()
        return time.perf_counter() - started, (answer if "text" in answer else answer["error"])["text"]

    with ThreadPoolExecutor(clients) as pool:
        began, cpu = time.perf_counter(), processor_seconds(url)
        answers = list(pool.map(ask, questions))
        whole, cpu = time.perf_counter() - began, processor_seconds(url) - cpu
    return Round(whole, cpu, [seconds for seconds, _ in answers], [text for _, text in answers])


def processor_seconds(url: str) -> float:
    """What the server has used so far."""
    text = httpx.get(f"{url}/metrics", timeout=600, trust_env=False).text
    found = re.search(r"^process_cpu_seconds_total (\S+)$", text, re.MULTILINE)
    assert found is not None
    return float(found[1])


def summary(runs: Sequence[Round]) -> dict[str, Any]:
    """Answers a minute of each round (the median tells), and latencies of all rounds together."""
    rates = [60 * len(run.times) / run.whole_s for run in runs]
    cuts = statistics.quantiles([seconds for run in runs for seconds in run.times], n=100, method="inclusive")
    return {
        "cpu_s_an_answer": statistics.median(run.cpu_s / len(run.times) for run in runs),
        "answers_a_minute": statistics.median(rates),
        "rounds": rates,
        "p50_s": cuts[49],
        "p95_s": cuts[94],
        "p99_s": cuts[98],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=demo_bundle(), help="the demo's where it is left out")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="of the model, in both ways")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 20])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--questions", type=int, default=60, help="of a round")
    parser.add_argument("--json", type=Path, help="a file for the result")
    arguments = parser.parse_args()
    lines = [json.loads(line)["question"] for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    questions = (lines * (arguments.questions // len(lines) + 1))[: arguments.questions]
    direct, through = [], {clients: [] for clients in arguments.clients}
    with (
        Solver.open(arguments.bundle, threads=arguments.threads) as solver,
        served(arguments.bundle, arguments.threads) as url,
    ):
        loop(solver, lines)
        load(url, lines, 1)
        for _ in range(arguments.rounds):
            direct.append(loop(solver, questions))
            for clients, runs in through.items():
                runs.append(load(url, questions, clients))
    wanted = direct[0].texts
    assert all(run.texts == wanted for runs in (direct, *through.values()) for run in runs), "answers differ"
    base = summary(direct)
    result = {
        "provenance": msgspec.to_builtins(provenance("PYTHONPATH=src python benchmarks/serve_load.py --json FILE")),
        "threads": arguments.threads,
        "questions": len(questions),
        "loop": base,
        "server": [{"clients": clients, **compared(summary(runs), base)} for clients, runs in through.items()],
    }
    text = json.dumps(result, indent=1)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(f"{text}\n")


def compared(found: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """With the ratio of each round to the loop's round before it."""
    ratios = [one / other for one, other in zip(found["rounds"], base["rounds"], strict=True)]
    cpu = found["cpu_s_an_answer"] / base["cpu_s_an_answer"]
    return {**found, "of_the_loop": statistics.median(ratios), "ratios": [min(ratios), max(ratios)], "cpu": cpu}


if __name__ == "__main__":
    main()
