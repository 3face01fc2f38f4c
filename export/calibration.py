"""Prompts that the export measures on and calibrates with: questions of the product's kind."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tokenizers import Tokenizer

from ..runtime.prompt import Prompt

QUESTIONS = (
    "রহিমের কাছে ১২টি আম ছিল। সে ৫টি আম বিক্রি করল এবং প্রতিটির দাম ৭.৫ টাকা। সে কত টাকা পেল?",
    "একটি বাগানে ৮ সারি গাছ আছে, প্রতি সারিতে ১৪টি গাছ। ঝড়ে ২৯টি গাছ ভেঙে গেলে কয়টি গাছ থাকে?",
    "সুমি প্রতিদিন 45 মিনিট পড়ে। তার ভাই প্রতিদিন 20 মিনিট খেলে। সুমি এক সপ্তাহে মোট কত ঘণ্টা পড়ে?",
)


def calibration_ids(tokenizer: Path, template: str, context: int) -> list[int]:
    """Token ids of all `QUESTIONS` as one, inside ``template``, cut to ``context`` tokens.

    Args:
        tokenizer: path of ``tokenizer.json``.
        template: the prompt template, with ``{question}``.
        context: of the model.
    """
    prompt = Prompt(Tokenizer.from_file(str(tokenizer)), template)
    return prompt.encode("\n".join(QUESTIONS))[:context]


# Rows 100-131 of MSVAMP (microsoft/MathOctopus, MIT) and 40-55 of MGSM (google-research/url-nlp, CC BY 4.0), which
# are not among those that are measured on; and 64 questions of the demo's generator (`demo.calibration`).
_DATA = Path(__file__).parent / "data" / "calibration.jsonl"


def calibration_prompts(tokenizer: Path, template: str, context: int, count: int) -> list[list[int]]:
    """Token ids of the first ``count`` calibration questions, each inside ``template``.

    Args:
        tokenizer: path of ``tokenizer.json``.
        template: the prompt template, with ``{question}``.
        context: of the model; of longer prompts the first token and the last ones.
        count: 2 or more.
    """
    prompt = Prompt(Tokenizer.from_file(str(tokenizer)), template)
    lines = _DATA.read_text(encoding="utf-8").splitlines()[:count]
    encoded = [prompt.encode(json.loads(line)["question"]) for line in lines]
    return [ids if len(ids) <= context else [ids[0], *ids[len(ids) - context + 1 :]] for ids in encoded]


def calibration_digest(count: int) -> str:
    """The sha256 of the first ``count`` questions, one a line."""
    lines = _DATA.read_text(encoding="utf-8").splitlines()[:count]
    return hashlib.sha256("\n".join(json.loads(line)["question"] for line in lines).encode()).hexdigest()
