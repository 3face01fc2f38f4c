"""Whether decoding with everything on gives the ids of slow decoding, on the real Gemma 3 270M.

    PYTHONPATH=src python benchmarks/exact_270m.py --bundle DIR --pruned DIR

BUNDLE is an export of the 270M (parity_270m.py gets it) in fp32 with the card's prompt, whose snapshot is where both
ways begin: cache, forced tokens and drafts on the one side, on the other one token a step, for which all behind the
snapshot is read again. Both are under the same grammar. PRUNED is the same export with ``--head grammar``, whose ids
have to be those of the full head. The 270M has not learnt the task: it writes nonsense, up to the limit if need be.

Slow decoding takes 17 s a question on an idle machine, so every answer is written down, and a run with the same bundle
and limit goes on where the last one ended. After a change to decoding, remove the file: its answers are of the code
before.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "runtime"))

from exactness import TIE, Decoders, compare  # noqa: E402

from dagger_edge.runtime.bundle import WEIGHTS_FILE, Bundle  # noqa: E402


def read_questions(count: int) -> list[str]:
    """MSVAMP's and MGSM's in turn."""
    files = [ROOT / f"tests/data/{name}.jsonl" for name in ("msvamp_bn_gold", "mgsm_bn_gold")]
    rows = zip(*(file.read_text(encoding="utf-8").splitlines() for file in files), strict=False)
    return [json.loads(line)["question"] for pair in rows for line in pair][:count]


def compare_heads(full: Decoders, pruned: Decoders, questions: Sequence[str]) -> dict[str, Any]:
    """How many answers of the pruned head have the ids of the full one, and how near logits are where they differ."""
    gaps = []
    for question in questions:
        expected, found = full.quick(question).ids, pruned.quick(question).ids
        if found != expected:
            pairs = zip(found, expected, strict=False)
            place = next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(found), len(expected)))
            gaps.append(full.gap(question, expected[:place]))
    return {"questions": len(questions), "equal": len(questions) - len(gaps), "gaps": gaps}


def summary(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of what `compare` found."""
    differing = [item for item in items if not item["equal"]]
    return {
        "questions": len(items),
        "tokens": sum(item["tokens"] for item in items),
        "steps": sum(item["steps"] for item in items),
        "complete_graphs": sum(item["stop"] == "stop" for item in items),
        "equal": len(items) - len(differing),
        "differing": differing,
        "differing_where_logits_are_not_tied": sum(item["gap"] >= TIE for item in differing),
    }


def provenance(options: argparse.Namespace) -> dict[str, Any]:
    """What the figures hold for."""
    cpus = [line for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if "model name" in line]
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "cpu": cpus[0].split(":")[1].strip() if cpus else platform.processor(),
        "cores": os.cpu_count(),
        "packages": {name: importlib.metadata.version(name) for name in ("onnxruntime", "tokenizers", "llguidance")},
        "data": "the first rows of MSVAMP and MGSM in turn, prompt template card",
        "command": "PYTHONPATH=src python benchmarks/exact_270m.py --bundle FP32 --pruned FP32-GRAMMAR"
        f" --questions {options.questions} --pruned-questions {options.pruned_questions}"
        f" --max-new-tokens {options.max_new_tokens}",
    }


def known(options: argparse.Namespace) -> dict[str, Any]:
    """What was found before with this bundle and this limit."""
    of = {"weights_sha256": weights_sha256(options.bundle), "max_new_tokens": options.max_new_tokens}
    found: dict[str, Any] = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
    return found if found.get("of") == of else {"of": of, "items": []}


def keep(result: dict[str, Any], options: argparse.Namespace) -> None:
    """Writes what was found so far."""
    result |= {"quick_against_slow": summary(result["items"]), "provenance": provenance(options)}
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def weights_sha256(bundle: Path) -> str:
    """The digest in the manifest."""
    return Bundle.open(bundle, verify=False).manifest.files[WEIGHTS_FILE].sha256


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True, help="with the full head")
    parser.add_argument("--pruned", type=Path, help="the same with --head grammar")
    parser.add_argument("--questions", type=int, default=20, help="default 20")
    parser.add_argument("--pruned-questions", type=int, default=20, help="for the pruned head (default 20)")
    parser.add_argument("--max-new-tokens", type=int, default=96, help="of an answer (default 96: two nodes or three)")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/exact_270m.json")
    options = parser.parse_args()
    questions = read_questions(options.questions)
    full, result = Decoders(options.bundle, options.max_new_tokens), known(options)
    items = result["items"]
    if options.pruned:
        pruned = Decoders(options.pruned, options.max_new_tokens)
        result["pruned_head"] = compare_heads(full, pruned, questions[: options.pruned_questions])
        print(result, file=sys.stderr, flush=True)  # noqa: T201
        keep(result, options)
    for item in compare(full, questions[len(items) :]):
        items.append(item)
        print(len(items), item, file=sys.stderr, flush=True)  # noqa: T201
        keep(result, options)
    return 1 if result["quick_against_slow"]["differing_where_logits_are_not_tied"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
