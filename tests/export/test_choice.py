"""Choosing a recipe for a measured machine; and that what is measured is what the export stores."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from test_export_command import dagger_edge

from dagger_edge.export.choice import choose_recipe, kernel_of
from dagger_edge.export.fuse.traced import TracedGraph
from dagger_edge.export.recipe import recipe, recipe_names
from dagger_edge.export.storage.blocks import Blocks
from dagger_edge.export.storage.dense import DenseProduct
from dagger_edge.export.storage.rows import IntegerRows
from dagger_edge.runtime.bundle import Bundle
from dagger_edge.runtime.errors import UsageError
from dagger_edge.runtime.kernels.kernel import BY_NAME, KERNELS, KernelName
from dagger_edge.runtime.kernels.report import TOKENS

pytestmark = pytest.mark.export

FP32 = np.dtype(np.float32)
STORAGES: dict[KernelName, Any] = {
    "dense": DenseProduct(FP32),
    "rows": IntegerRows(),
    "blocks-8-32": Blocks(8, 32, zero_points=False, scales=FP32),
    "blocks-4-32": Blocks(4, 32, zero_points=True, scales=FP32),
    "blocks-4-64": Blocks(4, 64, zero_points=True, scales=FP32),
    "blocks-4-128": Blocks(4, 128, zero_points=True, scales=FP32),
}
SHAPE = (160, 256)


def machine(folder: Path, memory_bytes: int = 24 << 30, **speeds: float) -> Path:
    """A report of a machine on which kernels take so many milliseconds a token; those not named take 10."""
    kernels = {
        name: {
            "title": BY_NAME[name].title,
            "precision": BY_NAME[name].precision,
            "bits": BY_NAME[name].bits,
            "matrices": 2,
            "weights": 1_000_000,
            "steps": [
                {"tokens": count, "ms": count * speeds.get(name.replace("-", "_"), 10), "spread_ms": 0, "rounds": 3}
                for count in TOKENS
            ],
        }
        for name in KERNELS
    }
    shape = {"name": "32x64", "hidden": 32, "intermediate": 64, "attention": 0, "layers": 1, "vocabulary": 0}
    document = {
        "report_version": 1,
        "dagger_edge": "0.1.0",
        "onnxruntime": "1.32.0",
        "created": "2026-01-01T00:00:00+00:00",
        "processor": "A processor",
        "instructions": ["avx2"],
        "cores": 2,
        "threads": None,
        "memory_bytes": memory_bytes,
        "available_bytes": memory_bytes,
        "bandwidth_bytes_per_s": 1e10,
        "shape": shape,
        "kernels": kernels,
        "estimates": {},
        "best": None,
    }
    path = folder / "machine.json"
    path.write_text(json.dumps(document))
    return path


def outline(nodes: Any, tensors: Any) -> list[Any]:
    """The nodes without the names of what is between them; stored tensors by type, shape and constant numbers."""
    stored = {
        item.name: (item.data_type, tuple(item.dims), item.raw_data if not item.external_data else b"")
        for item in tensors
    }
    places: dict[str, int] = {}
    return [
        (
            node.op_type,
            node.domain,
            sorted((item.name, item.i, tuple(item.ints)) for item in node.attribute),
            [stored.get(name, places.setdefault(name, len(places))) for name in node.input],
            [places.setdefault(name, len(places)) for name in node.output],
        )
        for node in nodes
    ]


@pytest.mark.parametrize("name", KERNELS)
def test_what_is_measured_is_what_the_export_stores(name: KernelName) -> None:
    """A storage that gets other nodes, and a measurement that goes on with the old ones: not the bundle's speed."""
    model, weights = BY_NAME[name].graph(SHAPE[1], SHAPE[0], 1, np.random.default_rng(0))
    measured = onnx.load_from_string(model)
    storage, tensors = STORAGES[name], []
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, None, SHAPE[1]])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    nodes, x = [], "x"
    for index, (shape, out) in enumerate(((SHAPE, "h"), (SHAPE[::-1], "y"))):
        nodes += [
            helper.make_node("Transpose", [f"w{index}"], [f"t{index}"], name=f"/{index}/Transpose", perm=[1, 0]),
            helper.make_node("MatMul", [x, f"t{index}"], [out], name=f"/{index}/MatMul"),
        ]
        tensors += [
            TensorProto(name=f"w{index}{part.suffix}", data_type=part.onnx_type, dims=part.shape)
            for part in storage.parts(shape)
        ]
        x = out
    graph = TracedGraph(helper.make_model(helper.make_graph(nodes, "g", inputs, outputs)))
    for index, (shape, out) in enumerate(((SHAPE, "h"), (SHAPE[::-1], "y"))):
        product = graph.producer(out)
        assert product is not None
        storage.multiply(graph, product, f"w{index}", shape)
    expected = outline(graph.live_nodes(), [*tensors, *graph.initializers.values()])
    assert outline(measured.graph.node, measured.graph.initializer) == expected
    assert {item.name: tuple(item.dims) for item in measured.graph.initializer if item.external_data} == {
        key: array.shape for key, array in weights.items()
    }
    onnx.checker.check_graph(helper.make_graph(measured.graph.node[:0], "g", [], []))


def test_every_recipe_for_processors_has_a_kernel() -> None:
    """A recipe that `--for` never considers, since nothing measures what it runs on."""
    assert {kernel_of(recipe(name).product) for name in recipe_names() if name != "fp16"} <= set(KERNELS)
    assert kernel_of(recipe("int8").product) == "rows"
    assert kernel_of(Blocks(8, 128, zero_points=True, scales=FP32)) == "blocks-8-32"
    assert kernel_of(recipe("fp16").product) is None


@pytest.mark.parametrize(
    ("speeds", "precision", "expected"),
    [
        ({"rows": 1.0, "blocks_8_32": 5.0}, None, "int8"),
        ({"blocks_8_32": 1.0}, None, "int8-blocks"),
        ({"blocks_4_128": 1.0, "blocks_8_32": 1.5}, None, "int4-fast"),
        ({"rows": 1.0, "blocks_8_32": 1.0, "blocks_4_128": 5.0}, "int4", "int4-fast"),
        ({"dense": 1.0}, None, "fp32"),
    ],
)
def test_the_quickest_kernel_decides(
    wide_checkpoint: Path, tmp_path: Path, speeds: Any, precision: Any, expected: str
) -> None:
    """A table read by the wrong key chooses what this machine is slowest at."""
    choice = choose_recipe(machine(tmp_path, **speeds), wide_checkpoint, precision)
    assert choice.recipe.title == expected
    assert choice.reason[-1] == f"chosen: {expected}"
    assert f"{expected}: question and drafted answer" in "\n".join(choice.reason)


def test_memory_is_the_limit(make_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    """The quickest bundle is worth nothing on a machine that cannot hold it."""
    path = make_checkpoint(hidden_size=64)
    config = json.loads((path / "config.json").read_bytes())
    # The configuration alone decides: 4 GB in fp32, 1 GB in 8 bits.
    (path / "config.json").write_text(json.dumps({**config, "vocab_size": 16_000_000}))
    quick = {"dense": 1.0}
    assert choose_recipe(machine(tmp_path, 24 << 30, **quick), path).recipe.title == "fp32"
    assert choose_recipe(machine(tmp_path, 4 << 30, **quick), path).recipe.name in {"int8", "int4"}
    with pytest.raises(UsageError, match=r"no recipe fits into 1\.1 GB"):
        choose_recipe(machine(tmp_path, 1 << 30, **quick), path)


def test_a_recipe_that_cannot_store_the_model_is_passed_over(
    make_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """No blocks fill an embedding of width 40: that is no reason to choose none."""
    choice = choose_recipe(machine(tmp_path, blocks_4_64=1.0), make_checkpoint(hidden_size=40))
    assert choice.recipe.title in {"fp32", "fp16"}
    assert any(line.startswith("int4: an embedding of width 40") for line in choice.reason)


def test_a_precision_without_kernels_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no measurement for fp16"):
        choose_recipe(machine(tmp_path), checkpoint, "fp16")


def test_the_command_tells_its_choice_and_records_it(wide_checkpoint: Path, tmp_path: Path) -> None:
    """A bundle whose manifest does not say why it is what it is; a choice that is printed and not followed."""
    path = machine(tmp_path, blocks_8_32=1.0)
    done = dagger_edge("export", wide_checkpoint, tmp_path / "made", "--for", path, "--no-verify")
    assert done.returncode == 0, done.stderr
    assert "chosen: int8-blocks" in done.stderr.splitlines()
    assert "int4-fast: question and drafted answer" in done.stderr
    manifest = Bundle.open(tmp_path / "made").manifest
    assert str(manifest.precision.recipe["measured_for"]).startswith("A processor, question and drafted answer")
    assert manifest.recipe == recipe("int8-blocks").document()
    assert "--recipe int8-blocks" in manifest.export_command
    assert "measured_for" in dagger_edge("inspect", tmp_path / "made").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--recipe", "int8", "--precision", "int8"), "leave out --precision"),
        (("--recipe", "nonsense"), "recipe nonsense"),
        (("--for", "absent.json"), "measurement absent.json"),
        (("--for", __file__), "dagger-edge measure --json"),
    ],
)
def test_wrong_requests_are_exit_code_2(checkpoint: Path, tmp_path: Path, arguments: Any, words: str) -> None:
    done = dagger_edge("export", checkpoint, tmp_path / "made", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "made").exists()
