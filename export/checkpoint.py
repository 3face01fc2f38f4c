"""Opening a checkpoint folder: which ones can be exported, and what they say about themselves.

Everything is refused here that would otherwise fail minutes later, or worse, export something else than the
model. Only safetensors are read, never pickles, and no code that came with a checkpoint is run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer

from ..runtime.bundle import TOKENIZER_FILE
from ..runtime.errors import UsageError
from ..runtime.files import is_plain_name, sha256_of
from ..runtime.manifest import Architecture, FileEntry, Source, SpecialIds

CONFIG_FILE = "config.json"
GENERATION_FILE = "generation_config.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

_FLOAT_TYPES = frozenset({"F32", "F16", "BF16"})
_MAX_JSON_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A Gemma 3 text checkpoint that passed every check of `Checkpoint.open`.

    Attributes:
        path: the folder, in Hugging Face's layout.
        shards: the safetensors files.
        architecture: the numbers of its ``config.json``, defaults filled in.
        special_ids: from its tokenizer and its ``generation_config.json``.
    """

    path: Path
    shards: tuple[Path, ...]
    architecture: Architecture
    special_ids: SpecialIds

    @classmethod
    def open(cls, path: Path) -> Checkpoint:
        """Checks the folder at ``path``: configuration, tokenizer, and name, shape and type of every tensor.

        Raises:
            UsageError: it is no ``Gemma3ForCausalLM`` checkpoint in safetensors, or a file is missing, cut
                short or inconsistent; the message names the file.
        """
        if not path.is_dir():
            raise UsageError(f"checkpoint {path}: there is no such folder; give a folder that holds {CONFIG_FILE}")
        config = _read_json(path, CONFIG_FILE)
        _check_kind(path, config)
        shards = _find_shards(path)
        model_config = _model_config(path, config)
        architecture = _architecture(path, model_config)
        _check_tensors(path, shards, _expected_shapes(path, model_config))
        return cls(path, shards, architecture, _special_ids(path, architecture, model_config))

    def source(self) -> Source:
        """Model id, revision and shards with size and sha256 (this reads all weights once).

        Raises:
            UsageError: the folder's name cannot be shown.
        """
        name, revision = _identity(self.path.absolute())
        if not (name.isprintable() and (revision or "").isprintable()):
            raise _bad(self.path, "its name or revision holds control characters; rename the folder")
        shards = {shard.name: FileEntry(shard.stat().st_size, sha256_of(shard)) for shard in self.shards}
        return Source(name, revision, shards)


def _bad(path: Path, what: str) -> UsageError:
    return UsageError(f"checkpoint {path}: {what}")


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise _bad(folder, f"{name} is larger than {_MAX_JSON_BYTES:,} bytes")
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise _bad(folder, f"{name} is missing; download the checkpoint again") from None
    except OSError as error:
        raise _bad(folder, f"{name} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError):
        raise _bad(folder, f"{name} is not JSON; download it again") from None
    if not isinstance(content, dict):
        raise _bad(folder, f"{name} is not a JSON object; download it again")
    return content


def _check_kind(path: Path, config: Mapping[str, Any]) -> None:
    kind, classes = config.get("model_type"), config.get("architectures")
    if kind == "gemma3" or classes == ["Gemma3ForConditionalGeneration"]:
        raise _bad(path, "Gemma3ForConditionalGeneration (with a vision tower) cannot be exported yet")
    if kind != "gemma3_text" or classes != ["Gemma3ForCausalLM"]:
        found = f"{classes} of type {kind!r}"
        raise _bad(path, f"{CONFIG_FILE} describes {found}; only Gemma3ForCausalLM (gemma3_text) can be exported")
    for key in ("quantization_config", "attn_logit_softcapping", "final_logit_softcapping"):
        if config.get(key) is not None:
            raise _bad(path, f"{CONFIG_FILE} sets {key}; give the plain Gemma 3 checkpoint that was not changed so")
    if config.get("use_bidirectional_attention"):
        raise _bad(path, f"{CONFIG_FILE} sets use_bidirectional_attention: it is an embedding model, not a decoder")


def _model_config(path: Path, config: Mapping[str, Any]) -> Any:
    from transformers import Gemma3TextConfig

    try:
        return Gemma3TextConfig.from_dict(dict(config))
    except Exception as error:  # transformers raises whatever the bad value happens to break
        raise _bad(path, f"{CONFIG_FILE} is not a Gemma 3 configuration: {error}") from error


def _architecture(path: Path, config: Any) -> Architecture:
    numbers = {
        "model_type": "gemma3_text",
        "num_layers": config.num_hidden_layers,
        "num_heads": config.num_attention_heads,
        "num_kv_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "hidden_size": config.hidden_size,
        "vocab_size": config.vocab_size,
        "context_length": config.max_position_embeddings,
        "sliding_window": config.sliding_window,
        "global_layers": [i for i, kind in enumerate(config.layer_types) if kind == "full_attention"],
    }
    try:
        return msgspec.convert(numbers, Architecture)
    except msgspec.ValidationError as error:
        raise _bad(path, f"{CONFIG_FILE}: {error}") from None


def _expected_shapes(path: Path, config: Any) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that a checkpoint with this configuration must hold."""
    import torch
    from transformers import Gemma3ForCausalLM

    try:
        with torch.device("meta"):
            model = Gemma3ForCausalLM(config)
    except Exception as error:  # transformers raises whatever the bad value happens to break
        raise _bad(path, f"{CONFIG_FILE} does not describe a model that transformers can build: {error!r}") from error
    # Unlike the state dict, this lists a tied head once, under the embedding's name.
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def _find_shards(path: Path) -> tuple[Path, ...]:
    if (path / WEIGHTS_FILE).exists():
        return (path / WEIGHTS_FILE,)
    if not (path / INDEX_FILE).exists():
        raise _bad(path, f"{WEIGHTS_FILE} is missing; only safetensors are read, never pickles (.bin, .pt)")
    weight_map = _read_json(path, INDEX_FILE).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise _bad(path, f"{INDEX_FILE} has no weight_map; download it again")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if not is_plain_name(name) or not name.endswith(".safetensors"):
            raise _bad(path, f"{INDEX_FILE} names {name[:100]!r}, which is not a safetensors file in the folder")
        if not (path / name).is_file():
            raise _bad(path, f"{name} is missing; download the checkpoint again")
    return tuple(path / name for name in names)


def _check_tensors(path: Path, shards: tuple[Path, ...], expected: Mapping[str, tuple[int, ...]]) -> None:
    missing = set(expected)
    for shard in shards:
        try:
            with safe_open(shard, framework="numpy") as tensors:
                slices = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118 (not a dict)
                found = {name: (tuple(item.get_shape()), item.get_dtype()) for name, item in slices.items()}
        except (SafetensorError, OSError) as error:
            raise _bad(path, f"{shard.name} is cut short or damaged ({error}); download it again") from None
        for name, (shape, dtype) in found.items():
            if name == "lm_head.weight" and name not in expected:
                continue  # tied: transformers reads the embedding instead
            if name not in expected:
                raise _bad(path, f"{shard.name} holds {name}, which {CONFIG_FILE} does not describe")
            if shape != expected[name]:
                wanted = list(expected[name])
                raise _bad(path, f"{shard.name}: {name} has shape {list(shape)}, {CONFIG_FILE} asks for {wanted}")
            if dtype not in _FLOAT_TYPES:
                raise _bad(path, f"{shard.name}: {name} is {dtype}; only F32, F16 and BF16 can be exported")
        missing -= set(found)
    if missing:
        raise _bad(path, f"the weights lack {len(missing)} tensors, among them {min(missing)}")


def _special_ids(path: Path, architecture: Architecture, config: Any) -> SpecialIds:
    file = path / TOKENIZER_FILE
    if not file.is_file():
        raise _bad(path, f"{TOKENIZER_FILE} is missing; copy the tokenizer of the same model into the folder")
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises bare Exception
        raise _bad(path, f"{TOKENIZER_FILE} cannot be read ({error}); download it again") from None
    # Added tokens do not count: Gemma's tokenizer has one for images, beyond the rows of the small models.
    entries = tokenizer.get_vocab_size(with_added_tokens=False)
    if entries > architecture.vocab_size:
        what = f"{TOKENIZER_FILE} has {entries} entries, the model {architecture.vocab_size}"
        raise _bad(path, f"{what}: it belongs to another model")
    ids: dict[str, int] = {}
    for name in ("bos", "eos", "pad", "start_of_turn", "end_of_turn"):
        index = tokenizer.token_to_id(f"<{name}>")
        if index is None:
            raise _bad(path, f"{TOKENIZER_FILE} has no <{name}> token: it is not a Gemma tokenizer")
        if index >= architecture.vocab_size:
            raise _bad(
                path,
                f"{TOKENIZER_FILE}: <{name}> is {index}, beyond the {architecture.vocab_size} of the model",
            )
        ids[name] = index
    stop = {ids.pop("eos"), ids["end_of_turn"], *_eos_ids(path, config)}
    try:
        return msgspec.convert({**ids, "stop": sorted(stop)}, SpecialIds)
    except (msgspec.ValidationError, TypeError) as error:
        raise _bad(path, f"{GENERATION_FILE}: eos_token_id: {error}") from None


def _eos_ids(path: Path, config: Any) -> list[Any]:
    declared = config.eos_token_id
    if (path / GENERATION_FILE).exists():
        declared = _read_json(path, GENERATION_FILE).get("eos_token_id", declared)
    if declared is None:
        return []
    return list(declared) if isinstance(declared, list) else [declared]


def _identity(path: Path) -> tuple[str, str | None]:
    """Model id and revision in Hugging Face's cache; elsewhere the folder's name, and a revision if noted."""
    if path.parent.name == "snapshots" and path.parent.parent.name.startswith("models--"):
        return path.parent.parent.name.removeprefix("models--").replace("--", "/"), path.name
    # `hf download --local-dir` notes the commit in the first line of this file.
    note = path / ".cache" / "huggingface" / "download" / f"{CONFIG_FILE}.metadata"
    lines = note.read_text(encoding="utf-8").splitlines() if note.is_file() else []
    return path.name, lines[0] if lines else None
