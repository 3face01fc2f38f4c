"""Whatever is written over a safetensors header, it gives an error that names the file, or the right numbers."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_gemma import write_checkpoint

from dagger_edge.export.config import TextConfig
from dagger_edge.export.folder import InputFolder
from dagger_edge.export.weights import Weights
from dagger_edge.runtime.errors import UsageError

pytestmark = pytest.mark.export

MUTATIONS = 3000
FILE = "model.safetensors"

Mutation = Callable[[random.Random, bytes], bytes]


def flip_bits(chance: random.Random, data: bytes) -> bytes:
    """Flips one to four bits in the length or the header."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        changed[chance.randrange(_header_end(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def cut(chance: random.Random, data: bytes) -> bytes:
    """Cuts the file short, or adds to its end."""
    return data[: chance.randrange(len(data))] if chance.random() < 0.8 else data + bytes(chance.randint(1, 9))


def lie(chance: random.Random, data: bytes) -> bytes:
    """Changes what the header says of a tensor: offsets that overlap or lie outside, shapes, types, names.

    Not BF16 to F16, which is another file that is as good.
    """
    header = json.loads(data[8 : _header_end(data)])
    names = [name for name in header if name != "__metadata__"]
    name, other = chance.sample(names, 2)
    kind = chance.randrange(6)
    if kind == 0:
        header[name]["data_offsets"] = [chance.choice([0, -1, 64, 2**31, 2**63, 2**64]) for _ in range(2)]
    elif kind == 1:
        header[name]["data_offsets"] = header[other]["data_offsets"]
    elif kind == 2:
        header[name]["shape"] = chance.choice([[], [-1], [2**32, 2**32], [0], header[name]["shape"][::-1], [1.5], "x"])
    elif kind == 3:
        header[name]["dtype"] = chance.choice(["BF16", "F32", "F64", "I8", "F8_E4M3", "C64", "F4", "X", None, 7])
    elif kind == 4:
        header[chance.choice([f"../{other}", "", "\u0000", "model.layers.99.mlp.up_proj.weight"])] = header.pop(name)
    else:
        header[name], header[other] = header[other], header[name]
    return _with_header(data, json.dumps(header).encode())


def repeat_a_name(chance: random.Random, data: bytes) -> bytes:
    """Says the same tensor twice, with two meanings: parsers differ in which one counts."""
    header = data[8 : _header_end(data)]
    name = chance.choice([name for name in json.loads(header) if name != "__metadata__"])
    entry = json.dumps({name: {"dtype": "F32", "shape": [32], "data_offsets": [0, 128]}}).encode()
    inner = [entry[1:-1], header.strip()[1:-1]]
    return _with_header(data, b"{" + b",".join(chance.sample(inner, 2)) + b"}")


def _header_end(data: bytes) -> int:
    return 8 + int.from_bytes(data[:8], "little")


def _with_header(data: bytes, header: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + data[_header_end(data) :]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("fuzz") / "checkpoint", dtype="bfloat16")


@pytest.mark.parametrize("mutate", [flip_bits, cut, lie, repeat_a_name])
def test_a_changed_header_is_an_error_or_makes_no_difference(folder: Path, mutate: Mutation) -> None:
    """A shard that was damaged on its way must not become another model, a crash, or a traceback."""
    source = InputFolder(folder, "checkpoint")
    config = TextConfig.read(source)
    original = (folder / FILE).read_bytes()
    right = _read_all(source, config)
    numbers = sorted(value.tobytes() for value in right.values())
    chance, messages = random.Random(5), []
    try:
        for _ in range(MUTATIONS // 4):
            (folder / FILE).write_bytes(mutate(chance, original))
            try:
                found = _read_all(source, config)
            except UsageError as error:
                messages.append(str(error))
                continue
            assert set(found) == set(right)
            # Two tensors of one shape may have changed places: no reader can know. Nothing else may be read.
            assert sorted(value.tobytes() for value in found.values()) == numbers
    finally:
        (folder / FILE).write_bytes(original)
    assert len(messages) > MUTATIONS // 10
    assert all((FILE in text or "the weights lack" in text) and "\n" not in text for text in messages)


def _read_all(source: InputFolder, config: TextConfig) -> dict[str, Any]:
    with Weights(source, config) as weights:
        return {name: np.ascontiguousarray(weights.read(name)) for name in weights.names}
