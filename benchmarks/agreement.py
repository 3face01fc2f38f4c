"""Whether `dagger-edge bench` agrees with itself, and sees a slowdown: the same bundle measured again and again.

    PYTHONPATH=src python benchmarks/agreement.py [--tries 20] [--bundle DIR]

A try measures the bundle as it is, and then with every run of the model made slower by a fifth. Two things must hold:
what was measured as it is agrees with the try before (the first with one more, before all), and what was slowed is
flagged against that. All are whole results of `measure` with fresh processes, one after the other, as a user would
make them. So that 20 tries fit into a coffee break, a process measures less than by default: two questions, one length
of prompt, no votes, one thread (an operator on two waits for the one that was disturbed). Processes and rule are the
default ones. 20 tries take some 25 minutes. It exits with 1 where identical ones were flagged, or
a slowed one was not.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from dagger_edge.runtime.bench.compare import LEVEL, THRESHOLD, Comparison, compare
from dagger_edge.runtime.bench.measure import Plan, measure
from dagger_edge.runtime.bench.provenance import provenance
from dagger_edge.runtime.bench.table import title
from dagger_edge.runtime.solver import demo_bundle

ROOT = Path(__file__).resolve().parent.parent
DRAG = 0.2


def tries(plan: Plan, count: int) -> Any:
    """Each try, as soon as it is there."""
    before = measure(plan)
    for number in range(1, count + 1):
        started = time.perf_counter()
        slow, again = measure(replace(plan, drag=DRAG)), measure(plan)
        yield {
            "number": number,
            "seconds": round(time.perf_counter() - started, 1),
            "same": told(compare(before, again)),
            "slowed": told(compare(before, slow)),
        }
        before = again


def told(found: Comparison) -> dict[str, Any]:
    """Rows by verdict, the medians' changes, and what is said of the machine."""
    rows = {
        verdict: [title(change.what, change.settings) for change in found.changes if change.verdict == verdict]
        for verdict in ("worse", "better", "untold")
    }
    tested = [change for change in found.changes if change.tested]
    changes = {title(change.what, change.settings): round(change.slower, 4) for change in tested}
    least = min(change.level for change in tested)
    return {"tested": len(tested), **rows, "least_level": least, "slower": changes, "notes": list(found.notes)}


def counts(found: list[dict[str, Any]]) -> dict[str, int]:
    """In how many tries something was told."""
    return {
        "tries": len(found),
        "same_flagged": sum(bool(one["same"]["worse"] or one["same"]["better"]) for one in found),
        "slowed_flagged": sum(bool(one["slowed"]["worse"]) for one in found),
    }


def main() -> int:
    """The command line of this script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--questions", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bundle", type=Path, default=demo_bundle())
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/agreement.json", help="after every try")
    args = parser.parse_args()
    plan = Plan(
        (args.bundle,),
        threads=(args.threads,),
        prefill=(256,),
        questions=args.questions,
        repeats=args.repeats,
        samples=(),
    )
    command = f"PYTHONPATH=src python benchmarks/agreement.py --tries {args.tries} --repeats {args.repeats}"
    origin = msgspec.to_builtins(provenance(f"{command} --questions {args.questions} --threads {args.threads}"))
    found: list[dict[str, Any]] = []
    for one in tries(plan, args.tries):
        found.append(one)
        same, slowed = one["same"], one["slowed"]
        print(  # noqa: T201
            f"{one['number']}: {one['seconds']} s; same: {same['worse']} {same['better']}, least level"
            f" {same['least_level']:.3g}; slowed: {len(slowed['worse'])} of {slowed['tested']} rows worse",
            flush=True,
        )
        rule = {"threshold": THRESHOLD, "level": LEVEL, "drag": DRAG}
        document = {"provenance": origin, "rule": rule, **counts(found), "found": found}
        args.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    total = counts(found)
    print(  # noqa: T201
        f"identical runs flagged: {total['same_flagged']} of {total['tries']};"
        f" slowed runs flagged: {total['slowed_flagged']} of {total['tries']}"
    )
    return int(total["same_flagged"] > 0 or total["slowed_flagged"] < total["tries"])


if __name__ == "__main__":
    raise SystemExit(main())
