"""Trains the demo model: a small Gemma 3, from scratch, on generated Bengali word problems.

    python -m dagger_edge.export.demo.train OUT --msvamp tests/data/msvamp_bn_gold.jsonl

writes a checkpoint in the Hugging Face layout (safetensors, config, tokenizer) that `dagger-edge export` takes.
Seeded: the data stream and the initial weights are the same in every run; the last bits of the weights depend on
the machine's arithmetic. The loss is cross entropy on the graph's tokens, those of labels counting less; Muon and AdamW
with warm-up and cosine decay.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch.overrides import TorchFunctionMode
from torch.utils.data import DataLoader, Dataset
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

from ...runtime.prompt import Prompt
from .compose import Problem
from .corpus import Corpus
from .tokenizer import train_tokenizer

VOCAB_SIZE = 1792
BATCH = 32
BATCHES_A_POOL = 16
MAX_TOKENS = 448
STEPS = 8000
PEAK_LEARNING_RATE = 5e-3
# What a token of a label counts: labels are two fifths of the tokens, and no answer hangs on them.
LABEL_WEIGHT = 0.3
TOKENIZER_PROBLEMS = 12_000
_IGNORED = -100
_BENGALI_OR_BYTE = re.compile("[ঀ-৿]|^<0x")


def demo_config(tokenizer: Tokenizer) -> Gemma3TextConfig:
    """The demo's architecture: Gemma 3's in every part, at about 2.7 million parameters."""
    layers = 6
    return Gemma3TextConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=48,
        query_pre_attn_scalar=48,
        max_position_embeddings=1024,
        sliding_window=128,
        layer_types=["full_attention" if index % 3 == 2 else "sliding_attention" for index in range(layers)],
        rope_theta=10_000.0,
        rope_local_base_freq=10_000.0,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.token_to_id("<pad>"),
        bos_token_id=tokenizer.token_to_id("<bos>"),
        eos_token_id=tokenizer.token_to_id("<end_of_turn>"),
        attn_implementation="sdpa",
    )


def target_text(problem: Problem) -> str:
    """What the model is to write: the graph in the fenced style of the DAGGER prompt."""
    return problem.graph.to_json(fenced=True)


class Batches(Dataset[list[tuple[torch.Tensor, torch.Tensor]]]):  # type: ignore[misc]
    """Item ``i``: the batches of pool ``i``, each of problems of like length, as (input ids, labels)."""

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer, pools: int) -> None:
        self._corpus = corpus
        self._tokenizer = tokenizer
        self._prompt = Prompt(tokenizer, "{question}")
        self._end = int(tokenizer.get_vocab()["<end_of_turn>"])
        self._pools = pools

    def __len__(self) -> int:
        return self._pools

    def __getitem__(self, index: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        encoded = [self._encode(problem) for problem in self._corpus.pool(index, BATCH * BATCHES_A_POOL)]
        encoded = sorted((pair for pair in encoded if len(pair[0]) <= MAX_TOKENS), key=lambda pair: len(pair[0]))
        batches = [encoded[start : start + BATCH] for start in range(0, len(encoded) - BATCH + 1, BATCH)]
        random.Random(index).shuffle(batches)
        return [_stack(batch) for batch in batches]

    def _encode(self, problem: Problem) -> tuple[list[int], list[int]]:
        prompt = self._prompt.encode(problem.question)
        written: list[int] = self._tokenizer.encode(target_text(problem), add_special_tokens=False).ids
        target = [*written, self._end]
        return prompt + target, [_IGNORED] * len(prompt) + target


def _stack(batch: list[tuple[list[int], list[int]]]) -> tuple[torch.Tensor, torch.Tensor]:
    # Padded on the right to a multiple of 16: causal attention never looks there, and shapes repeat.
    width = math.ceil(max(len(ids) for ids, _ in batch) / 16) * 16
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    labels = torch.full((len(batch), width), _IGNORED)
    for row, (sequence, target) in enumerate(batch):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        labels[row, : len(target)] = torch.tensor(target)
    return ids, labels


def learning_rate(step: int, steps: int, peak: float = PEAK_LEARNING_RATE, warmup: int = 200) -> float:
    """Linear warm-up, then a cosine to a twentieth of ``peak``."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress)))


def train(
    out: Path,
    gold: Path | None,
    *,
    steps: int,
    seed: int = 0,
    device: str = "cpu",
    workers: int = 0,
    compiled: bool = True,
) -> None:
    """Trains for ``steps`` steps of `BATCH` problems and saves the checkpoint in ``out``.

    Args:
        out: folder to write.
        gold: ``msvamp_bn_gold.jsonl``, or None to train on generated problems alone.
        steps: optimizer steps.
        seed: of the weights and of the stream.
        device: as torch names it.
        workers: processes that make problems; the stream does not depend on their number.
        compiled: through torch.compile, which needs a C++ compiler and makes a step a quarter shorter.
    """
    torch.manual_seed(seed)
    corpus = Corpus(gold, seed)
    sample = corpus.pool(-1, TOKENIZER_PROBLEMS)
    tokenizer = train_tokenizer((text for p in sample for text in (p.question, target_text(p))), VOCAB_SIZE)
    model = Gemma3ForCausalLM(demo_config(tokenizer)).to(device)
    forward = torch.compile(model, dynamic=True) if compiled else model
    optimizers = _optimizers(model)
    weights = token_weights(tokenizer).to(device)
    started = time.monotonic()
    losses: list[float] = []
    for step, (ids, labels) in enumerate(_stream(corpus, tokenizer, steps, workers)):
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = learning_rate(step, steps)
        loss = _loss(forward(input_ids=ids.to(device), use_cache=False).logits, labels.to(device), weights)
        model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        with _InFloat32() if device == "cpu" else nullcontext():
            for optimizer in optimizers:
                optimizer.step()
        losses.append(loss.item())
        if step % 100 == 99 or step == steps - 1:
            took = time.monotonic() - started
            print(f"step {step + 1}/{steps} loss {_recent(losses):.4f} {took:.0f} s", flush=True)  # noqa: T201
    record = {
        "steps": steps,
        "batch": BATCH,
        "peak_learning_rate": PEAK_LEARNING_RATE,
        "seed": seed,
        "device": device,
        "threads": torch.get_num_threads(),
        "seconds": round(time.monotonic() - started),
        "final_loss": round(_recent(losses), 5),
    }
    _save(out, model, tokenizer, record)


def token_weights(tokenizer: Tokenizer) -> torch.Tensor:
    """What each token counts in the loss, float32 of shape ``[vocabulary]``: Bengali in a graph is label."""
    tokens = (tokenizer.id_to_token(index) for index in range(tokenizer.get_vocab_size()))
    return torch.tensor([LABEL_WEIGHT if _BENGALI_OR_BYTE.search(str(token)) else 1.0 for token in tokens])


def _loss(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    flat = logits[:, :-1].reshape(-1, logits.shape[-1]).float()
    return torch.nn.functional.cross_entropy(flat, labels[:, 1:].reshape(-1), weights, ignore_index=_IGNORED)


def _optimizers(model: Gemma3ForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon (K. Jordan, 2024) for the matrices of the layers; AdamW for the embedding and the norms, undecayed."""
    embedding = model.model.embed_tokens.weight
    matrices = [p for p in model.parameters() if p.ndim == 2 and p is not embedding]
    norms = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": [embedding], "weight_decay": 0.05}, {"params": norms, "weight_decay": 0.0}]
    return [
        torch.optim.Muon(matrices, lr=PEAK_LEARNING_RATE, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(groups, lr=PEAK_LEARNING_RATE, betas=(0.9, 0.98), fused=True),
    ]


class _InFloat32(TorchFunctionMode):  # type: ignore[misc]
    """Gives a copy where bfloat16 is asked for, as Muon does for its products: few processors multiply it themselves,
    and on the others that is most of a step's time."""

    def __torch_function__(
        self, function: Callable[..., Any], _types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return args[0].clone() if function is torch.Tensor.bfloat16 else function(*args, **(kwargs or {}))


def _recent(losses: list[float]) -> float:
    last = losses[-100:]
    return sum(last) / len(last)


def _stream(
    corpus: Corpus, tokenizer: Tokenizer, steps: int, workers: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    # More pools than needed, since over-long problems and the rest of a pool are left out.
    data = Batches(corpus, tokenizer, math.ceil(steps / (BATCHES_A_POOL - 2)) + 1)
    batches = (batch for pool in DataLoader(data, batch_size=None, num_workers=workers) for batch in pool)
    for _ in range(steps):
        yield next(batches)


def _save(out: Path, model: Gemma3ForCausalLM, tokenizer: Tokenizer, record: dict[str, object]) -> None:
    model.to("cpu").save_pretrained(out)
    tokenizer.encode_special_tokens = False
    tokenizer.save(str(out / "tokenizer.json"))
    record |= {
        "parameters": model.num_parameters(),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    (out / "training.json").write_text(json.dumps(record, indent=2) + "\n")


def main() -> None:
    """The command line of this script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the checkpoint")
    parser.add_argument("--msvamp", type=Path, help="msvamp_bn_gold.jsonl, of which rows 0-499 are trained on")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=0, help="processes that make problems")
    parser.add_argument("--no-compile", action="store_true", help="do without torch.compile and a C++ compiler")
    args = parser.parse_args()
    train(
        args.out,
        args.msvamp,
        steps=args.steps,
        seed=args.seed,
        device=args.device,
        workers=args.workers,
        compiled=not args.no_compile,
    )


if __name__ == "__main__":
    main()
