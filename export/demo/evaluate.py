"""Measures the demo bundle on held-out problems; the figures of its model card.

    python -m dagger_edge.export.demo.evaluate BUNDLE --msvamp tests/data/msvamp_bn_gold.jsonl --json report.json

Three sets: (a) new numbers and names in the sentences of training, (b) sentences never trained on, (c) MSVAMP rows
500-599. An answer is right within a relative 1e-6 of the gold one, as in the authors' evaluation. A distractor flag
is right where the model has a constant of that value with that flag; a missing graph has none right.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ...runtime.graph import Graph
from ...runtime.options import DecodeOptions
from ...runtime.solution import NoAnswerError
from ...runtime.solver import Solver
from .compose import Problem
from .corpus import evaluation_set
from .msvamp import HELD_OUT_ROWS, read_rows


@dataclass(frozen=True, slots=True)
class Score:
    """Counts over one set: problems, right answers, outputs without a usable graph, constants, right flags."""

    problems: int
    answers_right: int
    no_graph: int
    flags: int
    flags_right: int

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return self.answers_right / self.problems

    @property
    def flag_accuracy(self) -> float:
        """Share of right distractor flags."""
        return self.flags_right / self.flags


def answer_is_right(answer: float, gold: float) -> bool:
    """The authors' comparison (``src/eval/helpers.py``): a relative difference of 1e-6 at most."""
    return math.isclose(answer, gold, rel_tol=1e-6, abs_tol=1e-9)


def flags_right(graph: Graph | None, gold: Graph) -> tuple[int, int]:
    """How many of the flags are right, of how many: the larger number of constants counts."""
    wanted = _flags(gold)
    found = _flags(graph) if graph is not None else Counter[tuple[float, bool]]()
    return (wanted & found).total(), max(wanted.total(), found.total())


def _flags(graph: Graph) -> Counter[tuple[float, bool]]:
    return Counter((float(node.val), node.distractor) for node in graph.nodes if node.val is not None)


def score(solver: Solver, problems: Sequence[Problem], failures: list[dict[str, object]]) -> Score:
    """Solves ``problems`` one by one; what went wrong is added to ``failures``."""
    right = none = flags = flags_ok = 0
    for problem in problems:
        graph, answer = _solve(solver, problem.question)
        good = answer is not None and answer_is_right(answer, problem.answer)
        found, total = flags_right(graph, problem.graph)
        right += good
        none += graph is None
        flags += total
        flags_ok += found
        if not good or found < total:
            failures.append(
                {
                    "shape": problem.shape,
                    "question": problem.question,
                    "gold": problem.answer,
                    "answer": answer,
                    "graph": None if graph is None else graph.to_json(),
                }
            )
    return Score(len(problems), right, none, flags, flags_ok)


# The model by itself: what the grammar adds is another question.
_AS_IT_WRITES = DecodeOptions(grammar=False)


def _solve(solver: Solver, question: str) -> tuple[Graph | None, float | None]:
    try:
        solution = solver.solve(question, _AS_IT_WRITES)
    except NoAnswerError:
        return None, None
    return solution.graph, float(solution.answer)


def msvamp_problems(gold: Path) -> list[Problem]:
    """MSVAMP rows 500-599, which the demo never saw."""
    return [Problem(row.question, row.graph, row.answer, "msvamp") for row in read_rows(gold, HELD_OUT_ROWS)]


def main() -> None:
    """The command line of this script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--msvamp", type=Path, required=True, help="msvamp_bn_gold.jsonl")
    parser.add_argument("--problems", type=int, default=500, help="size of each of the generated sets")
    parser.add_argument("--json", type=Path, help="write the figures there, with every failure")
    args = parser.parse_args()
    sets = {
        "a: new numbers and names": evaluation_set(args.problems, held_out=False),
        "b: sentences never trained on": evaluation_set(args.problems, held_out=True),
        "c: MSVAMP rows 500-599": msvamp_problems(args.msvamp),
    }
    report: dict[str, object] = {}
    with Solver.open(args.bundle) as solver:
        for name, problems in sets.items():
            failures: list[dict[str, object]] = []
            result = score(solver, problems, failures)
            report[name] = asdict(result) | {"failures": failures}
            print(  # noqa: T201
                f"{name}: answers {result.answers_right}/{result.problems} ({result.accuracy:.1%}), "
                f"flags {result.flags_right}/{result.flags} ({result.flag_accuracy:.1%}), "
                f"no graph {result.no_graph}",
                flush=True,
            )
    if args.json:
        args.json.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
