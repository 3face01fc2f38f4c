"""The weights of a checkpoint under one set of names, one tensor at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .config import CONFIG_FILE, TextConfig
from .folder import InputFolder
from .shard import FLOAT_BYTES, Shard

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"

_TEXT_PREFIX = re.compile(r"\A(model\.)?language_model\.(model\.)?")
_VISION_PREFIX = re.compile(r"\A(model\.)?(vision_tower|multi_modal_projector)\.")


@dataclass(frozen=True, slots=True)
class _Place:
    shard: Shard
    key: str
    shape: tuple[int, ...]


class Weights:
    """The text part of a Gemma 3 checkpoint, read tensor by tensor; a context manager that holds its files open.

    Names are those of ``Gemma3ForCausalLM`` whatever the checkpoint's class and style. Memory: what is returned,
    and a few MiB. All tensors are there, have the shapes of the configuration, and nothing else is there.

    Args:
        folder: the checkpoint.
        config: its architecture.

    Raises:
        UsageError: a file or a tensor is missing, damaged, twice there, unknown, or of another shape or type than
            the configuration says; the message names file and tensor.
    """

    def __init__(self, folder: InputFolder, config: TextConfig) -> None:
        self._folder = folder
        self._shapes = config.tensor_shapes
        with ExitStack() as stack:
            self.shards = tuple(stack.enter_context(Shard(folder, name)) for name in shard_names(folder))
            self._places = _places(folder, self.shards, config)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the files."""
        self._stack.close()

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors, in the order of computation; ``lm_head.weight`` is among them only where it is untied."""
        return tuple(self._shapes)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors together, as they are stored."""
        return sum(prod(shape) * FLOAT_BYTES[self.dtype(name)] for name, shape in self._shapes.items())

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of tensor ``name``: [rows, columns] of a matrix, [size] of a norm."""
        return self._shapes[name]

    def dtype(self, name: str) -> str:
        """The type of tensor ``name`` as it is stored: ``F32``, ``F16`` or ``BF16``."""
        place = self._places[name]
        return place.shard.entries[place.key].dtype

    def read(self, name: str) -> NDArray[np.float32]:
        """Tensor ``name`` in float32, exactly widened.

        Raises:
            UsageError: it holds NaN or infinity, or its file was cut short meanwhile.
        """
        return self.read_rows(name, 0, self._shapes[name][0])

    def read_rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Rows ``start`` to ``stop`` of tensor ``name`` in float32, exactly widened.

        Raises:
            UsageError: they hold NaN or infinity, or the file was cut short meanwhile.
            IndexError: the tensor has no such rows.
        """
        rows, *rest = self._shapes[name]
        if not 0 <= start <= stop <= rows:
            raise IndexError(f"rows {start} to {stop} of {rows}")
        place, width = self._places[name], prod(rest)
        return place.shard.read(place.key, start * width, stop * width).reshape(stop - start, *rest)


def shard_names(folder: InputFolder) -> tuple[str, ...]:
    """The names of the safetensors files in ``folder``: one, or those in the index.

    Raises:
        UsageError: there is neither, or the index names anything but safetensors files in the folder.
    """
    if folder.has(WEIGHTS_FILE):
        return (WEIGHTS_FILE,)
    if not folder.has(INDEX_FILE):
        raise folder.error(
            f"{WEIGHTS_FILE} is missing; only safetensors are read, never pickles (.bin, .pt):"
            " save the model again with safe_serialization=True"
        )
    weight_map = folder.json(INDEX_FILE).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise folder.error(f"{INDEX_FILE} has no weight_map; download it again")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if not name.endswith(".safetensors") or "/" in name or "\\" in name:
            raise folder.error(f"{INDEX_FILE} names {name[:100]!r}, which is not a safetensors file in the folder")
    return tuple(names)


def canonical_name(key: str) -> str | None:
    """The name in ``Gemma3ForCausalLM`` of what any Gemma 3 class calls ``key``; None for the vision part."""
    if _VISION_PREFIX.match(key):
        return None
    rest = _TEXT_PREFIX.sub("", key)
    if rest == key or rest.startswith("lm_head."):
        return rest
    return f"model.{rest}"


def _places(folder: InputFolder, shards: Iterable[Shard], config: TextConfig) -> dict[str, _Place]:
    shapes = config.tensor_shapes
    places: dict[str, _Place] = {}
    for shard in shards:
        for key in shard.entries:
            name = canonical_name(key)
            if (name is None and config.multimodal) or (name == HEAD and config.tied):
                continue  # the vision part is left out; transformers reads the embedding in a tied head's place
            if name not in shapes:
                raise shard.error(f" holds {key[:200]!r}, which {CONFIG_FILE} does not describe")
            if name in places:
                raise shard.error(f" holds {key}, which {places[name].shard.name} holds already")
            _check_entry(shard, key, shapes[name])
            places[name] = _Place(shard, key, shapes[name])
    missing = shapes.keys() - places.keys()
    if missing:
        raise folder.error(f"the weights lack {len(missing)} tensors, among them {min(missing)}")
    return places


def _check_entry(shard: Shard, key: str, wanted: tuple[int, ...]) -> None:
    entry = shard.entries[key]
    if entry.shape != wanted:
        raise shard.error(f": {key} has shape {list(entry.shape)}, {CONFIG_FILE} asks for {list(wanted)}")
    if entry.dtype not in FLOAT_BYTES:
        raise shard.error(f": {key} is {entry.dtype}; only F32, F16 and BF16 can be exported")
