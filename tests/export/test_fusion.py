"""The fused graph: what it consists of, and that nothing is fused which is not exactly what was expected."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_gemma import WINDOW

from dagger_edge.export.config import Rope, TextConfig
from dagger_edge.export.folder import InputFolder
from dagger_edge.export.fuse.model import fuse
from dagger_edge.export.skeleton import trace_skeleton
from dagger_edge.runtime.bundle import Bundle
from dagger_edge.runtime.errors import BundleError
from dagger_edge.runtime.session import Session

pytestmark = pytest.mark.export

SCALE = 32**0.5


@pytest.fixture(scope="module")
def config(checkpoint: Path) -> TextConfig:
    return TextConfig.read(InputFolder(checkpoint, "checkpoint"))


@pytest.fixture(scope="module")
def skeleton(config: TextConfig, tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    return trace_skeleton(config, tmp_path_factory.mktemp("skeleton"))


def edited(skeleton: onnx.ModelProto, edit: Callable[[dict[str, onnx.NodeProto]], Any]) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(skeleton)
    edit({node.name: node for node in copy.graph.node})
    return copy


def set_constant(nodes: dict[str, onnx.NodeProto], reader: str, position: int, value: Any) -> None:
    """Changes the number that the node ``reader`` reads."""
    makers = {output: node for node in nodes.values() for output in node.output}
    constant = makers[nodes[reader].input[position]]
    while constant.op_type != "Constant":
        constant = makers[constant.input[0]]
    old = numpy_helper.to_array(constant.attribute[0].t)
    constant.attribute[0].t.CopyFrom(numpy_helper.from_array(np.full(old.shape, value, old.dtype)))


def test_the_skeleton_holds_no_weights(skeleton: onnx.ModelProto, config: TextConfig) -> None:
    """A trace with weights needs the memory of the model, several times."""
    inputs = {value.name for value in skeleton.graph.input}
    assert set(config.tensor_shapes) <= inputs
    assert not skeleton.graph.initializer
    assert skeleton.ByteSize() < 1 << 20


def test_every_layer_is_a_few_nodes(bundle: Bundle) -> None:
    """An attention that stays decomposed runs several times slower, and nobody would notice."""
    graph = onnx.load(bundle.model_path, load_external_data=False).graph
    kinds = Counter(node.op_type for node in graph.node)
    assert kinds["GroupQueryAttention"] == kinds["FastGelu"] == 3
    assert kinds["SkipSimplifiedLayerNormalization"] == 6
    assert kinds["SimplifiedLayerNormalization"] == 3 * 4 + 1
    assert kinds["MatMul"] == 3 * 7 + 1
    assert kinds["Softmax"] == kinds["Tanh"] == kinds["Constant"] == 0
    assert len(graph.node) <= 20 * 3 + 14


def test_windows_are_on_the_sliding_layers_only(bundle: Bundle) -> None:
    """onnxruntime-genai#2277: garbage from the first sliding layer on."""
    graph = onnx.load(bundle.model_path, load_external_data=False).graph
    windows = {}
    for node in graph.node:
        if node.op_type == "GroupQueryAttention":
            attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
            windows[node.name] = (attributes["local_window_size"], node.input[7])
    assert list(windows.values()) == [
        (WINDOW, "rotary.local.cos"),
        (-1, "rotary.global.cos"),
        (WINDOW, "rotary.local.cos"),
    ]


@pytest.mark.parametrize(
    ("node", "position", "value", "place"),
    [
        ("/model/Sub", 1, WINDOW + 1, "layers.0/self_attn"),
        ("/model/layers.0/self_attn/Sqrt", 0, 0.125, "layers.0/self_attn"),
        ("/model/layers.2/self_attn/q_norm/Add", 1, 1e-5, "layers.2/self_attn/q_norm"),
        ("/model/layers.1/post_feedforward_layernorm/Add_1", 1, 0.0, "post_feedforward_layernorm"),
        ("/model/layers.0/mlp/act_fn/Mul_2", 0, 0.05, "mlp/act_fn"),
        ("/model/embed_tokens/Mul", 1, 1.0, "embed_tokens"),
        ("/model/layers.0/self_attn/Concat", 3, 8, "layers.0/self_attn"),
    ],
)
def test_another_number_in_the_trace_is_an_error(
    skeleton: onnx.ModelProto, config: TextConfig, node: str, position: int, value: float, place: str
) -> None:
    """A fusion that assumes its numbers gives a model that runs, and answers garbage."""
    changed = edited(skeleton, lambda nodes: set_constant(nodes, node, position, value))
    with pytest.raises(BundleError, match=place):
        fuse(changed, config, SCALE)


def test_a_norm_of_another_module_is_an_error(skeleton: onnx.ModelProto, config: TextConfig) -> None:
    """Names alone prove nothing: the weight of the module must be what the node reads."""

    def swap(nodes: dict[str, onnx.NodeProto]) -> None:
        nodes["/model/layers.0/input_layernorm/Cast_1"].input[0] = "model.layers.1.input_layernorm.weight"

    with pytest.raises(BundleError, match=r"layers\.0/input_layernorm"):
        fuse(edited(skeleton, swap), config, SCALE)


def test_the_sign_of_the_rotation_is_looked_at(skeleton: onnx.ModelProto, config: TextConfig) -> None:
    """Halves swapped in ``rotate_half`` make a rotation the other way round."""

    def swap(nodes: dict[str, onnx.NodeProto]) -> None:
        concat = nodes["/model/layers.0/self_attn/Concat_3"]
        concat.input[:] = reversed(concat.input)

    with pytest.raises(BundleError, match=r"layers\.0/self_attn"):
        fuse(edited(skeleton, swap), config, SCALE)


@pytest.mark.parametrize(
    "changes",
    [
        {"global_rope": Rope(1e6, 8.0)},
        {"local_rope": Rope(2e4)},
        {"sliding_window": WINDOW - 1},
        {"query_pre_attn_scalar": 32.0},
        {"rms_norm_eps": 1e-5},
        {"layer_kinds": ("full_attention", "full_attention", "sliding_attention")},
    ],
)
def test_a_configuration_that_the_trace_is_not_of_is_an_error(
    skeleton: onnx.ModelProto, config: TextConfig, changes: dict[str, Any]
) -> None:
    """The trace is the truth: what the configuration says must be found in it."""
    with pytest.raises(BundleError, match="cannot be fused"):
        fuse(skeleton, dataclasses.replace(config, **changes), SCALE)


def test_prefill_makes_one_row_of_logits(bundle: Bundle) -> None:
    """All rows cost 800 MB and a fifth of the prefill at Gemma's vocabulary. Callers need not know the input."""
    session = onnxruntime.InferenceSession(bundle.model_path, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    assert "logits_positions" not in names
    feeds = {"input_ids": np.full((1, 7), 9, np.int64), "attention_mask": np.ones((1, 7), np.int64)}
    feeds |= {name: np.zeros((1, 2, 0, 16), np.float32) for name in names if name.startswith("past")}
    assert session.run(["logits"], feeds)[0].shape == (1, 1, 264)
    every, _ = Session(bundle.model_path).step(feeds["input_ids"], Session(bundle.model_path).empty_cache(), keep=0)
    assert every.shape == (1, 7, 264)
    last, _ = Session(bundle.model_path).step(feeds["input_ids"], Session(bundle.model_path).empty_cache(), keep=3)
    assert np.array_equal(every[:, -3:], last)
    some = session.run(["logits"], {**feeds, "logits_positions": np.array([-7, -4, -1])})[0]
    assert np.array_equal(every[:, ::3], some)


def test_the_context_ends_where_the_manifest_says(make_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    """Beyond the rotary tables there must be an error, not a wrong position."""
    from dagger_edge.export.pipeline import export_checkpoint
    from dagger_edge.runtime.errors import ModelError

    made = export_checkpoint(make_checkpoint(), tmp_path / "bundle", context=40)
    assert made.manifest.architecture.context_length == 40
    session = Session(made.model_path)
    _, cache = session.step(np.full((1, 40), 9, np.int64), session.empty_cache())
    with pytest.raises(ModelError):
        session.step(np.array([[9]], np.int64), cache)


def test_onnxruntime_itself_refuses_weights_outside_the_folder(tmp_path: Path) -> None:
    """`runtime.bundle` relies on it: it does not parse the graph."""
    (tmp_path / "secret").write_bytes(bytes(64))
    (tmp_path / "bundle" / "sub").mkdir(parents=True)
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[16], data_location=TensorProto.EXTERNAL)
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [16])
    for location in ("../secret", str(tmp_path / "secret"), "sub/../../secret"):
        del tensor.external_data[:]
        for key, value in (("location", location), ("offset", "0"), ("length", "64")):
            tensor.external_data.add(key=key, value=value)
        graph = helper.make_graph([helper.make_node("Neg", ["w"], ["y"])], "g", [], [output], [tensor])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        (tmp_path / "bundle" / "model.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(Exception, match=r"[Ee]xternal data"):
            onnxruntime.InferenceSession(tmp_path / "bundle" / "model.onnx", providers=["CPUExecutionProvider"])
