"""Opening a checkpoint folder: which ones can be exported, and what they say about themselves.

Everything is refused here that would otherwise fail minutes later, or worse, export something else than the
model. Only safetensors are read, never pickles, and no code that came with a checkpoint is run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from tokenizers import Tokenizer

from ..runtime.bundle import CONFIG_FILE, GENERATION_CONFIG_FILE, TOKENIZER_FILE
from ..runtime.manifest import AdapterSource, Architecture, Source, SpecialIds
from .adapter import ADAPTER_FILE
from .adapter_config import ADAPTER_CONFIG_FILE
from .config import TextConfig
from .folder import InputFolder
from .weights import Weights, shard_names


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A Gemma 3 checkpoint whose text part passed every check of `Checkpoint.open`, with or without an adapter.

    Attributes:
        folder: where it is, in Hugging Face's layout.
        adapter: the folder of the LoRA adapter that is merged into its weights.
        config: the architecture of its text part, as `weights` has it.
        special_ids: from its tokenizer and its ``generation_config.json``.
    """

    folder: InputFolder
    adapter: InputFolder | None
    config: TextConfig
    special_ids: SpecialIds

    @classmethod
    def open(cls, path: Path, adapter: Path | None = None) -> Checkpoint:
        """Checks the folder at ``path``: configuration, tokenizer, and name, shape and type of every tensor.

        Args:
            path: the checkpoint.
            adapter: a PEFT folder with a LoRA adapter for it; checked in the same way.

        Raises:
            UsageError: it is no ``Gemma3ForCausalLM`` or ``Gemma3ForConditionalGeneration`` checkpoint in
                safetensors, or a file is missing, cut short or inconsistent; the message names the file.
        """
        folder = InputFolder(path, "checkpoint")
        if not path.is_dir():
            raise folder.error(f"there is no such folder; give a folder that holds {CONFIG_FILE}")
        adapter_folder = None if adapter is None else InputFolder(adapter, "adapter")
        with Weights(folder, TextConfig.read(folder), adapter_folder) as weights:
            config = weights.config
        return cls(folder, adapter_folder, config, _special_ids(folder, config))

    @property
    def architecture(self) -> Architecture:
        """What the manifest says of the model."""
        return self.config.architecture

    def weights(self) -> Weights:
        """The weights, opened and merged with the adapter; close them.

        Raises:
            UsageError: the files have changed since the checkpoint was opened.
        """
        return Weights(self.folder, TextConfig.read(self.folder), self.adapter)

    def source(self) -> Source:
        """Model id, revision and shards with size and sha256, the adapter's too (this reads all weights once).

        Raises:
            UsageError: a folder's name cannot be shown.
        """
        name, revision = self.folder.identity
        shards = {shard: self.folder.digest(shard) for shard in shard_names(self.folder)}
        return Source(name, revision, shards, self._adapter_source())

    def _adapter_source(self) -> AdapterSource | None:
        if self.adapter is None:
            return None
        files = {name: self.adapter.digest(name) for name in (ADAPTER_CONFIG_FILE, ADAPTER_FILE)}
        return AdapterSource(*self.adapter.identity, files)


def _special_ids(folder: InputFolder, config: TextConfig) -> SpecialIds:
    file = folder.file(TOKENIZER_FILE)
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises bare Exception
        raise folder.error(f"{TOKENIZER_FILE} cannot be read ({error}); download it again") from None
    # Added tokens do not count: Gemma's tokenizer has one for images, beyond the rows of the small models.
    entries = tokenizer.get_vocab_size(with_added_tokens=False)
    if entries > config.vocab_size:
        what = f"{TOKENIZER_FILE} has {entries} entries, the model {config.vocab_size}"
        raise folder.error(f"{what}: it belongs to another model")
    ids: dict[str, int] = {}
    for name in ("bos", "eos", "pad", "start_of_turn", "end_of_turn"):
        index = tokenizer.token_to_id(f"<{name}>")
        if index is None:
            raise folder.error(f"{TOKENIZER_FILE} has no <{name}> token: it is not a Gemma tokenizer")
        if index >= config.vocab_size:
            raise folder.error(f"{TOKENIZER_FILE}: <{name}> is {index}, beyond the {config.vocab_size} of the model")
        ids[name] = index
    ends = {ids.pop("eos"), ids["end_of_turn"]}
    try:
        stop = ends | set(msgspec.convert(_eos_ids(folder, config), list[int]))
        return msgspec.convert({**ids, "stop": sorted(stop)}, SpecialIds)
    except msgspec.ValidationError as error:
        raise folder.error(f"{GENERATION_CONFIG_FILE}: eos_token_id: {error}") from None


def _eos_ids(folder: InputFolder, config: TextConfig) -> Any:
    """The list of ids as they are declared, which may be anything."""
    declared: Any = list(config.eos_ids)
    if folder.has(GENERATION_CONFIG_FILE):
        declared = folder.json(GENERATION_CONFIG_FILE).get("eos_token_id", declared)
    if declared is None:
        return []
    return declared if isinstance(declared, list) else [declared]
