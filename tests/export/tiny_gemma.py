"""A tiny Gemma 3 with random weights: sliding and global layers, a window that a short text exceeds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models

SPECIAL = ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"]
WINDOW = 8
SETTINGS: dict[str, Any] = {
    "vocab_size": 264,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "sliding_window": WINDOW,
    "max_position_embeddings": 512,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    "query_pre_attn_scalar": 16,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 2,
}


def write_tokenizer(folder: Path) -> None:
    """A tokenizer of single bytes, with Gemma's control tokens."""
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.save(str(folder / "tokenizer.json"))


def write_checkpoint(folder: Path, *, dtype: str = "float32", max_shard_size: str = "1GB", **changes: Any) -> Path:
    """A random ``Gemma3ForCausalLM`` in ``folder``; ``changes`` go into its configuration."""
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    model = Gemma3ForCausalLM(Gemma3TextConfig(**{**SETTINGS, **changes}))
    return _write(model, folder, dtype, max_shard_size)


def write_multimodal(folder: Path, *, dtype: str = "float32", max_shard_size: str = "1GB", **changes: Any) -> Path:
    """A random ``Gemma3ForConditionalGeneration`` in ``folder``; ``changes`` go into its text configuration."""
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Gemma3Config(
        text_config={**SETTINGS, **changes},
        vision_config={**vision, "image_size": 28, "patch_size": 14},
        mm_tokens_per_image=4,
    )
    return _write(Gemma3ForConditionalGeneration(config), folder, dtype, max_shard_size)


def rename_tensors(folder: Path, pattern: str, replacement: str) -> None:
    """Gives the tensors of the one shard in ``folder`` other names, as other versions of transformers write them."""
    from safetensors.numpy import load_file, save_file

    file = folder / "model.safetensors"
    save_file({re.sub(pattern, replacement, name): value for name, value in load_file(file).items()}, file)


def _write(model: Any, folder: Path, dtype: str, max_shard_size: str) -> Path:
    import torch

    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        # Large enough that a wrong window or scale moves the logits; norms too, which start as zeros.
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    model.to(getattr(torch, dtype)).save_pretrained(folder, max_shard_size=max_shard_size)
    write_tokenizer(folder)
    return folder
