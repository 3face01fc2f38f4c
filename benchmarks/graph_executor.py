"""Speed of the graph language against a plain recursive evaluation in Python, both in one run, interleaved.

    PYTHONPATH=src python benchmarks/graph_executor.py [--out FILE]

The peer is what one writes in ten lines: ``json.loads``, a dictionary of nodes, a recursive function that remembers
the nodes it has done, and no check of anything. The graphs are the 725 gold graphs of MSVAMP and MGSM that the
repository has, and the first 525 of them again: 1,250, as many as both sets have rows.
Run it on an idle machine: each figure is the median of the rounds, with the smallest and the largest. The result is
in the form of `dagger-edge bench`, a sample a round: plain Python is a peer, and `dagger-edge bench compare` reads it.
"""

from __future__ import annotations

import argparse
import json
import math
import operator
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from dagger_edge.runtime.bench.provenance import provenance
from dagger_edge.runtime.bench.rows import OURS, BenchResult, BenchRun, Row, Settings, make_row
from dagger_edge.runtime.files import write_whole
from dagger_edge.runtime.graph import Graph, GraphBatch, evaluate, execute, execute_many, sweep

DATA = Path(__file__).resolve().parents[1] / "tests" / "data"
ROUNDS = 15
ROUND_S = 0.05
GRAPHS = 1250
SWEEP_ROWS = 1_000_000
LOOP_ROWS = 20_000
PLAIN = "plain Python"

_OPERATIONS: dict[str, Callable[..., float]] = {
    "identity": lambda a: a,
    "add": lambda *args: sum(args),
    "sum": lambda *args: sum(args),
    "sub": operator.sub,
    "mul": lambda *args: math.prod(args),
    "div": operator.truediv,
    "mean": lambda *args: sum(args) / len(args),
    "min": min,
    "max": max,
    "abs": abs,
    "round": round,
    "floor": math.floor,
    "ceil": math.ceil,
    "mod": operator.mod,
    "pow": pow,
    "sqrt": math.sqrt,
}

Nodes = dict[str, dict[str, Any]]


def plain_parse(text: str) -> Nodes:
    """The nodes of a fenced graph by id."""
    return {node["id"]: node for node in json.loads(text[8:-4])["nodes"]}


def plain_answer(nodes: Nodes, name: str = "final_result", done: dict[str, float] | None = None) -> float:
    """The answer by recursion."""
    done = {} if done is None else done
    if name not in done:
        node = nodes[name]
        if node["op"] == "const":
            done[name] = float(node["val"])
        else:
            done[name] = _OPERATIONS[node["op"]](*[plain_answer(nodes, arg, done) for arg in node["args"]])
    return done[name]


def gold_texts() -> list[str]:
    """`GRAPHS` gold graphs, in the style of the prompt."""
    lines = [line for path in sorted(DATA.glob("*_gold.jsonl")) for line in path.read_text("utf-8").splitlines()]
    texts = [Graph.parse(json.dumps(json.loads(line)["graph"])).to_json(fenced=True) for line in lines]
    return [*texts, *texts][:GRAPHS]


def measure(contestants: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Seconds of one run of each contestant in each round, in turn; a short run is repeated for `ROUND_S` seconds."""
    repeats = {name: max(1, round(ROUND_S / _seconds(run, 1))) for name, run in contestants.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            seconds[name].append(_seconds(run, repeats[name]))
    return seconds


def _seconds(run: Callable[[], object], repeats: int) -> float:
    started = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - started) / repeats


def graph_rows(texts: Sequence[str]) -> list[Row]:
    """One graph at a time, and all of them at once."""
    plain = [plain_parse(text) for text in texts]
    graphs = [Graph.parse(text) for text in texts]
    batch = GraphBatch(graphs)
    seconds = measure(
        {
            f"{PLAIN}, parse excluded": lambda: [plain_answer(nodes) for nodes in plain],
            "evaluate, parse excluded": lambda: [evaluate(graph) for graph in graphs],
            f"{PLAIN}, parse included": lambda: [plain_answer(plain_parse(text)) for text in texts],
            "evaluate, parse included": lambda: [evaluate(Graph.parse(text)) for text in texts],
            "execute (full trace), parse excluded": lambda: [execute(graph) for graph in graphs],
            "GraphBatch.run, parse excluded": batch.run,
            "execute_many, parse excluded": lambda: execute_many(graphs),
            "execute_many, parse included": lambda: execute_many([Graph.parse(text) for text in texts]),
        }
    )
    made = []
    for name, values in seconds.items():
        how, _, parse = name.partition(", parse ")
        made.append(_row(how, {"parse": parse}, values, len(texts)))
    return made


def sweep_rows(graph: Graph) -> list[Row]:
    """One graph over many inputs: arrays against calls in a loop."""
    rng = np.random.default_rng(0)
    names = [node.id for node in graph.nodes if node.op == "const"]
    inputs = {name: rng.integers(1, 1000, SWEEP_ROWS).astype(np.float64) for name in names}
    nodes = plain_parse(graph.to_json(fenced=True))
    columns = {name: column[:LOOP_ROWS].tolist() for name, column in inputs.items()}

    def loop() -> None:
        for row in range(LOOP_ROWS):
            for name, column in columns.items():
                nodes[name]["val"] = column[row]
            plain_answer(nodes)

    seconds = measure({PLAIN: loop, "sweep": lambda: sweep(graph, inputs)}, rounds=5)
    asked: Settings = {"inputs": SWEEP_ROWS, "nodes": len(graph.nodes)}
    return [
        _row(PLAIN, asked, seconds[PLAIN], LOOP_ROWS),
        _row("sweep", asked, seconds["sweep"], SWEEP_ROWS),
    ]


def _row(how: str, settings: Settings, seconds: Sequence[float], count: int) -> Row:
    """Microseconds a graph, or an input; the first run is plain Python's, the second ours."""
    asked = settings if how == PLAIN else {"how": how, **settings}
    return make_row(int(how != PLAIN), "graph", asked, [value / count * 1e6 for value in seconds])


def times_faster(rows: Sequence[Row], row: Row) -> list[float]:
    """How many times plain Python's time of the same round each of ours takes."""
    asked = {name: value for name, value in row.settings.items() if name != "how"}
    peer = next(other for other in rows if other.run == 0 and other.settings == asked)
    return [other / own for other, own in zip(peer.samples, row.samples, strict=True)]


def as_result(rows: Sequence[Row], graphs: int) -> BenchResult:
    """The rows with their provenance."""

    def run(engine: str) -> BenchRun:
        return BenchRun(
            bundle=f"{graphs} gold graphs",
            precision="float64",
            weights_sha256=None,
            size_bytes=0,
            prefix_tokens=0,
            provider="cpu",
            threads=1,
            ceiling=None,
            engine=engine,
        )

    return BenchResult(
        result_version=1,
        provenance=provenance("PYTHONPATH=src python benchmarks/graph_executor.py"),
        settings={},
        questions=1,
        repeats=ROUNDS,
        runs=(run(PLAIN), run(OURS)),
        rows=tuple(sorted(rows, key=lambda row: row.run)),
        task=f"{graphs} gold graphs of MSVAMP and MGSM, in {ROUNDS} rounds by turns; sweeps in 5",
    )


def main() -> None:
    """The command line of this script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DATA.parents[1] / "benchmarks/results/graph_executor.json")
    args = parser.parse_args()
    texts = gold_texts()
    graphs = sorted((Graph.parse(text) for text in texts), key=lambda graph: len(graph.nodes))
    rows = [*graph_rows(texts), *sweep_rows(graphs[len(graphs) // 2]), *sweep_rows(graphs[-1])]
    print("| us a graph | median | min | max | times faster than plain Python |\n|---|---|---|---|---|")  # noqa: T201
    for row in rows:
        faster = "" if row.run == 0 else f"{statistics.median(times_faster(rows, row)):.2f}"
        name = ", ".join([PLAIN] * (row.run == 0) + [str(value) for value in row.settings.values()])
        print(f"| {name} | {row.median:.4f} | {min(row.samples):.4f} | {max(row.samples):.4f} | {faster} |")  # noqa: T201
    made = as_result(rows, len(texts))
    write_whole(args.out, msgspec.json.format(msgspec.json.encode(made), indent=1).decode() + "\n")


if __name__ == "__main__":
    main()
