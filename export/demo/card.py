"""Writes the demo model's card into its checkpoint, from its training record and the report of `evaluate.py`.

    python -m dagger_edge.export.demo.card CHECKPOINT REPORT.json

`dagger-edge export` then puts the card into the bundle.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ...runtime.evaluation.intervals import wilson
from .corpus import MSVAMP_SHARE
from .shapes import SHAPES

_CARD = """\
# The demo model of dagger-edge

A Gemma 3 of {parameters:,} parameters, trained from scratch to read Bengali maths word problems and write
computational graphs in the language of DAGGER (arXiv 2601.06853). It exists to show the whole pipeline at work
inside the package. **It is not a DAGGER model and not for real use**: it knows the kinds of sentence that it was
trained on and little else. For real use, export a DAGGER checkpoint: `dagger-edge export CHECKPOINT BUNDLE`.

## What it can do

Greedy decoding, no grammar, measured on the exported bundle; 95 % intervals (Wilson).

| set | problems | answers right | distractor flags right | no usable graph |
|---|---|---|---|---|
{rows}

(a) and (b) come from the generator: (a) has new numbers and names in trained sentences, (b) sentences that training
never used. (c) is real: MSVAMP is a public test set, of which rows 0-499 were trained on, so this is no benchmark
result. A flag is right where the graph has a constant of that value with that flag. Command:

    python -m dagger_edge.export.demo.evaluate BUNDLE --msvamp tests/data/msvamp_bn_gold.jsonl

## How it was made

- Data: {shapes} shapes of word problem, written for this project, with all operations that word problems use, one to
  four steps, up to three added distractor sentences, digits of both scripts and number words; and, {share:.0%} of
  the stream, rows 0-499 of MSVAMP Bengali (MIT) with labels written for this project, most of them with new numbers.
- Training: {steps:,} steps of {batch} problems with Muon and AdamW, cross entropy on the graph alone, labels counting
  less, seed {seed}, {device} with {threads} threads, torch {torch}: {minutes:.0f} minutes; last loss {final_loss:.4f}.
  Command:

      python -m dagger_edge.export.demo.train CHECKPOINT --msvamp tests/data/msvamp_bn_gold.jsonl

- Tokenizer: BPE of its own with Gemma's control tokens and byte fallback. Prompt: the bare question in Gemma's chat
  format, since a model of this size gains nothing from the instructions.

## Licence

Apache-2.0. No weights of Google's Gemma are in it, only the architecture is the same.
"""


def card_text(training: dict[str, Any], report: dict[str, Any]) -> str:
    """The card as Markdown; ``training`` is `training.json`, ``report`` the output of `evaluate.py`."""
    rows = "\n".join(_row(name, counts) for name, counts in report.items())
    return _CARD.format(**training, rows=rows, shapes=len(SHAPES), share=MSVAMP_SHARE, minutes=training["seconds"] / 60)


def _row(name: str, counts: dict[str, Any]) -> str:
    answers = _share(counts["answers_right"], counts["problems"])
    flags = _share(counts["flags_right"], counts["flags"])
    return f"| {name} | {counts['problems']} | {answers} | {flags} | {counts['no_graph']} |"


def _share(right: int, total: int) -> str:
    low, high = wilson(right, total)
    return f"{right / total:.1%} ({low:.1%} to {high:.1%})"


def main() -> None:
    """The command line of this script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("report", type=Path)
    args = parser.parse_args()
    training = json.loads((args.checkpoint / "training.json").read_text())
    text = card_text(training, json.loads(args.report.read_text(encoding="utf-8")))
    (args.checkpoint / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
