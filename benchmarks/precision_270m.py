"""What each precision, and each step of its recipe, keeps of real Gemma 3 weights.

    PYTHONPATH=src python benchmarks/precision_270m.py --work DIR [--variant int4 ...]

Exports the 270M (see parity_270m.py, which gets it) by every recipe in `variants`, and compares the bundles'
logits in onnxruntime with torch in fp32: mean Kullback-Leibler divergence in nats and share of equal likeliest
tokens, over the tokens after the part that all prompts begin with, on questions that are not calibrated on. Bundles are
read as they are used, after their snapshot; ``whole`` is where the graph reads the whole prompt by itself. Results are
added to those in the result file.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from parity_270m import ROOT, convert, fetch_weights, provenance

if TYPE_CHECKING:
    from dagger_edge.runtime.bundle import Bundle
    from dagger_edge.runtime.session import Cache, Session

_FP32 = np.dtype(np.float32)
# Logits at a time: at Gemma's vocabulary a token's take 1 MiB.
_ROWS = 64
# Logits float32 [n, vocab] of a prompt's tokens after `Measure.shared`, a number of rows at a time.
LogitsOf = Callable[[list[int]], Iterable[NDArray[np.float32]]]


def variants() -> dict[str, Any]:
    """Recipes by name; those named as a precision are what ``export`` does."""
    from dagger_edge.export.recipe import Calibration, recipe
    from dagger_edge.export.storage.blocks import Blocks, SharedBlocks

    int4, int8 = recipe("int4"), recipe("int8")
    ranges = Calibration(smoothing=0, head_smoothing=0, feedback=False)
    feedback = Calibration(smoothing=0, head_smoothing=0)
    eight = Blocks(8, 64, True, _FP32)
    return {
        "fp32": recipe("fp32"),
        "fp16": recipe("fp16"),
        "int4": int4,
        "int8": int8,
        "int4-fast": recipe("int4-fast"),
        "int8-blocks": recipe("int8-blocks"),
        "int4, rounding": replace(int4, calibration=None),
        "int4, range search": replace(int4, calibration=ranges),
        "int4, range search, feedback": replace(int4, calibration=feedback),
        "int4, all of it, on 48 questions": replace(int4, calibration=Calibration(prompts=48)),
        "int4, all of it, blocks of 32": replace(
            int4, product=Blocks(4, 32, True, _FP32), vocabulary=SharedBlocks(_FP32, 32)
        ),
        "int4, all of it, v and down in 8 bits": replace(
            int4, exceptions={**int4.exceptions, "self_attn.v_proj": eight, "mlp.down_proj": eight}
        ),
        "int8, rounding": replace(int8, calibration=None),
        "int8, smoothed": replace(int8, calibration=Calibration(smoothing=0.7, feedback=False)),
        "int8, feedback": replace(int8, calibration=feedback),
        "int8-blocks, rounding": replace(recipe("int8-blocks"), calibration=None),
    }


class Measure:
    """Compares bundles of one checkpoint with it.

    Args:
        checkpoint: its folder.
        questions: to ask; two or more.
        template: the prompt template.
    """

    def __init__(self, checkpoint: Path, questions: Sequence[str], template: str) -> None:
        from tokenizers import Tokenizer

        from dagger_edge.export.checkpoint import Checkpoint
        from dagger_edge.export.layerwise import LayerwiseReference
        from dagger_edge.export.quantize.layers import common_length
        from dagger_edge.export.reference import WholeReference, load_model
        from dagger_edge.runtime.prompt import Prompt

        prompt = Prompt(Tokenizer.from_file(str(checkpoint / "tokenizer.json")), template)
        self._prompts = [prompt.encode(question) for question in questions]
        self.shared = common_length(self._prompts)
        opened = Checkpoint.open(checkpoint)
        with opened.weights() as weights:
            states = LayerwiseReference(weights).hidden(self._prompts)
        self._states = [state[self.shared :] for state in states]
        self._reference = WholeReference(load_model(opened))

    def of(self, bundle: Bundle) -> dict[str, Any]:
        """The divergence of a bundle, its agreement, and the number of tokens: as it is used, after its snapshot; and
        ``whole``, where its graph reads the whole prompt by itself."""
        from dagger_edge.runtime.session import Session

        session = Session(bundle.model_path)
        ids = self._prompts[0][: self.shared]
        snapshot = bundle.snapshot(ids)
        whole = self._after(session, session.step(np.array([ids], np.int64), session.empty_cache())[1])
        if snapshot is None:
            return whole
        used = self._after(session, snapshot.start(session, self._prompts[0]).cache)
        return {**used, "whole": {name: whole[name] for name in ("kl", "top1")}}

    def _after(self, session: Session, start: Cache) -> dict[str, Any]:
        from dagger_edge.export.verify import read

        def logits_of(ids: list[int]) -> Iterator[NDArray[np.float32]]:
            cache = start
            for first in range(self.shared, len(ids), _ROWS):
                logits, cache = read(session, ids[first : first + _ROWS], cache)
                yield logits

        return self.against(logits_of)

    def against(self, logits_of: LogitsOf) -> dict[str, Any]:
        """The same of any engine, which is given a prompt's ids."""
        from dagger_edge.export.verify import RowDistances, row_distances

        found = []
        for ids, states in zip(self._prompts, self._states, strict=True):
            first = 0
            for logits in logits_of(ids):
                expected = self._reference.logits(states[first : first + len(logits)])
                found.append(row_distances(expected, logits))
                first += len(logits)
        every = RowDistances(*np.concatenate(found, axis=1))
        return {"kl": float(every.divergence.mean()), "top1": float(every.top1.mean()), "tokens": len(every.top1)}


def ask(count: int) -> tuple[list[str], str]:
    """``count`` questions, and which they are."""
    third = count // 3
    questions = [
        json.loads(line)["question"]
        for name, rows in (("msvamp_bn_gold.jsonl", count - third), ("mgsm_bn_gold.jsonl", third))
        for line in (ROOT / "tests/data" / name).read_text(encoding="utf-8").splitlines()[:rows]
    ]
    return questions, f"the first {count - third} rows of MSVAMP and {third} of MGSM, prompt template card"


def asked(options: argparse.Namespace) -> str:
    """The options that the figures depend on, as on the command line."""
    return f"--questions {options.questions}" + (" --checkpoint CHECKPOINT" if options.checkpoint else "")


def measure(name: str, chosen: Any, checkpoint: Path, work: Path, compare: Callable[[Bundle], Any]) -> dict[str, Any]:
    """Exports ``checkpoint`` by the recipe ``chosen``, and compares."""
    from dagger_edge.export.pipeline import export_checkpoint

    bundle = work / "bundle-precision"
    shutil.rmtree(bundle, ignore_errors=True)
    started = time.perf_counter()
    made = export_checkpoint(checkpoint, bundle, precision=chosen.name, variant=chosen, verify=False)
    seconds = time.perf_counter() - started
    # The rotary tables (two kinds, cosines and sines) depend on --context alone.
    shape = made.manifest.architecture
    tables = 4 * shape.context_length * shape.head_dim // 2 * chosen.activations.itemsize
    row = {
        "weights_bytes": (bundle / "model.onnx.data").stat().st_size - tables,
        "export_s": round(seconds, 1),
        **compare(made),
        "recipe": made.manifest.precision.recipe,
    }
    print(name, {key: row[key] for key in ("weights_bytes", "export_s", "kl", "top1", "whole")}, file=sys.stderr)  # noqa: T201
    shutil.rmtree(bundle)
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="as of parity_270m.py")
    parser.add_argument("--checkpoint", type=Path, help="use this one; by default it is fetched into WORK")
    parser.add_argument("--variant", action="append", help="one of `variants`; repeatable; by default all")
    parser.add_argument("--questions", type=int, default=16, help="of MSVAMP and MGSM together (default 16)")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/precision_270m.json")
    options = parser.parse_args()
    options.data = ROOT / "tests/data/msvamp_bn_gold.jsonl"
    from dagger_edge.runtime.bundle import template_text

    options.work.mkdir(parents=True, exist_ok=True)
    checkpoint = options.checkpoint or convert(fetch_weights(options.work), options.work)
    questions, data = ask(options.questions)
    compare = Measure(checkpoint, questions, template_text("card"))
    result = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {"variants": {}}
    known = variants()
    for name in options.variant or known:
        result["variants"][name] = measure(name, known[name], checkpoint, options.work, compare.of)
        result["provenance"] = {
            **provenance(argparse.Namespace(**vars(options), precision="")),
            "data": data,
            "command": f"PYTHONPATH=src python benchmarks/precision_270m.py --work WORK {asked(options)}",
        }
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
