"""A LoRA adapter merged while the weights are read is what peft makes of it."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_adapter import LINEARS, write_adapter
from tiny_gemma import write_checkpoint, write_multimodal

from dagger_edge.export.checkpoint import Checkpoint
from dagger_edge.export.pipeline import export_checkpoint
from dagger_edge.export.reference import load_model
from dagger_edge.export.weights import Weights
from dagger_edge.runtime.errors import UsageError

pytestmark = pytest.mark.export

WRITERS = pytest.mark.parametrize("write", [write_checkpoint, write_multimodal])
IDS = torch.arange(5, 40)[None]
# What Unsloth writes for a model with a vision tower (shortened).
UNSLOTH_TARGETS = (
    r"(?:.*?(?:language|text).*?(?:self_attn|mlp).*?(?:q_proj|k_proj|down_proj).*?)"
    r"|(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|mlp)\.(?:(?:q_proj|k_proj|down_proj)))"
)
NORMS = ["input_layernorm", "q_norm"]

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rank 1": {"r": 1, "target_modules": ["q_proj"]},
    "rank-stabilised": {"r": 16, "use_rslora": True},
    "unsloth": {"target_modules": UNSLOTH_TARGETS},
    "all-linear but v": {"target_modules": "all-linear", "exclude_modules": ["v_proj"]},
    "some layers": {"layers_to_transform": [0, 2], "layers_pattern": "layers"},
    "patterns": {
        "alpha_pattern": {"q_proj": 3, r".*layers\.1\.mlp\.up_proj": 9},
        "rank_pattern": {r"layers\.[01]\..*v_proj": 2},
    },
    "stabilised patterns": {"alpha_pattern": {"^model.layers.0.mlp.up_proj": 9, "up_proj": 1}, "use_rslora": True},
    "dora": {"use_dora": True},
    "dora with patterns": {"use_dora": True, "use_rslora": True, "rank_pattern": {"o_proj": 7}},
    "norms saved": {"modules_to_save": NORMS},
    "embedding saved": {"modules_to_save": ["embed_tokens"]},
    "head saved": {"modules_to_save": ["lm_head"]},
    "both saved": {"modules_to_save": ["embed_tokens", "lm_head"]},
    "head saved for both": {"modules_to_save": ["lm_head"], "ensure_weight_tying": True},
    "both saved as one": {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
}


def merged_parameters(model: Any) -> dict[str, Any]:
    """The text part of what peft merges, by its names in ``Gemma3ForCausalLM``."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Input and output embeddings are no longer tied")
        named = model.merge_and_unload().named_parameters(remove_duplicate=False)
    return {name.replace("language_model.", ""): value.detach().float().numpy() for name, value in named}


def logits(model: Any) -> Any:
    with torch.no_grad():
        return model(IDS).logits


def edit_adapter(folder: Path, edit: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file(edit(tensors) or tensors, folder / "adapter_model.safetensors")


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refused(checkpoint: Path, adapter: Path, *words: str) -> None:
    with pytest.raises(UsageError) as caught:
        Checkpoint.open(checkpoint, adapter)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def adapter(checkpoint: Path, tmp_path: Path) -> Path:
    """An adapter of the tiny checkpoint, for the test to break."""
    write_adapter(checkpoint, tmp_path / "adapter")
    return tmp_path / "adapter"


@WRITERS
@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_is_what_peft_merges(tmp_path: Path, write: Any, kind: str) -> None:
    """A wrong scale, a swapped factor, a module whose change is lost, a head that forgets that it was trained."""
    path = write(tmp_path / "checkpoint")
    model = write_adapter(path, tmp_path / "adapter", **KINDS[kind])
    expected_logits = logits(model)
    expected = merged_parameters(model)
    opened = Checkpoint.open(path, tmp_path / "adapter")
    with opened.weights() as weights:
        for name in weights.names:
            np.testing.assert_allclose(weights.read(name), expected[name], rtol=1e-5, atol=2e-6, err_msg=name)
    # Tied or not: the model as a whole is the one that was trained.
    torch.testing.assert_close(logits(load_model(opened)), expected_logits, rtol=1e-4, atol=1e-4)


@WRITERS
@pytest.mark.parametrize("adapter_dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precisions_are_merged_within_their_rounding(
    tmp_path: Path, write: Any, dtype: str, adapter_dtype: torch.dtype
) -> None:
    """peft rounds the change and the sum to the base's type; we keep the sum in fp32."""
    path = write(tmp_path / "checkpoint", dtype=dtype)
    model = write_adapter(path, tmp_path / "adapter", dtype=dtype)
    edit_adapter(tmp_path / "adapter", lambda tensors: {k: v.to(adapter_dtype) for k, v in tensors.items()})
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.to(adapter_dtype)
    with Checkpoint.open(path).weights() as weights:
        base = {name: weights.read(name) for name in weights.names}
    expected = merged_parameters(model)
    change_rounding, rounding = torch.finfo(adapter_dtype).eps, torch.finfo(getattr(torch, dtype)).eps
    with Checkpoint.open(path, tmp_path / "adapter").weights() as weights:
        for name in weights.names:
            merged = weights.read(name)
            allowed = (change_rounding + rounding) * np.abs(merged - base[name]) + rounding * np.abs(merged) + 1e-6
            assert (np.abs(merged - expected[name]) <= allowed).all(), name


@pytest.mark.parametrize("target", ["embed_tokens", "lm_head"])
@pytest.mark.parametrize("tied", [True, False])
def test_factors_on_embedding_and_head_give_the_model_that_was_trained(tmp_path: Path, target: str, tied: bool) -> None:
    """peft's own merge of a tied model changes embedding and head at once, though only one of them was trained."""
    path = write_checkpoint(tmp_path / "checkpoint", tie_word_embeddings=tied)
    model = write_adapter(path, tmp_path / "adapter", target_modules=["q_proj", target])
    expected = logits(model)
    opened = Checkpoint.open(path, tmp_path / "adapter")
    assert not opened.config.tied
    torch.testing.assert_close(logits(load_model(opened)), expected, rtol=1e-4, atol=1e-4)


def test_rows_of_a_merged_weight_are_parts_of_the_whole(tmp_path: Path) -> None:
    """The factors have to be cut as the weight is."""
    path = write_checkpoint(tmp_path / "checkpoint")
    targets = ["down_proj", "embed_tokens"]
    write_adapter(path, tmp_path / "adapter", target_modules=targets)
    with Checkpoint.open(path, tmp_path / "adapter").weights() as weights:
        for name in ("model.layers.1.mlp.down_proj.weight", "model.embed_tokens.weight"):
            whole = weights.read(name)
            for start, stop in ((0, 5), (7, 7), (9, len(whole))):
                np.testing.assert_allclose(
                    weights.read_rows(name, start, stop), whole[start:stop], rtol=1e-6, atol=1e-6
                )


@pytest.mark.parametrize("write", [write_checkpoint, write_multimodal])
@pytest.mark.parametrize("module", ["model", "model.language_model", "language_model.model", "language_model"])
def test_adapters_of_all_classes_and_versions_fit_all_checkpoints(tmp_path: Path, write: Any, module: str) -> None:
    """An adapter trained on the multimodal class, before or after transformers 4.52, for either kind of checkpoint."""
    path = write(tmp_path / "checkpoint")
    write_adapter(path, tmp_path / "adapter", target_modules=["gate_proj"])
    with Checkpoint.open(path, tmp_path / "adapter").weights() as weights:
        before = weights.read("model.layers.2.mlp.gate_proj.weight")

    def rename(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        pattern = r"^base_model\.model\.(model\.language_model|model)\.layers"
        return {re.sub(pattern, f"base_model.model.{module}.layers", key): value for key, value in tensors.items()}

    edit_adapter(tmp_path / "adapter", rename)
    with Checkpoint.open(path, tmp_path / "adapter").weights() as weights:
        assert (weights.read("model.layers.2.mlp.gate_proj.weight") == before).all()


def test_a_head_without_the_embedding_that_it_is_tied_to_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    """A tied head is never read: what was trained would be dropped without a word."""
    write_adapter(checkpoint, tmp_path / "adapter", modules_to_save=["lm_head"], ensure_weight_tying=True)
    embedding = "base_model.model.model.embed_tokens.weight"
    edit_adapter(tmp_path / "adapter", lambda tensors: tensors.pop(embedding) is None)
    refused(checkpoint, tmp_path / "adapter", "lm_head.weight", "tied")


def test_a_tied_checkpoint_says_so_unless_the_adapter_unties_it(checkpoint: Path, tmp_path: Path) -> None:
    """A head that is stored though nothing trained it costs a quarter of the bundle."""
    write_adapter(checkpoint, tmp_path / "plain")
    write_adapter(checkpoint, tmp_path / "head", modules_to_save=["lm_head"])
    assert Checkpoint.open(checkpoint, tmp_path / "plain").config.tied
    opened = Checkpoint.open(checkpoint, tmp_path / "head")
    assert not opened.config.tied
    with opened.weights() as weights:
        assert weights.names[-1] == "lm_head.weight"


def test_an_adapter_goes_into_the_bundle_and_its_manifest(checkpoint: Path, adapter: Path, tmp_path: Path) -> None:
    made = export_checkpoint(checkpoint, tmp_path / "bundle", adapter=adapter)
    source = made.manifest.source.adapter
    assert source is not None
    assert source.name == "adapter"
    assert set(source.files) == {"adapter_config.json", "adapter_model.safetensors"}
    assert made.manifest.source.title == "checkpoint with adapter adapter"
    assert "--adapter adapter" in made.manifest.export_command
    assert made.manifest.parity is not None
    assert "with adapter adapter" in (made.path / "MODEL_CARD.md").read_text(encoding="utf-8")
    plain = export_checkpoint(checkpoint, tmp_path / "plain", verify=False)
    assert "adapter" not in (plain.path / "manifest.json").read_text(encoding="utf-8")
    assert plain.manifest.files["model.onnx.data"] != made.manifest.files["model.onnx.data"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"peft_type": "LOHA"}, ["peft_type"]),
        ({"bias": "all"}, ["bias"]),
        ({"lora_bias": True}, ["lora_bias"]),
        ({"fan_in_fan_out": True}, ["fan_in_fan_out"]),
        ({"init_lora_weights": "pissa"}, ["init_lora_weights"]),
        ({"layer_replication": [[0, 2]]}, ["layer_replication"]),
        ({"trainable_token_indices": [1]}, ["trainable_token_indices"]),
        ({"target_parameters": ["weight"]}, ["target_parameters"]),
        ({"use_something_new": True}, ["use_something_new"]),
        ({"a\x1b[2J\nb": True}, ["a [2J b"]),
        ({"r": 8}, ["lora_A", "shape"]),
        ({"r": 0}, ["r"]),
        ({"lora_alpha": "6"}, ["lora_alpha"]),
        ({"lora_alpha": float("nan")}, ["lora_alpha"]),
        ({"rank_pattern": {"q_proj": 8}}, ["q_proj", "shape"]),
        ({"alpha_pattern": {"(a+)+": 8}}, ["(a+)+"]),
        ({"alpha_pattern": {"(": 8}}, ["adapter_config.json"]),
        ({"alpha_pattern": [8]}, ["alpha_pattern"]),
        ({"use_dora": True}, ["lora_magnitude_vector"]),
        ({"target_modules": [*LINEARS, "extra", "q_norm"]}, ["lacks", "q_norm"]),
    ],
)
def test_a_configuration_that_cannot_be_merged_is_named(
    checkpoint: Path, adapter: Path, changes: dict[str, Any], words: list[str]
) -> None:
    """Merging it anyway would give another model than the one that was trained."""
    edit_config(adapter, **changes)
    refused(checkpoint, adapter, str(adapter), *words)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (
            lambda tensors: tensors.pop("base_model.model.model.layers.1.mlp.up_proj.lora_B.weight"),
            ["lora_B", "up_proj"],
        ),
        (lambda tensors: {k: v for k, v in tensors.items() if ".1.mlp.up" not in k}, ["lacks", "layers.1.mlp.up_proj"]),
        (lambda tensors: tensors.update({"base_model.model.model.extra.lora_A.weight": torch.zeros(2)}), ["extra"]),
        (lambda tensors: tensors.update({"model.norm.weight": torch.zeros(32)}), ["model.norm.weight"]),
        (lambda tensors: tensors.update({"base_model.model.model.norm.bias": torch.zeros(32)}), ["norm.bias"]),
        (lambda tensors: tensors.update({"base_model.model.model.norm.weight": torch.zeros(3)}), ["norm", "shape"]),
        (lambda tensors: tensors.update({"base_model.model.model.norm.lora_A.weight": torch.zeros(3)}), ["norm"]),
        (lambda tensors: {k: v.to(torch.int8) for k, v in tensors.items()}, ["I8"]),
        (lambda tensors: {k: v[..., :-1].contiguous() for k, v in tensors.items()}, ["shape"]),
        (lambda tensors: {"base_model.model.vision_tower.x.lora_A.weight": torch.zeros(2)}, ["lacks"]),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    checkpoint: Path, adapter: Path, edit: Callable[[dict[str, torch.Tensor]], Any], words: list[str]
) -> None:
    """peft only warns of keys that it misses, and the result is the base model."""

    def apply(tensors: dict[str, torch.Tensor]) -> Any:
        changed = edit(tensors)
        return changed if isinstance(changed, dict) else None

    edit_adapter(adapter, apply)
    refused(checkpoint, adapter, "adapter_model.safetensors", *words)


def test_an_adapter_of_another_size_is_refused(adapter: Path, tmp_path: Path) -> None:
    refused(write_checkpoint(tmp_path / "wide", hidden_size=64), adapter, "lora_", "shape")
    refused(write_checkpoint(tmp_path / "shallow", num_hidden_layers=2, layer_types=None), adapter, "layers.2")


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_missing_or_damaged_file_is_named(checkpoint: Path, adapter: Path, name: str) -> None:
    whole = (adapter / name).read_bytes()
    (adapter / name).write_bytes(whole[: len(whole) // 2])
    refused(checkpoint, adapter, name)
    (adapter / name).unlink()
    (adapter / "adapter_model.bin").write_bytes(b"")
    refused(checkpoint, adapter, f"{name} is missing")


def test_a_missing_folder_is_named(checkpoint: Path, tmp_path: Path) -> None:
    refused(checkpoint, tmp_path / "nothing", "no such folder")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 3e38])
def test_factors_that_overflow_are_named(checkpoint: Path, adapter: Path, value: float) -> None:
    """A diverged training; 3e38 is finite, and its product is not."""
    key = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"
    edit_adapter(adapter, lambda tensors: tensors.update({key: torch.full_like(tensors[key], value)}))
    with Checkpoint.open(checkpoint, adapter).weights() as weights, pytest.raises(UsageError, match="NaN or infinity"):
        weights.read("model.layers.0.self_attn.q_proj.weight")


def test_merging_needs_no_copy_of_the_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The change is added block by block: at 12B one matrix is 236 MB."""
    from dagger_edge.export import adapter as module

    path = write_checkpoint(tmp_path / "checkpoint")
    model = write_adapter(path, tmp_path / "adapter", use_dora=True)
    monkeypatch.setattr(module, "_BLOCK_NUMBERS", 100)
    expected = merged_parameters(model)
    with Checkpoint.open(path, tmp_path / "adapter").weights() as weights:
        assert isinstance(weights, Weights)
        for name in weights.names:
            np.testing.assert_allclose(weights.read(name), expected[name], rtol=1e-5, atol=2e-6, err_msg=name)
