"""What the manifest says of the weights: the sizes of their kinds, and what every token reads."""

from __future__ import annotations

from math import prod
from pathlib import Path

import onnx
import pytest
from tiny_gemma import write_checkpoint

from dagger_edge.export.checkpoint import Checkpoint
from dagger_edge.export.names import ROW_OF_ID
from dagger_edge.export.pipeline import export_checkpoint
from dagger_edge.runtime.manifest import PRECISIONS, PrecisionName

pytestmark = pytest.mark.export

PAGE = 4096
KINDS = {"embedding and head", "attention", "feed-forward", "norms", "rotary tables"}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_parts_are_the_file_but_for_its_padding(
    wide_checkpoint: Path, tmp_path: Path, precision: PrecisionName
) -> None:
    """A kind that a new recipe names otherwise would be missing, or bytes that are shared counted twice."""
    made = export_checkpoint(wide_checkpoint, tmp_path / "bundle", precision=precision, verify=False)
    parts = made.manifest.weights
    assert parts is not None
    assert set(parts) == KINDS
    size = made.manifest.files["model.onnx.data"].size_bytes
    assert size - 60 * PAGE < sum(part.size_bytes for part in parts.values()) <= size
    config = Checkpoint.open(wide_checkpoint).config
    assert sum(part.numbers or 0 for part in parts.values()) == sum(map(prod, config.tensor_shapes.values()))
    bits = {"fp32": (32, 32), "fp16": (16, 16), "int8": (8, 12), "int4": (4, 7)}[precision]
    assert bits[0] <= (parts["attention"].bits or 0) <= bits[1]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_steps_read_out_of_the_file_lies_together(
    wide_checkpoint: Path, tmp_path: Path, precision: PrecisionName
) -> None:
    """Vectors, scales and zeros between the bulk of matrices, which is copied, bring that back into memory."""
    made = export_checkpoint(wide_checkpoint, tmp_path / "bundle", precision=precision, head="grammar", verify=False)
    places: dict[bool, list[int]] = {True: [], False: []}
    for tensor in onnx.load(made.model_path, load_external_data=False).graph.initializer:
        where = {item.key: item.value for item in tensor.external_data}
        if where:
            read = tensor.name.endswith(("norm.weight", ROW_OF_ID, ".scales", ".zeros"))
            places[read].append(int(where["offset"]))
    assert len(places[True]) >= (20 if precision in {"fp32", "fp16"} else 30)
    assert max(places[True]) < min(places[False])


def test_a_token_reads_one_row_of_an_embedding_that_is_not_the_head(tmp_path: Path) -> None:
    """At 4B the embedding is a quarter of the bytes: counted in, the ceiling would be too low."""
    source = write_checkpoint(tmp_path / "checkpoint", tie_word_embeddings=False)
    manifest = export_checkpoint(source, tmp_path / "bundle", verify=False).manifest
    assert manifest.weights is not None
    assert {"embedding", "head"} <= set(manifest.weights)
    whole = sum(part.size_bytes for part in manifest.weights.values())
    unread = manifest.weights["embedding"].size_bytes + manifest.weights["rotary tables"].size_bytes
    assert manifest.token_bytes == whole - unread
