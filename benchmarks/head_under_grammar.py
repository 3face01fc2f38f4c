"""What a pruned output head changes where decoding is held to the grammar, on a bundle that has all rows.

    PYTHONPATH=src python benchmarks/head_under_grammar.py [--bundle DIR] [--questions N] [--max-new-tokens N]

A row that a head lacks gives `REMOVED_LOGIT` and leaves the others as they are (tests/export/test_head.py), so the
rows are taken out of the logits here, and one bundle is enough: by default the demo. ``grammar`` is to give the same
ids; ``short`` the same language: how often the same ids, text and answer is what is counted. Needs the runtime and
export/head.py, not torch. Results go to stdout.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from dagger_edge.export.head import HeadCut
from dagger_edge.runtime.engine import Engine
from dagger_edge.runtime.errors import DaggerEdgeError
from dagger_edge.runtime.graph import evaluate, read
from dagger_edge.runtime.options import DecodeOptions
from dagger_edge.runtime.session import REMOVED_LOGIT, Session
from dagger_edge.runtime.solver import Solver, demo_bundle

ROOT = Path(__file__).resolve().parent.parent


class Cut:
    """A session whose head lacks rows."""

    def __init__(self, session: Session, removed: Any) -> None:
        self._session, self._removed = session, removed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run_bound(self, *arguments: Any) -> Any:
        logits = self._session.run_bound(*arguments)
        logits[..., self._removed] = REMOVED_LOGIT
        return logits


def answers(engine: Engine, questions: list[str], options: DecodeOptions) -> list[list[int]]:
    """The ids of each answer."""
    found = []
    for question in questions:
        prompt = engine.prompt.encode(question)
        found.append([token for emitted in engine.decode(question, prompt, options) for token in emitted.ids])
    return found


def answer_of(text: str) -> float | None:
    """What the graph ``text`` gives."""
    try:
        return float(evaluate(read(text).graph))
    except DaggerEdgeError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=demo_bundle())
    parser.add_argument("--questions", type=int, default=50, help="of MSVAMP and of MGSM, each (default 50)")
    parser.add_argument("--max-new-tokens", type=int, default=1024)
    options = parser.parse_args()
    questions = [
        json.loads(line)["question"]
        for name in ("msvamp_bn_gold.jsonl", "mgsm_bn_gold.jsonl")
        for line in (ROOT / "tests/data" / name).read_text(encoding="utf-8").splitlines()[: options.questions]
    ]
    decoding = DecodeOptions(max_new_tokens=options.max_new_tokens)
    with Solver.open(options.bundle) as solver:
        manifest = solver.bundle.manifest
        engine = solver.engine
        session = engine.session
        whole = answers(engine, questions, decoding)
        result: dict[str, Any] = {"questions": len(questions), "tokens": sum(map(len, whole))}
        for name in ("grammar", "short"):
            tokenizer, size = solver.bundle.tokenizer_path, manifest.architecture.vocab_size
            cut = HeadCut.choose(name, tokenizer, size, manifest.special_ids.stop)
            assert cut is not None
            engine._context._session = engine._context._buffers._session = Cut(  # type: ignore[assignment]
                session, np.setdiff1d(np.arange(size), cut.kept)
            )
            found = answers(engine, questions, decoding)
            texts = [[engine.spell(ids).decode() for ids in each] for each in (whole, found)]
            pairs = list(zip(*texts, strict=True))
            result[name] = {
                "rows": cut.rows,
                "same_ids": sum(one == other for one, other in zip(whole, found, strict=True)),
                "same_text": sum(one == other for one, other in pairs),
                "same_answer": sum(answer_of(one) == answer_of(other) for one, other in pairs),
            }
    print(json.dumps(result, indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
