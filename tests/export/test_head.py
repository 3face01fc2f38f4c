"""The shared head: the same logits to the last bit, and nothing shared that is not the same matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from dagger_edge.export.head import EMBEDDING, share_embedding
from dagger_edge.export.storage import save_model
from dagger_edge.runtime.errors import BundleError

pytestmark = pytest.mark.export

ROWS = np.random.default_rng(0).standard_normal((5000, 16), np.float32)


def graph(head: np.ndarray[Any, Any], embedding: str = EMBEDDING) -> onnx.ModelProto:
    """An embedding and a head, as the tracer leaves them: two matrices."""
    nodes = [
        helper.make_node("Gather", [embedding, "input_ids"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "onnx::MatMul_1"], ["logits"], name="/lm_head/MatMul"),
    ]
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "n"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, "n", head.shape[1]])
    weights = [numpy_helper.from_array(ROWS, embedding), numpy_helper.from_array(head, "onnx::MatMul_1")]
    body = helper.make_graph(nodes, "tiny", [ids], [logits], weights)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def run(model: onnx.ModelProto, folder: Path) -> np.ndarray[Any, Any]:
    folder.mkdir()
    save_model(model, folder)
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    return session.run(None, {"input_ids": np.arange(0, 5000, 7)[None]})[0]


def test_sharing_changes_no_bit_of_the_logits_and_halves_the_weights(tmp_path: Path) -> None:
    head = np.ascontiguousarray(ROWS.T)
    model = graph(head)
    assert share_embedding(model)
    shared = run(model, tmp_path / "shared")
    assert np.array_equal(shared, run(graph(head), tmp_path / "twice"))
    sizes = [(tmp_path / name / "model.onnx.data").stat().st_size for name in ("shared", "twice")]
    assert sizes[0] == ROWS.nbytes
    assert sizes[1] >= 2 * ROWS.nbytes


@pytest.mark.parametrize("row", [0, 4095, 4096, 4999])
def test_a_head_that_differs_in_one_bit_is_kept(row: int) -> None:
    head = np.ascontiguousarray(ROWS.T)
    head[3, row] = np.nextafter(head[3, row], np.float32(9))
    model = graph(head)
    before = model.SerializeToString()
    assert not share_embedding(model)
    assert model.SerializeToString() == before


def test_a_graph_that_is_no_trace_of_gemma_is_refused() -> None:
    with pytest.raises(BundleError, match="exporter's version"):
        share_embedding(graph(np.ascontiguousarray(ROWS.T), embedding="other"))


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "sub/../../secret"])
def test_onnxruntime_itself_refuses_weights_outside_the_folder(tmp_path: Path, location: str) -> None:
    """`runtime.bundle` relies on it: it does not parse the graph."""
    (tmp_path / "secret").write_bytes(bytes(ROWS.nbytes))
    folder = tmp_path / "bundle"
    run(graph(np.ascontiguousarray(ROWS.T)), folder)
    (folder / "sub").mkdir()
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        for item in tensor.external_data:
            if item.key == "location":
                item.value = location
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(Exception, match=r"[Ee]xternal data"):
        onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
