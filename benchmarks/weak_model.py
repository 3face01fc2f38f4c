"""What the runtime adds to a weak model: free, held to the grammar, and voted on.

The model card says of DAGGER-4B-GRPO that it often writes malformed graphs. The nearest to such a model here is an
early checkpoint of the demo (which rarely does: docs/evaluation.md). It answers new problems of the kinds that it is
trained on (set (a) of the demo's card) in each way; the tables are those of `dagger-edge eval`. Run it from the
repository root in the export environment:

    python -m dagger_edge.export.demo.train WEAK --msvamp tests/data/msvamp_bn_gold.jsonl --steps 300
    python -m dagger_edge export WEAK WEAK-BUNDLE --prompt question --name dagger-edge-weak
    python benchmarks/weak_model.py WEAK-BUNDLE --work DIR

each with ``PYTHONPATH=src``. What was answered is in DIR, and is not asked again when the command is repeated.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from dagger_edge.export.demo.corpus import evaluation_set
from dagger_edge.runtime.bench.provenance import provenance
from dagger_edge.runtime.bench.table import table
from dagger_edge.runtime.evaluation.compare import compare
from dagger_edge.runtime.evaluation.questions import QuestionSet, read_questions
from dagger_edge.runtime.evaluation.row_file import RowFile, Run, read_run
from dagger_edge.runtime.evaluation.run import evaluate, make_header, model_answers, model_settings
from dagger_edge.runtime.evaluation.summary import Group, summarise
from dagger_edge.runtime.evaluation.words import interval, percent, verdict
from dagger_edge.runtime.options import DecodeOptions
from dagger_edge.runtime.sampling import Sampling
from dagger_edge.runtime.solver import Solver


@dataclass(frozen=True, slots=True)
class Way:
    """How answers are decoded: its name in the table and of its file, and the options."""

    name: str
    file: str
    options: DecodeOptions
    samples: int | None = None


def ways(samples: int) -> list[Way]:
    """The ways that are compared, each with one thing more than the one before."""
    drawn = Sampling()
    return [
        Way("free, greedy", "free", DecodeOptions(grammar=False)),
        Way("grammar, greedy", "grammar", DecodeOptions()),
        Way(f"free, vote of {samples}", "free-vote", DecodeOptions(grammar=False, sampling=drawn), samples),
        Way(f"grammar, vote of {samples}", "grammar-vote", DecodeOptions(sampling=drawn), samples),
    ]


def write_problems(path: Path, count: int) -> QuestionSet:
    """The problems, the same in every run, as a test set."""
    rows = [
        {"question": item.question, "answer": item.answer, "graph": json.loads(item.graph.to_json())}
        for item in evaluation_set(count, held_out=False)
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return read_questions(path)


def answered(bundle: Path, way: Way, problems: QuestionSet, work: Path) -> Run:
    """The run of ``way``, gone on with where it is there."""
    out = work / f"{way.file}.jsonl"
    with Solver.open(bundle) as solver:
        settings = model_settings(
            solver,
            [problems],
            way.options,
            way.samples,
            prompt=solver.bundle.manifest.prompt,
            provider="cpu",
            threads=None,
        )
        with RowFile(out, make_header(settings, provenance())) as journal:
            for row in evaluate(problems.questions, model_answers(solver, way.options, way.samples), journal):
                if row.row % 50 == 0:
                    print(f"{way.name}: {row.row}", flush=True)  # noqa: T201
    return read_run(out)


def cells(name: str, group: Group) -> list[str]:
    """A row of the table."""
    found = group.distractors
    recall = "" if found is None or found.recall is None else percent(found.recall)
    return [
        name,
        f"{percent(group.valid)} ({interval(group.valid_interval)})",
        f"{percent(group.accuracy)} ({interval(group.interval)})",
        *(str(count) for count in (group.rejected, group.failed, group.repaired)),
        recall,
        "" if group.cost is None else f"{group.cost.steps:.0f}",
    ]


def main() -> None:
    """The command line of this script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="of the weak model, in any precision")
    parser.add_argument("--work", type=Path, required=True, help="folder for problems and rows")
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--samples", type=int, default=8, help="graphs of a vote")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    problems = write_problems(args.work / "problems.jsonl", args.problems)
    runs = {way.name: answered(args.bundle, way, problems, args.work) for way in ways(args.samples)}
    head = ("", "graphs with an answer", "right", "rejected", "failed", "repaired", "distractors found", "steps")
    rows = [cells(name, summarise(run).total) for name, run in runs.items()]
    print("\n".join(["", f"{len(problems.questions)} problems; intervals of 95 %", "", *table(head, rows), ""]))  # noqa: T201
    free, grammar, free_vote, vote = runs
    for first, second in ((free, grammar), (grammar, vote), (free_vote, vote)):
        print(f"- {first} to {second}: {verdict(compare(runs[first], runs[second]).total)}")  # noqa: T201


if __name__ == "__main__":
    main()
