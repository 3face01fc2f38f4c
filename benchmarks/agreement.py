"""Whether `dagger-edge bench` agrees with itself, and sees a slowdown: the same bundle measured again and again.

    PYTHONPATH=src python benchmarks/agreement.py [--tries 20] [--bundle DIR] [--json FILE]

Each try measures the bundle three times, one after the other: twice as it is, and once with every run of the model made
slower by a fifth. The first two must agree; the third must be flagged against the first. On an idle machine.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from dagger_edge.runtime.bench.compare import Comparison, compare
from dagger_edge.runtime.bench.measure import Plan, measure
from dagger_edge.runtime.bench.table import title
from dagger_edge.runtime.solver import demo_bundle

DRAG = 0.2


def attempt(plan: Plan) -> dict[str, Any]:
    """What the two comparisons of one try say."""
    first, second, slow = measure(plan), measure(plan), measure(replace(plan, drag=DRAG))
    return {
        "provenance": msgspec.to_builtins(first.provenance),
        "same": told(compare(first, second)),
        "slowed": told(compare(first, slow)),
    }


def told(found: Comparison) -> dict[str, Any]:
    """Rows by verdict, and what is said of the machine."""
    rows = {
        verdict: [title(change.what, change.settings) for change in found.changes if change.verdict == verdict]
        for verdict in ("worse", "better", "untold")
    }
    return {"tested": sum(change.tested for change in found.changes), **rows, "notes": list(found.notes)}


def main() -> None:
    """The command line of this script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--questions", type=int, default=12)
    parser.add_argument("--bundle", type=Path, default=demo_bundle())
    parser.add_argument("--json", type=Path, help="write what was found there, after every try")
    args = parser.parse_args()
    plan = Plan((args.bundle,), repeats=args.repeats, questions=args.questions)
    found = []
    for number in range(args.tries):
        found.append(attempt(plan))
        same, slowed = found[-1]["same"], found[-1]["slowed"]
        print(f"{number + 1}: same {same['worse']} {same['better']}; slowed: {len(slowed['worse'])} rows worse")  # noqa: T201
        if args.json:
            args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    flagged = sum(bool(one["same"]["worse"] or one["same"]["better"]) for one in found)
    seen = sum(bool(one["slowed"]["worse"]) for one in found)
    print(f"identical runs flagged: {flagged} of {len(found)}; slowed runs flagged: {seen} of {len(found)}")  # noqa: T201


if __name__ == "__main__":
    main()
