"""The exported graph is the checkpoint's model: logits, cache, window, head, bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tiny_gemma import WINDOW

from dagger_edge.export import verify
from dagger_edge.export.checkpoint import Checkpoint
from dagger_edge.export.limits import Limits
from dagger_edge.export.pipeline import export_checkpoint
from dagger_edge.export.reference import WholeReference, load_model
from dagger_edge.export.verify import (
    ExportedGraph,
    greedy_agreement,
    logit_distance,
    measure_parity,
    read,
)
from dagger_edge.runtime.bundle import Bundle
from dagger_edge.runtime.errors import BundleError
from dagger_edge.runtime.session import Session

pytestmark = pytest.mark.export

IDS = np.random.default_rng(3).integers(5, 261, 3 * WINDOW + 5).tolist()
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def exported(bundle: Bundle) -> Session:
    return Session(bundle.model_path)


def torch_logits(model: Any, ids: list[int]) -> np.ndarray[Any, Any]:
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0].numpy()


@pytest.mark.parametrize("length", [1, WINDOW - 1, WINDOW, WINDOW + 1, len(IDS)])
def test_the_window_is_not_off_by_one(exported: Session, torch_model: Any, length: int) -> None:
    logits, _ = read(exported, IDS[:length], exported.empty_cache())
    assert np.abs(logits - torch_logits(torch_model, IDS[:length])).max() < TOLERANCE


@pytest.mark.parametrize("sizes", [[1] * len(IDS), [WINDOW - 1, 1, 1, 20], [5, 24], [WINDOW, WINDOW, 13]])
def test_chunks_over_a_past_equal_one_pass(exported: Session, torch_model: Any, sizes: list[int]) -> None:
    cache, rows, start = exported.empty_cache(), [], 0
    for size in sizes:
        logits, cache = read(exported, IDS[start : start + size], cache)
        rows.append(logits)
        start += size
    assert start == len(IDS)
    assert np.abs(np.concatenate(rows) - torch_logits(torch_model, IDS)).max() < TOLERANCE
    assert cache[0].shape == (1, 2, len(IDS), 16)


def test_greedy_tokens_are_equal_cached_uncached_and_in_torch(exported: Session, torch_model: Any) -> None:
    assert greedy_agreement(WholeReference(torch_model), exported, [IDS[:5]], 3 * WINDOW) == 3 * WINDOW


def test_rows_of_a_batch_do_not_see_each_other(bundle: Bundle, exported: Session) -> None:
    session = onnxruntime.InferenceSession(bundle.model_path, providers=["CPUExecutionProvider"])
    rows = np.array([IDS[:12], IDS[12:24]], np.int64)
    feeds = {"input_ids": rows, "attention_mask": np.ones_like(rows)}
    feeds |= {
        item.name: np.zeros((2, 2, 0, 16), np.float32) for item in session.get_inputs() if item.name.startswith("past")
    }
    logits = session.run(["logits"], {**feeds, "logits_positions": np.arange(-12, 0)})[0]
    for row, ids in zip(logits, rows.tolist(), strict=True):
        assert np.abs(row - read(exported, ids, exported.empty_cache())[0]).max() < TOLERANCE


def test_the_interface_is_the_one_in_the_design(bundle: Bundle) -> None:
    session = onnxruntime.InferenceSession(bundle.model_path, providers=["CPUExecutionProvider"])
    caches = [f"{layer}.{kind}" for layer in range(3) for kind in ("key", "value")]
    assert [item.name for item in session.get_inputs()] == [
        "input_ids",
        "attention_mask",
        *(f"past_key_values.{name}" for name in caches),
    ]
    assert [item.name for item in session.get_outputs()] == [
        "logits",
        *(f"present.{name}" for name in caches),
    ]
    shapes = {item.name: item.shape for item in [*session.get_inputs(), *session.get_outputs()]}
    past, total = "past_sequence_length", "past_sequence_length + sequence_length"
    assert shapes["input_ids"] == ["batch_size", "sequence_length"]
    assert shapes["attention_mask"] == ["batch_size", total]
    assert shapes["past_key_values.2.value"] == ["batch_size", 2, past, 16]
    assert shapes["logits"] == ["batch_size", 1, 264]
    assert shapes["present.2.value"] == ["batch_size", 2, total, 16]


def test_the_embedding_is_stored_once(bundle: Bundle) -> None:
    graph = onnx.load(bundle.model_path, load_external_data=False).graph
    sizes = [int(np.prod(tensor.dims)) for tensor in graph.initializer]
    assert sizes.count(264 * 32) == 1
    parameters = 4 * sum(size for size in sizes if size >= 32)
    assert bundle.manifest.files["model.onnx.data"].size_bytes < parameters + 4096 * len(sizes)


def test_an_untied_head_keeps_its_own_weights(make_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    path = make_checkpoint(tie_word_embeddings=False)
    made = export_checkpoint(path, tmp_path / "bundle")
    assert made.manifest.precision.recipe["head"] == "untied"
    graph = onnx.load(made.model_path, load_external_data=False).graph
    assert [int(np.prod(tensor.dims)) for tensor in graph.initializer].count(264 * 32) == 2


@pytest.mark.parametrize("pattern", ["full_attention", "sliding_attention"])
def test_a_model_of_one_kind_of_layer_is_exported_too(
    make_checkpoint: Callable[..., Path], tmp_path: Path, pattern: str
) -> None:
    made = export_checkpoint(make_checkpoint(layer_types=[pattern] * 3), tmp_path / "bundle")
    assert made.manifest.parity is not None
    assert made.manifest.architecture.global_layers == ((0, 1, 2) if pattern == "full_attention" else ())


def test_linear_rope_scaling_of_the_4b_is_exported(make_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    path = make_checkpoint(rope_scaling={"rope_type": "linear", "factor": 8.0})
    made = export_checkpoint(path, tmp_path / "bundle")
    assert made.manifest.parity is not None
    assert made.manifest.parity.max_logit_diff < TOLERANCE


def test_bfloat16_shards_become_the_same_numbers_in_fp32(make_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    path = make_checkpoint(dtype="bfloat16", max_shard_size="20KB")
    assert len(list(path.glob("*.safetensors"))) > 2
    made = export_checkpoint(path, tmp_path / "bundle")
    assert made.manifest.parity is not None
    assert set(made.manifest.source.shards) == {shard.name for shard in path.glob("*.safetensors")}


def test_the_same_checkpoint_gives_the_same_bytes(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    digests = []
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        made = export_checkpoint(checkpoint, tmp_path / str(number) / "bundle")
        files = sorted(made.path.iterdir())
        digests.append({file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files})
        assert made.manifest.created == "2023-11-14T22:13:20+00:00"
    assert digests[0] == digests[1]


def test_the_parity_report_is_what_another_measurement_finds(bundle: Bundle, torch_model: Any) -> None:
    parity = bundle.manifest.parity
    assert parity is not None
    assert parity.positions > WINDOW + 1
    assert parity.max_logit_diff < TOLERANCE
    exported = Session(bundle.model_path)
    distance = logit_distance(WholeReference(torch_model), exported, IDS, WINDOW)
    assert 0 < distance.mean <= distance.worst < TOLERANCE
    assert 0 < distance.divergence < 1e-9
    assert distance.top1 == distance.agreed == 1


@pytest.mark.parametrize("mistake", ["window", "scale", "nan"])
def test_the_gate_sees_the_mistakes_that_others_made(checkpoint: Path, bundle: Bundle, mistake: str) -> None:
    """A window off by one (onnxruntime#25927), a missing embedding scale, an overflow that ends in NaN."""
    other = load_model(Checkpoint.open(checkpoint))
    if mistake == "window":
        for module in other.modules():
            if hasattr(module, "sliding_window") and module.sliding_window:
                module.sliding_window += 1
        other.config.sliding_window += 1
    elif mistake == "scale":
        other.model.embed_tokens.embed_scale.fill_(1.0)
    else:
        with torch.no_grad():
            other.model.norm.weight[0] = float("nan")
    with pytest.raises(BundleError, match=r"logits differ|not finite"):
        measure_parity(WholeReference(other), ExportedGraph.of(bundle))


def test_the_gate_sees_other_tokens(checkpoint: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding is compared for itself: logits that pass do not excuse it."""
    loose = Limits(logit_diff=None, divergence=float("inf"), agreed=0, same_tokens=True, layer=1)
    monkeypatch.setitem(verify.LIMITS, "fp32", loose)
    other = load_model(Checkpoint.open(checkpoint))
    with torch.no_grad():
        other.model.norm.weight += torch.linspace(-3, 3, 32)
    with pytest.raises(BundleError, match="other tokens"):
        measure_parity(WholeReference(other), ExportedGraph.of(bundle))


def test_tokens_that_are_about_as_likely_are_no_disagreement() -> None:
    """Random weights of Gemma's size have thousands of them, and every rounding picks another."""
    expected = np.array([[3.0, 2.9, 0.0], [3.0, 2.0, 0.0], [0.0, 1.0, 5.0]], np.float32)
    found = np.array([[2.9, 3.0, 0.0], [2.0, 3.0, 0.0], [0.0, 1.0, 4.0]], np.float32)
    distances = verify.row_distances(expected, found)
    assert distances.top1.tolist() == [0, 0, 1]
    assert distances.agreed.tolist() == [1, 0, 1]
    assert distances.divergence[0] < distances.divergence[1]
