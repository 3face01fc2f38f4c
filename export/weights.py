"""The weights of a checkpoint under one set of names, one tensor at a time."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import prod
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..runtime.bundle import CONFIG_FILE
from .adapter import Adapter
from .config import TextConfig
from .folder import InputFolder
from .names import EMBEDDING, HEAD, canonical_name
from .shard import FLOAT_BYTES, Shard

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class _Place:
    """The tensor in a file where a weight's numbers are."""

    shard: Shard
    key: str


class Weights:
    """The text part of a Gemma 3 checkpoint, read tensor by tensor; a context manager that holds its files open.

    Names are those of ``Gemma3ForCausalLM`` whatever the checkpoint's class and style. Memory: what is returned,
    and a few MiB. All tensors are there, have the shapes of the configuration, and nothing else is there. An
    adapter is merged into whatever is read, and its tensors are as complete.

    Attributes:
        config: the architecture; with an adapter that trained embedding or head apart, no longer tied.

    Args:
        folder: the checkpoint.
        config: its architecture.
        adapter: the folder of a LoRA adapter.

    Raises:
        UsageError: a file or a tensor is missing, damaged, twice there, unknown, or of another shape or type than
            the configuration says; the message names file and tensor.
    """

    def __init__(self, folder: InputFolder, config: TextConfig, adapter: InputFolder | None = None) -> None:
        self.config = config
        self._adapter: Adapter | None = None
        with ExitStack() as stack:
            shards = [stack.enter_context(Shard(folder, name)) for name in shard_names(folder)]
            self._places = _places(folder, shards, config)
            if adapter is not None:
                self._adapter = stack.enter_context(Adapter(adapter, replace(config, tied=False).tensor_shapes))
                self._apply(self._adapter)
            self._stack = stack.pop_all()
        self._shapes = self.config.tensor_shapes

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
        """Tensor ``name`` in float32, exactly widened, then merged with its adapter.

        Raises:
            UsageError: it holds NaN or infinity, or its file was cut short meanwhile.
        """
        return self.read_rows(name, 0, self._shapes[name][0])

    def read_rows(self, name: str, start: int, stop: int) -> NDArray[np.float32]:
        """Rows ``start`` to ``stop`` of tensor ``name`` in float32, exactly widened, then merged with its adapter.

        Raises:
            UsageError: they hold NaN or infinity, or the file was cut short meanwhile.
            IndexError: the tensor has no such rows.
        """
        rows, *rest = self._shapes[name]
        if not 0 <= start <= stop <= rows:
            raise IndexError(f"rows {start} to {stop} of {rows}")
        place, width = self._places[name], prod(rest)
        numbers = place.shard.read(place.key, start * width, stop * width).reshape(stop - start, *rest)
        if self._adapter is not None:
            self._adapter.merge(name, numbers, start)
        return numbers

    def _apply(self, adapter: Adapter) -> None:
        """Lets what the adapter saved whole take the place of the checkpoint's, and unties the head if it must."""
        tied = self.config.tied and not adapter.unties
        whole = adapter.base | adapter.saved
        if tied and HEAD in whole and EMBEDDING not in whole:
            raise adapter.shard.error(f" holds {whole[HEAD]}, but not the embedding that it is tied to")
        for name, key in adapter.base.items():
            if name in self._places:
                self._places[name] = _Place(adapter.shard, key)
        if self.config.tied and not tied:
            self._places[HEAD] = self._places[EMBEDDING]
        for name, key in adapter.saved.items():
            if name in self._places:
                self._places[name] = _Place(adapter.shard, key)
        self.config = replace(self.config, tied=tied)


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
            places[name] = _Place(shard, key)
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
