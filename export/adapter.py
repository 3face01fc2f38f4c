"""A LoRA adapter in PEFT's layout, merged into the weights of its base tensor by tensor.

Its tensors have the names of the model that was trained, ``Gemma3ForCausalLM`` or
``Gemma3ForConditionalGeneration`` in any version of transformers; they are brought to one set of names, and what
belongs to the vision part is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .adapter_config import ADAPTER_CONFIG_FILE, AdapterConfig
from .folder import InputFolder
from .names import EMBEDDING, HEAD, canonical_name
from .shard import FLOAT_BYTES, Shard

ADAPTER_FILE = "adapter_model.safetensors"

_PREFIX = "base_model.model."
_PART = re.compile(
    r"\.(?:(?P<factor>lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector)(?:\.default)?(?:\.weight)?"
    r"|(?:modules_to_save(?:\.default)?\.)?(?P<whole>weight)|base_layer\.(?P<base>weight))\Z"
)
_BLOCK_NUMBERS = 1 << 20


@dataclass(frozen=True, slots=True)
class LowRank:
    """The change of one matrix.

    Attributes:
        module: the path of its module in the model that was trained.
        keys: the tensors in the adapter's file by part: ``lora_A`` [rank, columns] and ``lora_B`` [rows, rank], or
            ``lora_embedding_A`` [rank, rows] and ``lora_embedding_B`` [columns, rank]; with DoRA also
            ``lora_magnitude_vector`` [rows].
    """

    module: str
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def is_embedding(self) -> bool:
        """Whether the factors are those of an embedding, which PEFT stores transposed."""
        return "lora_embedding_A" in self.keys


class Adapter:
    """An opened adapter; a context manager that holds its file open.

    Attributes:
        config: its configuration.
        shard: its tensors.
        low_rank: the changes by the name of the weight that they change.
        saved: weights that were trained whole (``modules_to_save``), name to key in the file.
        base: weights of the base that PEFT saved along, name to key in the file.

    Args:
        folder: holds ``adapter_config.json`` and ``adapter_model.safetensors``.
        shapes: the shapes of the base's weights by name; an entry for the head even where it is tied.

    Raises:
        UsageError: a file is missing or damaged, a tensor is missing, unknown, or of a shape that does not fit the
            base, or the adapter is of a kind that cannot be merged.
    """

    def __init__(self, folder: InputFolder, shapes: Mapping[str, tuple[int, ...]]) -> None:
        if not folder.path.is_dir():
            raise folder.error(f"there is no such folder; give a folder that holds {ADAPTER_CONFIG_FILE}")
        self.folder = folder
        self.config = AdapterConfig.read(folder)
        self.low_rank: dict[str, LowRank] = {}
        self.saved: dict[str, str] = {}
        self.base: dict[str, str] = {}
        if not folder.has(ADAPTER_FILE):
            raise folder.error(
                f"{ADAPTER_FILE} is missing; pickles (.bin) are never read: save it with peft as safetensors"
            )
        self.shard = Shard(folder, ADAPTER_FILE)
        try:
            for key in self.shard.entries:
                self._sort(key, shapes)
            for name, change in self.low_rank.items():
                self._check_factors(change, shapes[name])
            self._check_whole(shapes)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self.shard.close()

    @property
    def unties(self) -> bool:
        """Whether a tied head stops being the embedding, because one of them was trained and the other was not."""
        if self.config.ensure_weight_tying:
            return False
        return any(name in part for name in (EMBEDDING, HEAD) for part in (self.low_rank, self.saved))

    def merge(self, name: str, rows: NDArray[np.float32], start: int) -> None:
        """Adds the change of weight ``name`` to its rows from ``start`` on, in place; ``rows`` is float32 [n, columns].

        Raises:
            UsageError: the factors or the sum hold NaN or infinity.
        """
        change = self.low_rank.get(name)
        if change is None:
            return
        left, right = self._factors(change, start, start + len(rows))
        magnitude = self._magnitude(change, start, start + len(rows))
        right *= np.float32(self.config.scale(change.module))
        step = max(1, _BLOCK_NUMBERS // rows.shape[1])
        for begin in range(0, len(rows), step):
            block = rows[begin : begin + step]
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                block += left[begin : begin + step] @ right
                if magnitude is not None:  # DoRA: the direction of each row is the sum's, its length was trained
                    norm = np.linalg.norm(block, axis=1)
                    block *= (magnitude[begin : begin + step] / norm)[:, None]
            if not np.isfinite(block).all():
                raise self.folder.error(f"merging {name} gives NaN or infinity; the adapter is damaged")

    def _factors(self, change: LowRank, start: int, stop: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The two factors [stop - start, rank] and [rank, columns] of some rows of the change."""
        if change.is_embedding:
            left = self._read(change.keys["lora_embedding_A"])[:, start:stop].T
            return left, np.ascontiguousarray(self._read(change.keys["lora_embedding_B"]).T)
        rank = self.shard.entries[change.keys["lora_B"]].shape[1]
        left = self.shard.read(change.keys["lora_B"], start * rank, stop * rank).reshape(-1, rank)
        return left, self._read(change.keys["lora_A"])

    def _magnitude(self, change: LowRank, start: int, stop: int) -> NDArray[np.float32] | None:
        key = change.keys.get("lora_magnitude_vector")
        return None if key is None else self.shard.read(key, start, stop)

    def _read(self, key: str) -> NDArray[np.float32]:
        entry = self.shard.entries[key]
        return self.shard.read(key, 0, entry.size).reshape(entry.shape)

    def _sort(self, key: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Puts tensor ``key`` where it belongs."""
        part = _PART.search(key)
        if not key.startswith(_PREFIX) or part is None:
            raise self.shard.error(f" holds {key[:200]!r}, which is no part of a LoRA adapter for Gemma 3")
        module = key[len(_PREFIX) : part.start()]
        name = canonical_name(f"{module}.weight")
        if name is None:
            return  # of the vision part
        if name not in shapes:
            raise self.shard.error(f" holds {key[:200]!r}, which the checkpoint's model does not have")
        if self.shard.entries[key].dtype not in FLOAT_BYTES:
            raise self.shard.error(f": {key} is {self.shard.entries[key].dtype}; only F32, F16 and BF16 can be merged")
        if part["factor"]:
            place, slot = self.low_rank.setdefault(name, LowRank(module)).keys, part["factor"]
        else:
            is_saved = part["whole"] and module.rpartition(".")[2] in self._saved_leaves()
            place, slot = (self.saved if is_saved else self.base), name
        if slot in place:
            raise self.shard.error(f" holds {key}, which is there already as {place[slot]}")
        place[slot] = key

    def _saved_leaves(self) -> set[str]:
        return {name.rpartition(".")[2] for name in self.config.modules_to_save or ()}

    def _check_factors(self, change: LowRank, shape: tuple[int, ...]) -> None:
        """All parts of a change are there, and fit a weight of that shape."""
        if len(shape) != 2:
            raise self.shard.error(f" holds factors for {change.module}, which is no matrix")
        rank, (rows, columns) = self.config.rank(change.module), shape
        if change.is_embedding:
            wanted: dict[str, tuple[int, ...]] = {"lora_embedding_A": (rank, rows), "lora_embedding_B": (columns, rank)}
        else:
            wanted = {"lora_A": (rank, columns), "lora_B": (rows, rank)}
        if self.config.use_dora:
            if change.is_embedding:
                raise self.folder.error("DoRA on the embedding cannot be merged; merge it with peft")
            wanted["lora_magnitude_vector"] = (rows,)
        if change.keys.keys() != wanted.keys():
            found = " and ".join(sorted(change.keys))
            raise self.shard.error(f" holds {found} for {change.module}; {' and '.join(sorted(wanted))} are needed")
        for part, key in change.keys.items():
            found_shape = self.shard.entries[key].shape
            if found_shape != wanted[part]:
                what = f"{key} has shape {list(found_shape)}, the checkpoint and {ADAPTER_CONFIG_FILE} ask for"
                raise self.shard.error(f": {what} {list(wanted[part])}")

    def _check_whole(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Whole tensors fit, and nothing that the configuration promises is missing."""
        for name, key in (*self.saved.items(), *self.base.items()):
            found = self.shard.entries[key].shape
            if found != shapes[name]:
                raise self.shard.error(f": {key} has shape {list(found)}, the checkpoint has {list(shapes[name])}")
        if self.config.ensure_weight_tying and {EMBEDDING, HEAD} & self.low_rank.keys():
            raise self.folder.error("LoRA factors that embedding and head share cannot be merged; merge them with peft")
        layers = [name.removesuffix(".weight") for name in shapes if name.startswith("model.layers.")]
        missing = [m for m in layers if f"{m}.weight" not in self.low_rank and self.config.targets(m)]
        if missing:
            raise self.shard.error(f" lacks {len(missing)} target_modules, among them {missing[0]}")
        if not self.low_rank and not self.saved:
            raise self.shard.error(" changes nothing in the text part of the model")
