"""Recipes as documents: what they mean, what is refused, and that a manifest repeats an export."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

from dagger_edge.export.checkpoint import Checkpoint
from dagger_edge.export.pipeline import export_checkpoint
from dagger_edge.export.recipe import (
    Calibration,
    LayerException,
    Recipe,
    read_recipe,
    recipe,
    recipe_names,
    recipe_of,
)
from dagger_edge.export.storage.blocks import Blocks
from dagger_edge.runtime.errors import UsageError
from dagger_edge.runtime.manifest import PRECISIONS
from dagger_edge.runtime.recipe import CalibrationPlan, decode_recipe

pytestmark = pytest.mark.export

FP32 = np.dtype(np.float32)
EIGHT = Blocks(8, 32, zero_points=False, scales=FP32)
BLOCKS = {"kind": "blocks", "bits": 4, "size": 32, "zero_points": True}
ROWS = {"kind": "rows"}
PLAIN = {"precision": "int4", "product": BLOCKS, "vocabulary": {"kind": "blocks", "size": 32}}
EIGHT_BITS = {"kind": "blocks", "bits": 8, "size": 32, "zero_points": False}


def config_of(checkpoint: Path) -> Any:
    with Checkpoint.open(checkpoint).weights() as weights:
        return weights.config


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "changed.json"
    path.write_text(json.dumps({**PLAIN, **changes}))
    return path


def test_every_precision_has_a_recipe_and_every_file_is_one() -> None:
    """A precision without a file, or a file that only looks like a recipe, fails at the first export."""
    assert set(PRECISIONS) < set(recipe_names())
    for name in recipe_names():
        made = recipe(name)
        assert made.title == name
        assert made.name == name.split("-")[0]


def test_documents_and_recipes_say_the_same() -> None:
    """A field that gets lost on the way makes a manifest that repeats another export."""
    mixed = replace(
        recipe("int4"),
        exceptions={"self_attn.v_proj": EIGHT, "model.layers.1.mlp.up_proj.weight": EIGHT},
        by_layer=(LayerException(EIGHT, 1, 2), LayerException(EIGHT, 0, 1, "mlp.down_proj")),
        calibration=Calibration(prompts=7, smoothing=0.25, head_smoothing=0, feedback=False),
    )
    for item in (*map(recipe, recipe_names()), mixed):
        document = decode_recipe(item.document().encode())
        assert replace(recipe_of(document, item.title), description=item.description) == item


def test_the_document_of_a_calibration_has_its_fields() -> None:
    """A field of one that the other lacks is not recorded, or cannot be asked for."""
    plan = {item.name: item.default for item in msgspec.structs.fields(CalibrationPlan)}
    assert plan == {item.name: item.default for item in fields(Calibration)}


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"product": {**BLOCKS, "size": 48}}, "$.product.size"),
        ({"product": {**BLOCKS, "bits": 3}}, "$.product.bits"),
        ({"product": {"kind": "ternary"}}, "$.product.kind"),
        ({"product": {**BLOCKS, "axis": 1}}, "`axis` - at `$.product`"),
        ({"vocabulary": ROWS}, "$.vocabulary.kind"),
        ({"colour": "red"}, "`colour`"),
        ({"precision": "int2"}, "$.precision"),
        ({"calibration": {"promps": 3}}, "`promps` - at `$.calibration`"),
        ({"calibration": {"smoothing": 2}}, "$.calibration.smoothing"),
        ({"calibration": {"prompts": 1}}, "$.calibration.prompts"),
        ({"exceptions": [{"storage": ROWS}]}, "$.exceptions[0]"),
        ({"exceptions": [{"storage": ROWS, "module": "lm_head"}]}, "$.exceptions[0].module"),
        ({"exceptions": [{"storage": ROWS, "module": "mlp.up_proj", "tensor": "x.weight"}]}, "$.exceptions[0]"),
        ({"exceptions": [{"storage": ROWS, "first": -1}]}, "$.exceptions[0].first"),
        ({"exceptions": [{"storage": ROWS, "module": "mlp.up_proj"}] * 2}, "$.exceptions[1]"),
        ({"exceptions": [{"storage": {"kind": "dense"}, "first": 1}], "calibration": {}}, "$.exceptions[0]"),
        ({"product": ROWS, "activations": "float16"}, "$.product"),
        ({"rescaled": True, "calibration": {}}, "$.rescaled"),
    ],
)
def test_a_wrong_recipe_is_refused_where_it_is_wrong(tmp_path: Path, changes: Any, place: str) -> None:
    """A recipe with a slip of the pen that is exported all the same is another model than was meant."""
    path = written(tmp_path, **changes)
    with pytest.raises(UsageError) as caught:
        read_recipe(path)
    assert place in str(caught.value)
    assert str(path) in str(caught.value) or "changed.json" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[" * 100_000, b'{"\\u001b[2J\\n": 1}', b"[]", b" " * 300_000])
def test_hostile_files_are_one_line_of_error(tmp_path: Path, content: bytes) -> None:
    """A traceback, a second line or an escape sequence for the terminal."""
    path = tmp_path / "hostile.json"
    path.write_bytes(content)
    for place in (path, tmp_path, tmp_path / "absent"):
        with pytest.raises(UsageError) as caught:
            read_recipe(place)
        assert str(caught.value).isprintable()


def test_parts_of_a_joined_product_need_one_storage(checkpoint: Path) -> None:
    """They were stored as the first of them, whatever was asked for the others."""
    config = config_of(checkpoint)
    with pytest.raises(UsageError, match=r"q_proj, self_attn\.k_proj, self_attn\.v_proj of layer 0"):
        replace(recipe("int8"), exceptions={"self_attn.v_proj": EIGHT}).for_model(config)
    with pytest.raises(UsageError, match=r"gate_proj, mlp\.up_proj of layer 2"):
        replace(recipe("int8"), by_layer=(LayerException(EIGHT, last=1, module="mlp.up_proj"),)).for_model(config)
    made = replace(recipe("int8"), by_layer=(LayerException(EIGHT, first=1),)).for_model(config)
    assert made.storage("model.layers.0.self_attn.qkv_proj.weight") == EIGHT
    assert made.storage("model.layers.1.self_attn.qkv_proj.weight") == recipe("int8").product


def test_the_most_particular_exception_counts(checkpoint: Path) -> None:
    """The order in a file, or an end counted from the wrong side, would decide about bits."""
    config = config_of(checkpoint)
    sizes = [Blocks(8, size, zero_points=False, scales=FP32) for size in (16, 32, 64, 128)]
    mixed: Recipe = replace(
        recipe("int4"),
        exceptions={"mlp.up_proj": sizes[0], "model.layers.0.mlp.up_proj.weight": sizes[3]},
        by_layer=(LayerException(sizes[1], first=2), LayerException(sizes[2], first=2, module="mlp.up_proj")),
    )
    made = mixed.for_model(config)
    found = [made.storage(f"model.layers.{index}.mlp.up_proj.weight") for index in range(3)]
    assert found == [sizes[3], sizes[2], sizes[0]]
    assert [made.storage(f"model.layers.{index}.mlp.down_proj.weight") for index in range(3)] == [
        sizes[1],
        sizes[1],
        mixed.product,
    ]


def test_an_exception_that_names_nothing_is_refused(checkpoint: Path) -> None:
    """A name with a slip would leave the matrix in fewer bits than was meant, and nobody would notice."""
    for name in ("self_attn.w_proj", "model.layers.3.mlp.up_proj.weight", "model.layers.0.input_layernorm.weight"):
        with pytest.raises(UsageError, match="names no matrix"):
            replace(recipe("int4"), exceptions={name: EIGHT}).for_model(config_of(checkpoint))


def test_the_manifest_repeats_the_export(checkpoint: Path, tmp_path: Path) -> None:
    """Bits by layer that calibration or the graph does not follow; a manifest that says less than was done."""
    path = written(
        tmp_path,
        exceptions=[
            {"storage": EIGHT_BITS, "module": "self_attn.v_proj"},
            {"storage": EIGHT_BITS, "last": 1, "module": "mlp.down_proj"},
        ],
        calibration={"prompts": 2},
    )
    chosen = read_recipe(path)
    first = export_checkpoint(checkpoint, tmp_path / "first", precision=chosen.name, variant=chosen, verify=False)
    bits = {
        node.input[1].removesuffix(".packed"): next(item.i for item in node.attribute if item.name == "bits")
        for node in onnx.load(first.model_path, load_external_data=False).graph.node
        if node.op_type == "MatMulNBits" and node.input[1].startswith("model.layers.")
    }
    eight = {name for name, count in bits.items() if count == 8}
    assert eight == {
        *(f"model.layers.{index}.self_attn.v_proj.weight" for index in range(3)),
        "model.layers.2.mlp.down_proj.weight",
    }
    manifest = json.loads((tmp_path / "first" / "manifest.json").read_bytes())
    assert "self_attn.v_proj: int8" in manifest["precision"]["recipe"]["exceptions"]
    assert manifest["export_command"].endswith("--recipe changed.json --no-verify")
    again = tmp_path / "again.json"
    again.write_text(json.dumps(manifest["recipe"]))
    repeated = read_recipe(again)
    second = export_checkpoint(checkpoint, tmp_path / "second", precision=repeated.name, variant=repeated, verify=False)
    assert first.manifest.files["model.onnx"] == second.manifest.files["model.onnx"]
    assert first.manifest.files["model.onnx.data"] == second.manifest.files["model.onnx.data"]
