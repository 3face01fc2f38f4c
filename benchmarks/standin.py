"""Makes a stand-in checkpoint: the exact shape of a Gemma 3, with random weights from a seed.

    PYTHONPATH=src python benchmarks/standin.py --shape 4b DIR

The weights differ in every tensor: onnxruntime merges equal ones, which would void every figure of memory. They
are bf16 in safetensors shards, written tensor by tensor (4b: 7.8 GB, a minute, little memory). Norms and matrices
have the spread of the trained 270M, so that activations stay finite. The tokenizer is one of single bytes with
Gemma's control tokens; give --tokenizer a folder with the true tokenizer.json to have prompts of real length.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

SHAPES: dict[str, dict[str, Any]] = {
    "4b": {
        "vocab_size": 262_208,
        "hidden_size": 2560,
        "intermediate_size": 10_240,
        "num_hidden_layers": 34,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "sliding_window": 1024,
        "max_position_embeddings": 131_072,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    },
    "270m": {
        "vocab_size": 262_144,
        "hidden_size": 640,
        "intermediate_size": 2048,
        "num_hidden_layers": 18,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "sliding_window": 512,
        "max_position_embeddings": 32_768,
    },
    "tiny": {
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "sliding_window": 32,
        "max_position_embeddings": 4096,
    },
}
SHARD_BYTES = 4_000_000_000
_BLOCK_NUMBERS = 1 << 23


def config(shape: str) -> dict[str, Any]:
    """The content of ``config.json``."""
    return {
        "model_type": "gemma3_text",
        "architectures": ["Gemma3ForCausalLM"],
        "head_dim": 256,
        "query_pre_attn_scalar": 256,
        "rope_theta": 1e6,
        "rope_local_base_freq": 1e4,
        "rms_norm_eps": 1e-6,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 2,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        **SHAPES[shape],
    }


def bf16(numbers: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """``numbers`` rounded to nearest even, as bit patterns."""
    bits = numbers.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def random_rows(name: str, shape: tuple[int, ...], seed: int) -> Iterator[np.ndarray[Any, Any]]:
    """bf16 bit patterns of the whole tensor, in blocks."""
    generator = np.random.default_rng([seed, *name.encode()])
    centre, spread = (0.5, 0.5) if len(shape) == 1 else (0.0, 0.5 * shape[-1] ** -0.5)
    left = prod(shape)
    while left:
        count = min(left, _BLOCK_NUMBERS)
        numbers = generator.standard_normal(count, np.float32)
        yield bf16(numbers * np.float32(spread) + np.float32(centre))
        left -= count


def write_shard(path: Path, shapes: dict[str, tuple[int, ...]], seed: int) -> None:
    """One safetensors file: eight bytes of length, a header in JSON, and the tensors one after the other."""
    header, offset = {}, 0
    for name, shape in shapes.items():
        end = offset + 2 * prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes.items():
            for block in random_rows(name, shape, seed):
                file.write(block.data)


def write_checkpoint(folder: Path, shape: str, seed: int, tokenizer: Path | None) -> None:
    """The whole checkpoint; ``folder`` must not exist."""
    from dagger_edge.export.config import TextConfig
    from dagger_edge.export.folder import InputFolder

    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config(shape), indent=2), encoding="utf-8")
    shapes = TextConfig.read(InputFolder(folder, "checkpoint")).tensor_shapes
    shards: list[dict[str, tuple[int, ...]]] = [{}]
    for name, size in shapes.items():
        if 2 * sum(map(prod, [*shards[-1].values(), size])) > SHARD_BYTES:
            shards.append({})
        shards[-1][name] = size
    names = [f"model-{number:05}-of-{len(shards):05}.safetensors" for number in range(1, len(shards) + 1)]
    weight_map = {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}), encoding="utf-8")
    for name, shard in zip(names, shards, strict=True):
        write_shard(folder / name, shard, seed)
    if tokenizer is not None:
        shutil.copyfile(tokenizer / "tokenizer.json", folder / "tokenizer.json")
    else:
        write_byte_tokenizer(folder / "tokenizer.json")


def write_byte_tokenizer(path: Path) -> None:
    """A tokenizer of single bytes, with Gemma's control tokens."""
    from tokenizers import Tokenizer, decoders, models

    special = ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"]
    entries = [*special, *(f"<0x{byte:02X}>" for byte in range(256))]
    vocabulary = {token: index for index, token in enumerate(entries)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(path))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the checkpoint to make")
    parser.add_argument("--shape", choices=SHAPES, default="4b")
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--tokenizer", type=Path, help="a folder with a tokenizer.json to use instead of bytes")
    options = parser.parse_args()
    write_checkpoint(options.folder, options.shape, options.seed, options.tokenizer)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
