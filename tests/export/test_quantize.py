"""Quantising with calibration: what is exact is exact, and feeding errors back is worth it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from test_precisions import product_with
from tiny_gemma import WINDOW

from dagger_edge.export.checkpoint import Checkpoint
from dagger_edge.export.layerwise import LayerwiseReference
from dagger_edge.export.quantize.gptq import inverse_factor, quantise
from dagger_edge.export.quantize.layers import LayerQuantizer, common_length, round_activations
from dagger_edge.export.quantize.smoothing import READERS, smooth
from dagger_edge.export.recipe import Calibration
from dagger_edge.export.storage.blocks import Blocks
from dagger_edge.export.storage.codes import Codes, Grid
from dagger_edge.export.storage.rows import IntegerRows

pytestmark = pytest.mark.export

FP32 = np.dtype(np.float32)
RANDOM = np.random.default_rng(3)
NAMES = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
ALL = (*NAMES, "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
PROMPTS = [[2, 9, 7, *RANDOM.integers(5, 261, length).tolist()] for length in (3 * WINDOW, 17, 30)]


def layer_inputs(model: Any, ids: list[int]) -> Any:
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits


@pytest.mark.parametrize("strength", [0.3, 0.9])
def test_smoothing_changes_no_logit(checkpoint: Path, strength: float) -> None:
    """A scale that is folded into the wrong head, or on one side only, is another model."""
    from dagger_edge.export.reference import load_model

    model = load_model(Checkpoint.open(checkpoint))
    expected = layer_inputs(model, PROMPTS[0])
    head_dim = model.config.head_dim
    with torch.no_grad():
        for layer in model.model.layers:
            before = layer.mlp.down_proj.weight.clone()
            for name in READERS:
                reach = torch.rand(layer.get_submodule(name).in_features) * 20
                smooth(name, dict(layer.named_parameters()), reach, strength, head_dim)
            assert not torch.allclose(before, layer.mlp.down_proj.weight)
    assert (layer_inputs(model, PROMPTS[0]) - expected).abs().max() < 2e-4 * expected.abs().max()


@pytest.mark.parametrize("grid", [Grid(4, 16, True), Grid(4, 64, False), Grid(8, None, False, paired=True)])
def test_feeding_errors_back_is_better_than_rounding(grid: Grid) -> None:
    """Feedback in the wrong direction, or along the wrong axis, gives weights that look as good, and are worse."""
    mixing = torch.from_numpy(RANDOM.standard_normal((256, 256))).float()
    x = torch.from_numpy(RANDOM.standard_normal((2000, 256))).float() @ (mixing * torch.linspace(0.1, 1, 256))
    weight = torch.from_numpy(RANDOM.standard_normal((48, 256))).float()
    hessian = x.T @ x / len(x)
    importance = hessian.diagonal().clone()
    losses = []
    for factor in (inverse_factor(hessian.clone()), None):
        codes, made = quantise(weight, factor, importance, grid)
        assert np.abs(codes.weights(grid.size or 256) - made.numpy()).max() < 1e-5
        losses.append(float((x @ (made - weight).T).square().sum()))
    assert losses[0] < 0.8 * losses[1]


def test_integer_products_never_saturate() -> None:
    """x86 without VNNI adds two products in 16 bits: large neighbours of one sign are cut off, silently."""
    storage = IntegerRows()
    matrix = RANDOM.uniform(0.6, 1, (24, 128)).astype(np.float32) * np.where(np.arange(24) % 2, 1, -1)[:, None]
    numbers, scales = storage.encode(matrix.astype(np.float32))
    x = np.full((5, 128), 3.0, np.float32)
    x[1:3] *= -1
    expected = x @ (numbers.astype(np.float32) * scales)
    found = product_with(storage, matrix.astype(np.float32), x)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_packed_codes_are_what_the_kernels_read() -> None:
    """Codes chosen by feedback and codes chosen by rounding must mean the same to the kernel."""
    weight = torch.from_numpy(RANDOM.standard_normal((24, 80))).float()
    for storage in (Blocks(4, 16, True, FP32), Blocks(8, 32, False, FP32), Blocks(4, 64, True, FP32), IntegerRows()):
        codes, made = quantise(weight, None, torch.ones(80), storage.grid)
        fixed = _Fixed(storage, codes)
        found = product_with(fixed, weight.numpy(), np.eye(80, dtype=np.float32))
        assert np.abs(found - made.numpy().T).max() < 1e-5


class _Fixed:
    """A storage whose numbers are chosen already."""

    def __init__(self, storage: Any, codes: Codes) -> None:
        self.parts, self.multiply, self._storage, self._codes = storage.parts, storage.multiply, storage, codes

    def encode(self, _rows: Any) -> Any:
        return self._storage.pack(self._codes)


def test_prompts_that_share_their_beginning_are_run_as_whole_ones(checkpoint: Path) -> None:
    """Positions, windows or masks off by one would calibrate on activations that no model has."""
    grids = {name: Grid(8, 16, True) for name in ALL}
    assert common_length(PROMPTS) == 3
    with Checkpoint.open(checkpoint).weights() as weights:
        calibration = Calibration(smoothing=0.0)
        quantizer = LayerQuantizer(weights, PROMPTS, grids, calibration)
        assert len(list(quantizer.layers())) == weights.config.num_layers
        assert quantizer.tokens == sum(map(len, PROMPTS)) - 9
        states = LayerwiseReference(weights).hidden(PROMPTS)
        expected = torch.cat([state[3:] for state in states]).abs().amax(0)
        assert (quantizer.final_reach() - expected).abs().max() < 0.1 * expected.max()


def test_rounded_products_alone_are_left_out_of_feedback(checkpoint: Path) -> None:
    """INT8 leaves out the widest for the time that it takes: left out by the wrong name, nothing or all would be."""
    grids, down = {name: Grid(8, 16, True) for name in ALL}, "model.layers.0.mlp.down_proj.weight"
    first = []
    with Checkpoint.open(checkpoint).weights() as weights:
        for rounded in ((), ("mlp.down_proj",)):
            quantizer = LayerQuantizer(weights, PROMPTS, grids, Calibration(smoothing=0.5, rounded=rounded))
            first.append({name: item for name, item in next(quantizer.layers()).items() if isinstance(item, Codes)})
    differ = {name for name, codes in first[0].items() if not np.array_equal(codes.numbers, first[1][name].numbers)}
    assert differ == {down}


def test_activations_are_rounded_as_the_kernel_does() -> None:
    """Feedback for another rounding than the kernel's makes errors good that do not happen."""
    x = RANDOM.standard_normal((3, 80)).astype(np.float32) * np.linspace(0.1, 9, 80, dtype=np.float32)
    matrix = RANDOM.standard_normal((24, 80)).astype(np.float32)
    for storage in (Blocks(8, 32, False, FP32), IntegerRows()):
        weights = product_with(storage, matrix, np.eye(80, dtype=np.float32))
        rounded = round_activations(torch.from_numpy(x), storage.grid.size).numpy()
        found = product_with(storage, matrix, x)
        # The kernel's own rounding at halves may differ: far nearer to the rounded activations than to the others.
        assert np.abs(found - rounded @ weights).mean() < 0.05 * np.abs(found - x @ weights).mean()


def test_joined_products_are_stored_once_and_read_one_input(checkpoint: Path, tmp_path: Path) -> None:
    """Quantising activations once for q, k and v is what makes the integer products fast."""
    from dagger_edge.export.pipeline import export_checkpoint

    made = export_checkpoint(checkpoint, tmp_path / "bundle", precision="int8", verify=False)
    graph = onnx.load(made.model_path, load_external_data=False).graph
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("MatMulInteger") == kinds.count("ReduceMax") == 4 * 3
    scale = next(item for item in graph.initializer if item.name.endswith("embed_tokens/scale"))
    assert scale.data_type == TensorProto.FLOAT
    assert numpy_helper.to_array(scale).shape == (32,)
    recipe = made.manifest.precision.recipe
    assert recipe["calibration_prompts"] == 48
    assert len(str(recipe["calibration_sha256"])) == 64
