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

from ..runtime.bundle import TOKENIZER_FILE
from ..runtime.files import sha256_of
from ..runtime.manifest import Architecture, FileEntry, Source, SpecialIds
from .config import CONFIG_FILE, TextConfig
from .folder import InputFolder
from .weights import Weights, shard_names

GENERATION_FILE = "generation_config.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A Gemma 3 checkpoint whose text part passed every check of `Checkpoint.open`.

    Attributes:
        folder: where it is, in Hugging Face's layout.
        config: the architecture of its text part.
        special_ids: from its tokenizer and its ``generation_config.json``.
    """

    folder: InputFolder
    config: TextConfig
    special_ids: SpecialIds

    @classmethod
    def open(cls, path: Path) -> Checkpoint:
        """Checks the folder at ``path``: configuration, tokenizer, and name, shape and type of every tensor.

        Raises:
            UsageError: it is no ``Gemma3ForCausalLM`` or ``Gemma3ForConditionalGeneration`` checkpoint in
                safetensors, or a file is missing, cut short or inconsistent; the message names the file.
        """
        folder = InputFolder(path, "checkpoint")
        if not path.is_dir():
            raise folder.error(f"there is no such folder; give a folder that holds {CONFIG_FILE}")
        config = TextConfig.read(folder)
        Weights(folder, config).close()
        return cls(folder, config, _special_ids(folder, config))

    @property
    def architecture(self) -> Architecture:
        """What the manifest says of the model."""
        return self.config.architecture

    def weights(self) -> Weights:
        """The weights, opened; close them.

        Raises:
            UsageError: the files have changed since the checkpoint was opened.
        """
        return Weights(self.folder, self.config)

    def source(self) -> Source:
        """Model id, revision and shards with size and sha256 (this reads all weights once).

        Raises:
            UsageError: the folder's name cannot be shown.
        """
        name, revision = _identity(self.folder.path.absolute())
        if not (name.isprintable() and (revision or "").isprintable()):
            raise self.folder.error("its name or revision holds control characters; rename the folder")
        shards = {}
        for shard in shard_names(self.folder):
            path = self.folder.file(shard)
            shards[shard] = FileEntry(path.stat().st_size, sha256_of(path))
        return Source(name, revision, shards)


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
        raise folder.error(f"{GENERATION_FILE}: eos_token_id: {error}") from None


def _eos_ids(folder: InputFolder, config: TextConfig) -> Any:
    """The list of ids as they are declared, which may be anything."""
    declared: Any = list(config.eos_ids)
    if folder.has(GENERATION_FILE):
        declared = folder.json(GENERATION_FILE).get("eos_token_id", declared)
    if declared is None:
        return []
    return declared if isinstance(declared, list) else [declared]


def _identity(path: Path) -> tuple[str, str | None]:
    """Model id and revision in Hugging Face's cache; elsewhere the folder's name, and a revision if noted."""
    if path.parent.name == "snapshots" and path.parent.parent.name.startswith("models--"):
        return path.parent.parent.name.removeprefix("models--").replace("--", "/"), path.name
    # `hf download --local-dir` notes the commit in the first line of this file.
    note = path / ".cache" / "huggingface" / "download" / f"{CONFIG_FILE}.metadata"
    lines = note.read_text(encoding="utf-8", errors="replace").splitlines() if note.is_file() else []
    return path.name, lines[0] if lines else None
