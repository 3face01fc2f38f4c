"""What a pruned output head changes on real Gemma 3 weights: tokens, bytes, and the time of a step.

    PYTHONPATH=src python benchmarks/head_270m.py --work DIR

Exports the 270M (see parity_270m.py, which gets it) in int8 without calibration, with each head, and decodes
greedily after questions, without a grammar. The other heads give another token exactly where the one of all rows
says a token that they have no row for; what is decoded after it differs then.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from parity_270m import ROOT, convert, fetch_weights, provenance

# The prompt of the steps that are timed, and how many after each other.
_TIMED_STEPS = 30


def export(checkpoint: Path, work: Path) -> dict[str, Any]:
    """A bundle for every head, opened, by the head's name."""
    from dagger_edge.export.pipeline import export_checkpoint
    from dagger_edge.export.recipe import recipe
    from dagger_edge.runtime.manifest import HEADS

    plain, made = replace(recipe("int8"), calibration=None), {}
    for head in HEADS:
        target = work / f"bundle-head-{head}"
        shutil.rmtree(target, ignore_errors=True)
        made[head] = export_checkpoint(
            checkpoint, target, precision="int8", variant=plain, head=head, context=2048, verify=False
        )
        print(f"exported {target.name}", file=sys.stderr)  # noqa: T201
    return made


def greedy_ids(bundle: Any, questions: Sequence[str], tokens: int) -> list[list[int]]:
    """Greedily decoded ids, at most ``tokens`` a question."""
    from tokenizers import Tokenizer

    from dagger_edge.runtime.context import Context
    from dagger_edge.runtime.decode import Limits, decode, drain
    from dagger_edge.runtime.prompt import Prompt
    from dagger_edge.runtime.session import Session

    prompt = Prompt(Tokenizer.from_file(str(bundle.tokenizer_path)), bundle.prompt_template)
    session, limits = Session(bundle.model_path), Limits(bundle.manifest.special_ids.stop, tokens, 2048)
    return [
        drain(decode(Context(session, limit=limits.context), prompt.encode(question), limits))[0]
        for question in questions
    ]


def compare(bundle: Any, found: list[list[int]], expected: list[list[int]]) -> dict[str, Any]:
    """Of one head: what it reads, and how its ``found`` ids differ from the ``expected`` ones of all rows."""
    from dagger_edge.runtime.session import REMOVED_LOGIT, Session

    session = Session(bundle.model_path)
    logits, _ = session.step(np.array([[bundle.manifest.special_ids.bos]], np.int64), session.empty_cache())
    removed = set(np.flatnonzero(logits[0, -1] == REMOVED_LOGIT).tolist())
    alike = [
        next((index for index, (one, other) in enumerate(zip(a, b, strict=False)) if one != other), min(len(a), len(b)))
        for a, b in zip(found, expected, strict=True)
    ]
    return {
        "rows": len(logits[0, -1]) - len(removed),
        "token_bytes": bundle.manifest.token_bytes,
        "answers_equal": sum(a == b for a, b in zip(found, expected, strict=True)),
        "tokens_before_the_first_difference": sum(alike),
        "tokens_without_a_row": sum(token in removed for ids in expected for token in ids),
    }


def time_steps(bundles: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Milliseconds of steps of one token, heads taking turns: least and median."""
    from dagger_edge.runtime.session import Session

    sessions = {head: Session(bundle.model_path) for head, bundle in bundles.items()}
    ids = np.arange(1000, 1016)[None]
    caches = {head: session.step(ids, session.empty_cache())[1] for head, session in sessions.items()}
    taken: dict[str, list[float]] = {head: [] for head in sessions}
    for _ in range(_TIMED_STEPS):
        for head, session in sessions.items():
            started = time.perf_counter()
            session.step(np.array([[1000]]), caches[head])
            taken[head].append(1e3 * (time.perf_counter() - started))
    return {
        head: {"least": round(min(items), 1), "median": round(statistics.median(items), 1)}
        for head, items in taken.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="as of parity_270m.py")
    parser.add_argument("--checkpoint", type=Path, help="use this one; by default it is fetched into WORK")
    parser.add_argument("--questions", type=int, default=10, help="of MSVAMP (default 10)")
    parser.add_argument("--tokens", type=int, default=64, help="to decode after each (default 64)")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/head_270m.json")
    options = parser.parse_args()
    options.data = ROOT / "tests/data/msvamp_bn_gold.jsonl"
    options.work.mkdir(parents=True, exist_ok=True)
    lines = options.data.read_text(encoding="utf-8").splitlines()[: options.questions]
    questions = [json.loads(line)["question"] for line in lines]
    checkpoint = options.checkpoint or convert(fetch_weights(options.work), options.work)
    bundles = export(checkpoint, options.work)
    decoded = {head: greedy_ids(bundle, questions, options.tokens) for head, bundle in bundles.items()}
    heads = {head: compare(bundle, decoded[head], decoded["all"]) for head, bundle in bundles.items()}
    result = {
        "tokens": sum(map(len, decoded["all"])),
        "questions": len(questions),
        "heads": heads,
        "step_ms": time_steps(bundles),
        "provenance": {
            **provenance(argparse.Namespace(**vars(options), precision="int8")),
            "data": f"the first {len(questions)} questions of MSVAMP, prompt template card",
            "command": f"PYTHONPATH=src python benchmarks/head_270m.py --work WORK --tokens {options.tokens}",
        },
    }
    print(json.dumps(result, indent=2), file=sys.stderr)  # noqa: T201
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
