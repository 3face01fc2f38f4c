"""Prompts that the export measures on: questions of the product's kind, of nobody's test set."""

from __future__ import annotations

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
