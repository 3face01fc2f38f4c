"""Whether onnxruntime-genai opens our bundles and decodes the same ids as our runtime, and how fast both are.

Takes bundles as `dagger-edge export` made them. For every question: the ids of the prompt by their tokenizer and by
ours, and greedily decoded tokens by both. Run it from the repository root in an environment with the `bench` extra:

    PYTHONPATH=src python benchmarks/genai_ids.py BUNDLE ... --questions 5 --tokens 64

It exits with 1 where any id differs.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent


def compare(folder: Path, questions: list[str], tokens: int) -> dict[str, Any]:
    """Counts of equal ids over all questions, and tokens a second of both."""
    import onnxruntime_genai as genai
    from tokenizers import Tokenizer

    from dagger_edge.runtime.bundle import Bundle
    from dagger_edge.runtime.context import Context
    from dagger_edge.runtime.decode import Limits, decode, drain
    from dagger_edge.runtime.prompt import PLACEHOLDER, Prompt
    from dagger_edge.runtime.session import Session

    bundle = Bundle.open(folder)
    stop, context = set(bundle.manifest.special_ids.stop), bundle.manifest.architecture.context_length
    prompt = Prompt(Tokenizer.from_file(str(bundle.tokenizer_path)), bundle.prompt_template)
    prompts = [prompt.encode(question) for question in questions]
    session, ours, started = Session(bundle.model_path), [], time.perf_counter()
    limits = Limits(stop, tokens, context)
    for ids in prompts:
        ours.append(drain(decode(Context(session, limit=context), ids, limits))[0])
    ours_s = time.perf_counter() - started
    del session
    model = genai.Model(str(folder))
    tokenizer, theirs, started = genai.Tokenizer(model), [], time.perf_counter()
    for ids in prompts:
        parameters = genai.GeneratorParams(model)
        parameters.set_search_options(max_length=len(ids) + tokens)
        generator = genai.Generator(model, parameters)
        generator.append_tokens(np.array(ids, np.int32))
        decoded = []
        while not generator.is_done():
            generator.generate_next_token()
            decoded.append(int(generator.get_next_tokens()[0]))
        theirs.append([token for token in decoded if token not in stop])
    theirs_s = time.perf_counter() - started
    chats = [
        f"<bos><start_of_turn>user\n{bundle.prompt_template.replace(PLACEHOLDER, question.strip()).strip()}"
        "<end_of_turn>\n<start_of_turn>model\n"
        for question in questions
    ]
    return {
        "bundle": bundle.manifest.name,
        "precision": bundle.manifest.precision.name,
        "questions": len(questions),
        "prompts_equal": sum(
            list(map(int, tokenizer.encode(chat))) == ids for chat, ids in zip(chats, prompts, strict=True)
        ),
        "answers_equal": sum(a == b for a, b in zip(ours, theirs, strict=True)),
        "decoded_tokens": sum(map(len, ours)),
        "prompt_tokens": sum(map(len, prompts)),
        "seconds": {"dagger-edge": round(ours_s, 1), "onnxruntime-genai": round(theirs_s, 1)},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--questions", type=int, default=5, help="how many questions (default 5)")
    parser.add_argument("--tokens", type=int, default=64, help="to decode after each (default 64)")
    parser.add_argument("--data", type=Path, default=ROOT / "tests/data/msvamp_bn_gold.jsonl", help="JSONL")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/genai_ids.json", help="result file")
    options = parser.parse_args()
    lines = options.data.read_text(encoding="utf-8").splitlines()[: options.questions]
    questions = [json.loads(line)["question"] for line in lines]
    rows = []
    for folder in options.bundles:
        rows.append(compare(folder, questions, options.tokens))
        print(json.dumps(rows[-1]), file=sys.stderr)  # noqa: T201
    packages = ("onnxruntime", "onnxruntime-genai", "tokenizers")
    result = {
        "passed": all(row["answers_equal"] == row["prompts_equal"] == len(questions) for row in rows),
        "bundles": rows,
        "provenance": {
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "cores": os.cpu_count(),
            "packages": {name: importlib.metadata.version(name) for name in packages},
            "data": f"{options.data.name}, the first {len(questions)} rows",
            "command": f"PYTHONPATH=src python benchmarks/genai_ids.py BUNDLE ... --questions {len(questions)}"
            f" --tokens {options.tokens}",
        },
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
