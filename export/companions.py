"""Files by which other tools open the same folder: transformers' configurations, onnxruntime-genai's, the tokenizer's.

None of them is the checkpoint's own file: only what describes a text model is taken over, and nothing that names
code to run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..runtime.bundle import (
    CONFIG_FILE,
    GENAI_CONFIG_FILE,
    GENERATION_CONFIG_FILE,
    MODEL_FILE,
    TOKENIZER_CONFIG_FILE,
)
from ..runtime.manifest import Architecture, SpecialIds
from .checkpoint import Checkpoint
from .config import TextConfig
from .folder import InputFolder

# What a multimodal checkpoint may declare beside its text part, and what is of no use, or harm, in a bundle.
_SHARED_KEYS = ("bos_token_id", "pad_token_id", "dtype", "torch_dtype")
_DROPPED_KEYS = frozenset({"auto_map", "_name_or_path", "_model_name_or_path", "text_config", "vision_config"})
_TOKENIZER_KEYS = (
    "add_bos_token",
    "add_eos_token",
    "added_tokens_decoder",
    "bos_token",
    "chat_template",
    "clean_up_tokenization_spaces",
    "eos_token",
    "pad_token",
    "unk_token",
)
_TOKENIZER: Mapping[str, Any] = {
    "add_bos_token": True,
    "bos_token": "<bos>",
    "eos_token": "<eos>",
    "pad_token": "<pad>",
    "clean_up_tokenization_spaces": False,
}
# onnxruntime-genai allocates its cache for all of them at once, so not the whole context: a prompt of the product
# and the 1,024 tokens of the longest answer.
_GENAI_LENGTH = 2560


def write_companions(checkpoint: Checkpoint, shape: Architecture, folder: Path) -> None:
    """Writes ``config.json``, ``genai_config.json``, ``tokenizer_config.json``, and ``generation_config.json`` if
    the checkpoint has one, into ``folder``.

    Args:
        checkpoint: whose configurations they follow.
        shape: the architecture in the manifest.
        folder: where the bundle is written.

    Raises:
        UsageError: a configuration of the checkpoint is not a JSON object.
        OSError: the disk is full.
    """
    source = checkpoint.folder
    files = {
        CONFIG_FILE: text_config(source.json(CONFIG_FILE), checkpoint.config, shape),
        GENAI_CONFIG_FILE: genai_config(shape, checkpoint.special_ids),
        TOKENIZER_CONFIG_FILE: tokenizer_config(source, shape),
    }
    if source.has(GENERATION_CONFIG_FILE):
        files[GENERATION_CONFIG_FILE] = source.json(GENERATION_CONFIG_FILE)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def text_config(content: Mapping[str, Any], config: TextConfig, shape: Architecture) -> dict[str, Any]:
    """The ``config.json`` of the text model alone, whose positions are those of the bundle.

    Args:
        content: of the checkpoint's ``config.json``, of either class.
        config: what was read from it.
        shape: the architecture in the manifest.
    """
    text = content.get("text_config", content)
    shared = {key: content[key] for key in _SHARED_KEYS if content.get(key) is not None}
    return {
        **shared,
        **{key: value for key, value in text.items() if key not in _DROPPED_KEYS},
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": shape.model_type,
        "max_position_embeddings": shape.context_length,
        "tie_word_embeddings": config.tied,
        "eos_token_id": list(config.eos_ids),
    }


def tokenizer_config(source: InputFolder, shape: Architecture) -> dict[str, Any]:
    """The ``tokenizer_config.json`` that onnxruntime-genai and transformers ask for beside ``tokenizer.json``.

    Raises:
        UsageError: the checkpoint's is not a JSON object.
    """
    own = source.json(TOKENIZER_CONFIG_FILE) if source.has(TOKENIZER_CONFIG_FILE) else {}
    taken = {key: own[key] for key in _TOKENIZER_KEYS if own.get(key) is not None}
    return {**_TOKENIZER, **taken, "tokenizer_class": "GemmaTokenizer", "model_max_length": shape.context_length}


def genai_config(shape: Architecture, ids: SpecialIds) -> dict[str, Any]:
    """The ``genai_config.json`` of onnxruntime-genai, for greedy decoding on the CPU.

    It names no sliding window: the graph's attention windows by itself, while the tool would cut the cache to the
    window, and refuse lengths below it.
    """
    return {
        "model": {
            "type": shape.model_type,
            "bos_token_id": ids.bos,
            "eos_token_id": list(ids.stop),
            "pad_token_id": ids.pad,
            "vocab_size": shape.vocab_size,
            "context_length": shape.context_length,
            "decoder": {
                "filename": MODEL_FILE,
                # 0 is one thread per physical core; left out, it would be one.
                "session_options": {"intra_op_num_threads": 0, "provider_options": []},
                "head_size": shape.head_dim,
                "hidden_size": shape.hidden_size,
                "num_attention_heads": shape.num_heads,
                "num_hidden_layers": shape.num_layers,
                "num_key_value_heads": shape.num_kv_heads,
                "inputs": {
                    "input_ids": "input_ids",
                    "attention_mask": "attention_mask",
                    "past_key_names": "past_key_values.%d.key",
                    "past_value_names": "past_key_values.%d.value",
                },
                "outputs": {
                    "logits": "logits",
                    "present_key_names": "present.%d.key",
                    "present_value_names": "present.%d.value",
                },
            },
        },
        "search": {
            "do_sample": False,
            "max_length": min(_GENAI_LENGTH, shape.context_length),
            "past_present_share_buffer": True,
        },
    }
