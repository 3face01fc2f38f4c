"""Every way to write the configuration of a Gemma 3 becomes the same description, or a clear error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_gemma import SETTINGS
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

from dagger_edge.export.config import Rope, TextConfig
from dagger_edge.export.folder import InputFolder
from dagger_edge.export.reference import transformers_config
from dagger_edge.runtime.errors import UsageError

pytestmark = pytest.mark.export

TEXT = {"model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"]}
LINEAR = {"rope_type": "linear", "factor": 8.0}
# The text parts of the published multimodal checkpoints; what they leave out has transformers' defaults.
MODEL_4B = {
    "hidden_size": 2560,
    "intermediate_size": 10240,
    "model_type": "gemma3_text",
    "num_hidden_layers": 34,
    "rope_scaling": LINEAR,
    "sliding_window": 1024,
}
MODEL_12B = {
    **MODEL_4B,
    "hidden_size": 3840,
    "intermediate_size": 15360,
    "num_attention_heads": 16,
    "num_hidden_layers": 48,
    "num_key_value_heads": 8,
}
SHAPES = pytest.mark.parametrize("settings", [{}, SETTINGS, MODEL_4B, MODEL_12B, {"tie_word_embeddings": False}])


def read(folder: Path, content: dict[str, Any]) -> TextConfig:
    (folder / "config.json").write_text(json.dumps(content), encoding="utf-8")
    return TextConfig.read(InputFolder(folder, "checkpoint"))


def multimodal(text: dict[str, Any], **more: Any) -> dict[str, Any]:
    kind = {"model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"]}
    return {**kind, "text_config": {"model_type": "gemma3_text", **text}, "vision_config": {}, **more}


@SHAPES
def test_names_and_shapes_are_those_of_the_model_in_transformers(tmp_path: Path, settings: dict[str, Any]) -> None:
    """A shape worked out wrongly would refuse a good checkpoint, or let a bad one through."""
    with torch.device("meta"):
        model = Gemma3ForCausalLM(Gemma3TextConfig.from_dict(settings))
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert read(tmp_path, {**TEXT, **settings}).tensor_shapes == shapes


@SHAPES
def test_the_description_holds_everything_that_transformers_reads(tmp_path: Path, settings: dict[str, Any]) -> None:
    """A field that is not carried over would take transformers' default in the reference, and pass unnoticed."""
    theirs = Gemma3TextConfig.from_dict(settings).to_dict()
    ours = transformers_config(read(tmp_path, {**TEXT, **settings})).to_dict()
    theirs["eos_token_id"] = [theirs["eos_token_id"]]
    assert {key: value for key, value in ours.items() if value != theirs[key]} == {}


def test_the_4b_has_its_published_shape(tmp_path: Path) -> None:
    config = read(tmp_path, multimodal(MODEL_4B, eos_token_id=[1, 106]))
    assert config.multimodal
    assert (config.num_layers, config.num_heads, config.num_kv_heads, config.head_dim) == (34, 8, 4, 256)
    assert (config.vocab_size, config.context_length, config.sliding_window) == (262_208, 131_072, 1024)
    assert config.architecture.global_layers == (5, 11, 17, 23, 29)
    assert (config.global_rope, config.local_rope) == (Rope(1e6, 8.0), Rope(1e4))
    assert config.tied
    assert config.eos_ids == (1, 106)


@pytest.mark.parametrize(
    "written",
    [
        {"rope_theta": 5e5, "rope_local_base_freq": 2e4, "rope_scaling": LINEAR},
        {"rope_theta": 5e5, "rope_local_base_freq": 2e4, "rope_scaling": {"type": "linear", "factor": 8}},
        {
            "rope_parameters": {
                "full_attention": {**LINEAR, "rope_theta": 5e5},
                "sliding_attention": {"rope_type": "default", "rope_theta": 2e4},
            }
        },
        {
            "rope_theta": 5e5,
            "rope_local_base_freq": 2e4,
            "rope_parameters": {"full_attention": LINEAR, "sliding_attention": None},
        },
    ],
)
def test_rotary_embeddings_are_read_in_the_styles_of_all_versions(tmp_path: Path, written: dict[str, Any]) -> None:
    """transformers 4 ignores ``rope_parameters`` silently: the model would run with the wrong frequencies."""
    config = read(tmp_path, {**TEXT, **written})
    assert (config.global_rope, config.local_rope) == (Rope(5e5, 8.0), Rope(2e4))


def test_layers_are_read_from_the_list_or_from_the_pattern(tmp_path: Path) -> None:
    by_pattern = read(tmp_path, {**TEXT, "num_hidden_layers": 5, "sliding_window_pattern": 2})
    assert by_pattern.architecture.global_layers == (1, 3)
    kinds = ["full_attention", "sliding_attention"]
    by_list = read(tmp_path, {**TEXT, "num_hidden_layers": 2, "sliding_window_pattern": 2, "layer_types": kinds})
    assert by_list.architecture.global_layers == (0,)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rope_scaling": {"rope_type": "yarn", "factor": 8.0}}, ["rope", "yarn", "linear"]),
        ({"rope_scaling": {"rope_type": ["linear"]}}, ["rope"]),
        ({"rope_scaling": {"rope_type": "linear"}}, ["float"]),
        ({"rope_scaling": {"rope_type": "linear", "factor": 0}}, ["> 0"]),
        ({"rope_scaling": {"rope_type": "linear", "factor": "8"}}, ["float"]),
        ({"rope_parameters": {"rope_type": "linear", "factor": 8.0}}, ["rope_parameters"]),
        ({"rope_parameters": {"full_attention": 7}}, ["object"]),
        ({"rope_parameters": {"sliding_attention": LINEAR}}, ["sliding"]),
        ({"layer_types": ["full_attention"]}, ["layer_types"]),
        ({"layer_types": ["chunked_attention"] * 26}, ["layer_types"]),
        ({"num_attention_heads": 6, "num_key_value_heads": 4}, ["heads"]),
        ({"head_dim": 15}, ["head_dim"]),
        ({"hidden_size": -1}, ["hidden_size"]),
        ({"hidden_size": True}, ["hidden_size"]),
        ({"rms_norm_eps": float("nan")}, ["rms_norm_eps"]),
        ({"rope_theta": float("inf")}, ["rope_theta"]),
        ({"hidden_activation": "relu"}, ["hidden_activation"]),
        ({"attention_bias": True}, ["attention_bias"]),
        ({"tie_word_embeddings": "yes"}, ["bool"]),
        ({"eos_token_id": "one"}, ["int"]),
        ({"quantization_config": {"bits": 4}}, ["quantization_config"]),
        ({"architectures": ["Gemma3ForConditionalGeneration"]}, ["Gemma3ForCausalLM"]),
        ({"model_type": ["gemma3"]}, ["gemma3"]),
    ],
)
def test_what_cannot_be_exported_is_named_in_one_line(
    tmp_path: Path, changes: dict[str, Any], words: list[str]
) -> None:
    """Nothing falls back to a default where the file says something else."""
    for content in ({**TEXT, **changes}, multimodal(changes)):
        if "architectures" in changes and "text_config" in content:
            continue
        with pytest.raises(UsageError) as caught:
            read(tmp_path, content)
        message = str(caught.value)
        assert "config.json" in message
        assert "\n" not in message
        for word in words:
            assert word in message


@pytest.mark.parametrize("text", [None, [], {"model_type": "gemma2"}])
def test_a_multimodal_configuration_without_a_text_part_is_refused(tmp_path: Path, text: Any) -> None:
    with pytest.raises(UsageError, match="text_config"):
        read(tmp_path, {**multimodal({}), "text_config": text})
