"""How the cost of an answer grows: with the question, the graph, what is decoded together, and threads.

    PYTHONPATH=src python benchmarks/scaling.py [--bundle DIR] [--threads 1,2]

Each repetition is a process of its own, and runs with more threads take turns with the others. In each:

- questions of some lengths are read behind the prompt's fixed part, up to the first token;
- graphs of some sizes are written as answers (with snapshot, grammar and drafts), given, so that random weights do
  the work of trained ones: of the 60 graphs of tests/data/realistic_graphs.jsonl those in the middle of their size;
- steps are timed in which several answers read one token each, as votes and batches do.

The demo takes two minutes. The 4B shape in INT8 takes some six on two cores with
`--bundle DIR --threads 2 --repeats 3 --warm-up 0 --nodes 4,6,8,10`. The result is in the form of `dagger-edge bench`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from peers.process import Peer
from peers.race import ROOT, into_page_cache, say
from tokenizers import Tokenizer

from dagger_edge.runtime.bench.provenance import provenance
from dagger_edge.runtime.bench.rows import QUANTITIES, BenchResult, BenchRun, Row, Settings, make_row
from dagger_edge.runtime.bundle import WEIGHTS_FILE, Bundle
from dagger_edge.runtime.files import write_whole
from dagger_edge.runtime.graph import Graph
from dagger_edge.runtime.prompt import Prompt
from dagger_edge.runtime.solver import demo_bundle
from dagger_edge.runtime.spelling import Spelling

DATA = ROOT / "tests/data/realistic_graphs.jsonl"
_SIZES = [1, 2, 4, 6, 8, 16]
_WARM_UP = 8
_REPEATS = 3
# What was found in a process: quantity, settings, value.
_Found = tuple[str, Settings, float]


@dataclass(frozen=True)
class Written:
    """A graph to be written.

    Attributes:
        nodes: that it has.
        question: that it answers.
        prompt: all ids of the prompt.
        ids: of the graph in its fence.
    """

    nodes: int
    question: str
    prompt: list[int]
    ids: list[int]


class Work:
    """What a bundle is given to do: prompts and graphs in its ids."""

    def __init__(self, folder: Path, nodes: Sequence[int]) -> None:
        self.folder, bundle = folder, Bundle.open(folder, verify=False)
        self.manifest, self.size_bytes = bundle.manifest, bundle.size_bytes
        tokenizer = Tokenizer.from_file(str(bundle.tokenizer_path))
        self._spelling = Spelling(tokenizer, self.manifest.special_ids.end_of_turn)
        self._prompt = Prompt(tokenizer, bundle.prompt_template)
        self.fixed = len(self._prompt.prefix_ids)
        rows = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
        graphs = [self._written(row["question"], row["graph"]) for row in rows]
        self.mean_nodes = sum(graph.nodes for graph in graphs) / len(graphs)
        self.graphs = [_middle([graph for graph in graphs if graph.nodes == count]) for count in nodes]
        self.questions = [token for graph in graphs for token in graph.prompt[self.fixed :]]

    def _written(self, question: str, graph: dict[str, Any]) -> Written:
        made = Graph.parse(json.dumps(graph))
        ids = list(self._spelling(made.to_json(fenced=True)))
        return Written(len(made.nodes), question, self._prompt.encode(question), ids)


def _middle(graphs: list[Written]) -> Written:
    if not graphs:
        raise SystemExit(f"{DATA.name} has no graph of one of these sizes: choose among 4 to 11 nodes")
    length = median(len(graph.ids) for graph in graphs)
    return min(graphs, key=lambda graph: abs(len(graph.ids) - length))


def one_process(work: Work, threads: int, options: argparse.Namespace) -> Iterator[_Found]:
    """All that a fresh process finds."""
    with Peer(f"{threads} threads", "ours", [str(work.folder), "--threads", str(threads)]) as engine:
        first = work.graphs[0]
        # What a snapshot holds need not be read; a few ids bring the weights into memory.
        engine.ask("read", ids=first.prompt[:_WARM_UP] if engine.about["snapshot"] else first.prompt, cut=1)
        engine.ask("keep", length=work.fixed)
        for length in options.question_tokens:
            seconds = engine.ask("resume", ids=work.questions[:length])["seconds"][1]
            yield "first token", {"start": "kept beginning", "question tokens": length}, 1e3 * seconds
        engine.ask("resume", ids=first.prompt[work.fixed :])
        engine.ask("steps", ids=first.ids[: max(_SIZES)], sizes=_SIZES, repeats=_REPEATS)
        found = engine.ask("rows", id=first.ids[0], counts=options.rows, repeats=_REPEATS)
        for count, seconds in zip(found["counts"], found["seconds"], strict=True):
            yield "batch step", {"rows": count}, 1e3 * seconds
        for graph in work.graphs:
            found = engine.ask("answer", question=graph.question, prompt=graph.prompt, ids=graph.ids)
            asked: Settings = {"nodes": graph.nodes, "graph tokens": len(graph.ids)}
            yield "answer", asked, found["seconds"][1]
            yield "steps", asked, found["steps"]


def measure(work: Work, options: argparse.Namespace, command: str) -> BenchResult:
    """All repetitions, after one that is not counted."""
    origin = provenance(command)
    found: dict[int, list[list[_Found]]] = {threads: [] for threads in options.threads}
    for number in range(options.repeats + options.warm_up):
        for threads in options.threads:
            turn = number + 1 - options.warm_up
            say(f"{f'round {turn}' if turn > 0 else 'warming up'}, {threads} threads")
            done = list(one_process(work, threads, options))
            if turn > 0:
                found[threads].append(done)
    rows = [row for index, threads in enumerate(options.threads) for row in _rows(index, found[threads])]
    sizes = ", ".join(str(graph.nodes) for graph in work.graphs)
    return BenchResult(
        result_version=1,
        provenance=origin,
        settings={"mean nodes": f"{work.mean_nodes:.2f}"},
        questions=len(work.graphs),
        repeats=options.repeats,
        runs=tuple(_run(work, threads) for threads in options.threads),
        rows=tuple(rows),
        task=f"questions of some lengths, and given graphs of {sizes} nodes, in {options.repeats} processes",
    )


def _rows(run: int, processes: list[list[_Found]]) -> list[Row]:
    order = list(QUANTITIES)
    made = [
        make_row(run, what, settings, [process[place][2] for process in processes])
        for place, (what, settings, _) in enumerate(processes[0])
    ]
    return sorted(made, key=lambda row: order.index(row.what))


def _run(work: Work, threads: int) -> BenchRun:
    manifest = work.manifest
    return BenchRun(
        bundle=manifest.name,
        precision=manifest.precision.name,
        weights_sha256=manifest.files[WEIGHTS_FILE].sha256,
        size_bytes=work.size_bytes,
        prefix_tokens=work.fixed,
        provider="cpu",
        threads=threads,
        ceiling=None,
    )


def numbers(text: str) -> list[int]:
    """Whole numbers with commas between them."""
    return [int(part) for part in text.split(",")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=demo_bundle(), help="the demo's where it is left out")
    parser.add_argument("--threads", type=numbers, default=[1, 2])
    parser.add_argument("--repeats", type=int, default=8, help="processes of each number of threads")
    parser.add_argument("--warm-up", type=int, default=1, help="processes before them that are not counted")
    parser.add_argument("--question-tokens", type=numbers, default=[25, 50, 100, 200])
    parser.add_argument("--nodes", type=numbers, default=[4, 5, 6, 7, 8, 9, 10])
    parser.add_argument("--rows", type=numbers, default=[1, 2, 4, 8])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    work = Work(options.bundle, options.nodes)
    into_page_cache(options.bundle)
    lists = {"threads": options.threads, "question-tokens": options.question_tokens, "nodes": options.nodes}
    words = " ".join(f"--{name} {','.join(map(str, values))}" for name, values in lists.items())
    lists_of = f"{words} --repeats {options.repeats} --warm-up {options.warm_up}"
    command = f"PYTHONPATH=src python benchmarks/scaling.py --bundle DIR {lists_of}"
    if options.bundle == demo_bundle():
        command = command.replace(" --bundle DIR", "")
    made = measure(work, options, f"{command} --out {options.out.name}")
    write_whole(options.out, msgspec.json.format(msgspec.json.encode(made), indent=1).decode() + "\n")
    for row in made.rows:
        say(f"{made.runs[row.run].threads} threads, {row.what} {row.settings}: {row.median:.4g} {row.unit}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
