"""Storage in each precision: what onnxruntime reads back is what was encoded, and scaling for fp16 is exact."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import load_file, save_file
from tiny_gemma import WINDOW

from dagger_edge.export import model as model_module
from dagger_edge.export.checkpoint import Checkpoint
from dagger_edge.export.fuse.traced import TracedGraph
from dagger_edge.export.layerwise import LayerwiseReference
from dagger_edge.export.pipeline import export_checkpoint
from dagger_edge.export.rescale import Rescaling
from dagger_edge.export.storage.blocks import Blocks, SharedBlocks
from dagger_edge.export.storage.dense import DenseProduct
from dagger_edge.export.verify import read
from dagger_edge.runtime.errors import BundleError
from dagger_edge.runtime.session import Session

pytestmark = pytest.mark.export

FP32, FP16 = np.dtype(np.float32), np.dtype(np.float16)
IDS = np.random.default_rng(5).integers(5, 261, 3 * WINDOW).tolist()
MATRIX = np.random.default_rng(1).standard_normal((24, 80)).astype(np.float32)


def product_with(storage: Any, matrix: np.ndarray[Any, Any], x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """``x`` times ``matrix`` transposed, by onnxruntime, through the nodes and bytes of ``storage``."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, matrix.shape[1]])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, matrix.shape[0]])]
    nodes = [
        helper.make_node("Transpose", ["w"], ["wt"], name="/p/Transpose", perm=[1, 0]),
        helper.make_node("MatMul", ["x", "wt"], ["y"], name="/p/MatMul"),
    ]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    traced = helper.make_model(helper.make_graph(nodes, "g", inputs, outputs), opset_imports=opsets, ir_version=8)
    graph = TracedGraph(traced)
    product = graph.producer("y")
    assert product is not None
    storage.multiply(graph, product, "w", matrix.shape)
    parts = [part for part in storage.parts(matrix.shape) if part.same_as is None]
    tensors = [
        numpy_helper.from_array(array.reshape(part.shape), f"w{part.suffix}")
        for part, array in zip(parts, storage.encode(matrix), strict=True)
    ]
    body = helper.make_graph(graph.live_nodes(), "g", inputs, outputs, [*tensors, *graph.initializers.values()])
    stored = helper.make_model(body, opset_imports=opsets, ir_version=8)
    return onnxruntime.InferenceSession(stored.SerializeToString()).run(None, {"x": x})[0]


def dequantised(blocks: Blocks, matrix: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What the bytes of ``blocks`` mean, worked out by hand."""
    packed, scales, *zeros = blocks.encode(matrix)
    rows, count = scales.shape

    def numbers(array: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
        flat = array.reshape(rows, -1)
        if blocks.bits == 4:
            flat = np.stack([flat & 15, flat >> 4], -1).reshape(rows, -1)
        return flat[:, :size].astype(np.float32)

    values = numbers(packed, count * blocks.size).reshape(rows, count, blocks.size)
    middle = numbers(zeros[0], count) if zeros else np.full((rows, count), 1 << (blocks.bits - 1))
    return ((values - middle[..., None]) * scales[..., None]).reshape(rows, -1)[:, : matrix.shape[1]]


@pytest.mark.parametrize("zero_points", [False, True])
@pytest.mark.parametrize("bits", [4, 8])
def test_block_products_read_the_bytes_as_they_are_meant(bits: int, zero_points: bool) -> None:
    """Halves of a byte swapped, or a zero point in the wrong place, give numbers that look plausible."""
    blocks = Blocks(bits, 16, zero_points=zero_points, scales=FP32)
    weights = dequantised(blocks, MATRIX)
    step = np.abs(MATRIX).max() * 2 / ((1 << bits) - 1)
    assert np.abs(weights - MATRIX).max() <= step * 0.6
    # One input at a time, so that the kernel's own rounding of activations is exact.
    found = product_with(blocks, MATRIX, np.eye(80, dtype=np.float32))
    assert np.abs(found - weights.T).max() < 1e-5


def test_a_matrix_that_is_zero_or_one_sided_is_stored_exactly() -> None:
    """Scales of zero divide by zero; ranges without zero in them lose it."""
    for zero_points in (False, True):
        blocks = Blocks(4, 16, zero_points=zero_points, scales=FP32)
        assert not dequantised(blocks, np.zeros((3, 32), np.float32)).any()
    affine = Blocks(4, 16, zero_points=True, scales=FP32)
    ladder = np.tile(np.arange(16, dtype=np.float32), (3, 2))
    assert np.array_equal(dequantised(affine, ladder), ladder)


def test_embedding_and_head_read_the_same_bytes(checkpoint: Path, tmp_path: Path) -> None:
    """The table is the largest tensor: stored twice it doubles a small model."""
    made = export_checkpoint(checkpoint, tmp_path / "bundle", precision="int8", verify=False)
    graph = onnx.load(made.model_path, load_external_data=False).graph
    places = {
        tensor.name: [(item.key, item.value) for item in tensor.external_data]
        for tensor in graph.initializer
        if tensor.name.startswith("model.embed_tokens")
    }
    table, head = places["model.embed_tokens.weight.table"], places["model.embed_tokens.weight.packed"]
    assert table == head
    assert {node.op_type for node in graph.node if node.input and node.input[0].startswith("model.embed_tokens")} == {
        "GatherBlockQuantized"
    }


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("precision", "bound"), [("fp16", 1e-4), ("int8", 0.1), ("int4", 4.0)])
def test_every_precision_is_the_model(
    make_checkpoint: Callable[..., Path], torch_model: Any, tmp_path: Path, precision: Any, bound: float, tied: bool
) -> None:
    """A precision that only loads is worth nothing: logits, cached, past the window, against torch."""
    path = make_checkpoint(tie_word_embeddings=tied, hidden_size=64)
    made = export_checkpoint(path, tmp_path / "bundle", precision=precision, verify=False)
    assert made.manifest.precision.name == precision
    session = Session(made.model_path)
    cache, rows = session.empty_cache(), []
    for start in range(0, len(IDS), 5):
        logits, cache = read(session, IDS[start : start + 5], cache)
        rows.append(logits)
    from dagger_edge.export.reference import WholeReference, load_model
    from dagger_edge.export.verify import row_distances

    reference = WholeReference(load_model(Checkpoint.open(path)))
    (hidden,) = reference.hidden([IDS])
    divergence = row_distances(reference.logits(hidden), np.concatenate(rows)).divergence
    assert 0 < divergence.mean() < bound


@pytest.mark.parametrize("stream", [2.0**-4, 2.0**-9])
def test_rescaling_changes_no_bit_in_fp32(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: float
) -> None:
    """One epsilon or norm forgotten, and the scaled model is another model."""
    chosen = Rescaling(stream, (0.5, 1.0, 2.0**-5), (1.0, 2.0**-3, 0.25))
    monkeypatch.setattr(model_module, "choose_rescaling", lambda *_arguments: chosen)
    plain = export_checkpoint(checkpoint, tmp_path / "plain", verify=False)
    original = model_module.assemble

    def in_fp32(fused: Any, config: Any, _recipe: Any, weights: Any) -> Any:
        from dagger_edge.export.recipe import recipe

        return original(fused, config, recipe("fp32"), weights)

    monkeypatch.setattr(model_module, "assemble", in_fp32)
    scaled = export_checkpoint(checkpoint, tmp_path / "scaled", precision="fp16", verify=False)
    both = [read(Session(made.model_path), IDS, Session(made.model_path).empty_cache())[0] for made in (plain, scaled)]
    assert np.array_equal(*both)
    assert scaled.manifest.precision.recipe["inner_scale"] == "1: 0.125, 2: 0.25"


def test_a_stream_beyond_fp16_is_scaled_into_it(make_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    """On the real 270M the stream reaches 103,800: plain fp16 gives NaN."""
    path = make_checkpoint()
    tensors = load_file(path / "model.safetensors")
    tensors["model.layers.0.post_attention_layernorm.weight"].fill_(80_000.0)
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    made = export_checkpoint(path, tmp_path / "bundle", precision="fp16")
    assert made.manifest.precision.recipe["stream_scale"] <= 2**-4
    assert made.manifest.parity is not None
    assert made.manifest.parity.kl_divergence < 1e-2


def test_weights_beyond_fp16_are_refused() -> None:
    """An infinite weight is a model that answers NaN."""
    with pytest.raises(BundleError, match="beyond float16"):
        DenseProduct(FP16).encode(np.full((2, 2), 7e4, np.float32))


def test_an_embedding_of_an_odd_width_is_refused() -> None:
    """Blocks must fill a row of the table exactly, or the head reads other bytes."""
    with pytest.raises(Exception, match="no blocks of 32"):
        SharedBlocks(FP32).parts((10, 33))


def test_blocks_of_an_embedding_fill_its_rows() -> None:
    """INT4 asks for blocks of 128: a model of width 64 or 1,152 must not be refused for that."""
    wide = SharedBlocks(FP32, 128)
    assert [wide.fitting(width).size for width in (2560, 64, 96, 33)] == [128, 64, 32, 128]


def test_one_layer_at_a_time_is_the_same_model(checkpoint: Path, torch_model: Any) -> None:
    """The reference must not be wrong itself: padding, windows, and which layer's weights are loaded."""
    sequences = [IDS, IDS[3:7], IDS[5 : WINDOW + 6]]
    with Checkpoint.open(checkpoint).weights() as weights:
        reference = LayerwiseReference(weights)
        states = reference.hidden(sequences)
        for ids, hidden in zip(sequences, states, strict=True):
            with torch.no_grad():
                expected = torch_model(torch.tensor([ids]), use_cache=False).logits[0].numpy()
            assert np.abs(reference.logits(hidden) - expected).max() < 1e-4
