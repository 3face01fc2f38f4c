"""How many steps of a model a graph takes, by what is forced and guessed; no model is involved.

    PYTHONPATH=src python benchmarks/model_steps.py --tokenizer TOKENIZER.json

A fake model wants to write the graphs of `tests/data/realistic_graphs.jsonl`, token by token; every step that it is
asked for is counted. The tokenizer is Gemma 3's, which is not ours to ship. How long drafts are depends on what steps
cost; two measured costs stand for the machines that there are (docs/decoding.md).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from tokenizers import Tokenizer

from dagger_edge.export.head import HeadCut
from dagger_edge.runtime.bench.provenance import provenance
from dagger_edge.runtime.bundle import template_text
from dagger_edge.runtime.cost import StepCost
from dagger_edge.runtime.decode import Constraint, Drafter, Limits, NoDrafts, decode
from dagger_edge.runtime.draft import GraphDrafter, Record
from dagger_edge.runtime.grammar import GraphGrammar
from dagger_edge.runtime.graph import Graph
from dagger_edge.runtime.logits import LAST, Positions
from dagger_edge.runtime.prompt import Prompt
from dagger_edge.runtime.spelling import Spelling

ROOT = Path(__file__).resolve().parents[1]
# Seconds of a step by its tokens, of the 4B shape on two cores of an AVX2 machine.
COSTS = {"int4": StepCost((1, 16), (0.141, 0.756)), "int8": StepCost((1, 16), (0.216, 0.68))}
_MAX_NEW_TOKENS, _CONTEXT = 1024, 8192


class GoldReader:
    """A `decode.Reader` that wants given ids behind a prompt, whatever it reads; the prompt's beginning is read.

    Attributes:
        sizes: ids of each step.
        asked: after how many of all of them it was to say what comes next.
        asked_core: after how many of those the logits of core tokens were enough.
    """

    def __init__(self, prompt: Sequence[int], ids: Sequence[int], read: int) -> None:
        self.length, self.sizes, self.asked, self.asked_core = read, list[int](), 0, 0
        self._ids = [*prompt, *ids]

    def feed(self, ids: Sequence[int], at: Positions = LAST, core: Collection[int] = ()) -> Any:
        """The wanted ids themselves, [len(at), 1]: see `wanted`."""
        self.length += len(ids)
        self.sizes.append(len(ids))
        self.asked += len(at)
        self.asked_core += sum(position in core for position in at)
        # Behind a wrong guess there is nothing to want.
        places = [self.length + 1 + position for position in at]
        return np.array([[self._ids[place] if place < len(self._ids) else 0] for place in places])

    def rewind(self, length: int) -> None:
        """Forgets all but the first ``length`` ids."""
        self.length = length


def wanted(row: Any, constraint: Constraint, position: int) -> int:  # noqa: ARG001
    """A `decode.Choose`."""
    return int(row[0])


def written(constraint: Any) -> str:
    """The text under a grammar."""
    text: str = constraint.text.decode(errors="replace")
    return text


def no_text(constraint: Constraint) -> str:  # noqa: ARG001
    """Nothing, so that there is no structure to guess by."""
    return ""


def count(
    rows: Sequence[dict[str, Any]], spelling: Spelling, prompt: Prompt, how: str, cost: StepCost, words: Any
) -> dict[str, Any]:
    """Means of a graph: tokens, steps, ids fed behind the prompt, after how many of them the model is asked, and for
    ``words`` too, and seconds of decoding by ``cost``, as if it were asked after all."""
    record, tokens, sizes, asked, asked_words = Record(), 0, list[int](), 0, 0
    for row in rows:
        question_ids = prompt.encode(row["question"])
        ids = spelling(Graph.parse(json.dumps(row["graph"])).to_json(fenced=True))
        # All of the prompt but its last id is read: a step there would be the prefill.
        reader = GoldReader(question_ids, ids, len(question_ids) - 1)
        drafter: Drafter = NoDrafts()
        if how != "forced tokens":
            text = written if how == "forced tokens, lookup, structure" else no_text
            drafter = GraphDrafter(row["question"], spelling, cost, record, text)
        found: list[int] = []
        limits = Limits((), _MAX_NEW_TOKENS, _CONTEXT)
        grammar = GraphGrammar(spelling, _MAX_NEW_TOKENS, words)
        for emitted in decode(reader, question_ids, limits, constraint=grammar, choose=wanted, drafter=drafter):
            found += emitted.ids
        if found != ids:
            raise SystemExit(f"not the graph that was wanted: {row['question']}")
        tokens += len(ids)
        sizes += reader.sizes
        asked += reader.asked
        asked_words += reader.asked - reader.asked_core
    graphs = len(rows)
    return {
        "steps": round(len(sizes) / graphs, 1),
        "tokens_a_step": round(tokens / len(sizes), 2),
        "fed": round(sum(sizes) / graphs, 1),
        "asked": round(asked / graphs, 1),
        "asked_words": round(asked_words / graphs, 1),
        "seconds_by_cost": round(sum(map(cost.of, sizes)) / graphs, 2),
        "plain_seconds_by_cost": round(cost.of(1) * tokens / graphs, 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, required=True, help="Gemma 3's tokenizer.json")
    parser.add_argument("--template", choices=("card", "paper", "question"), default="card", help="default card")
    parser.add_argument("--data", type=Path, default=ROOT / "tests/data/realistic_graphs.jsonl", help="JSONL")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/model_steps.json")
    options = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(options.tokenizer))
    prompt = Prompt(tokenizer, template_text(options.template))
    spelling = Spelling(tokenizer, tokenizer.token_to_id("<end_of_turn>"))
    cut = HeadCut.choose("grammar", options.tokenizer, spelling.size, ())
    assert cut is not None
    words = spelling.bits_without(cut.kept[: cut.core].tolist())
    rows = [json.loads(line) for line in options.data.read_text(encoding="utf-8").splitlines()]
    graphs = [Graph.parse(json.dumps(row["graph"])).to_json(fenced=True) for row in rows]
    result: dict[str, Any] = {
        "graphs": len(rows),
        "nodes": round(sum(len(row["graph"]["nodes"]) for row in rows) / len(rows), 1),
        "tokens": round(sum(len(spelling(text)) for text in graphs) / len(rows), 1),
        "data": options.data.name,
        "vocabulary": spelling.size,
        "costs": {},
        "provenance": msgspec.to_builtins(
            provenance("PYTHONPATH=src python benchmarks/model_steps.py --tokenizer FILE")
        ),
    }
    for name, cost in COSTS.items():
        result["costs"][name] = {
            "cost": dict(zip(cost.sizes, cost.seconds, strict=True)),
            **{
                how: count(rows, spelling, prompt, how, cost, words)
                for how in ("forced tokens", "forced tokens, lookup", "forced tokens, lookup, structure")
            },
        }
    print(json.dumps(result, indent=2), file=sys.stderr)  # noqa: T201
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
