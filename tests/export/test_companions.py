"""Files for other tools: onnxruntime-genai itself opens our bundles, and configurations describe the text model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from greedy import greedy_ids
from tiny_gemma import WINDOW, write_checkpoint, write_multimodal

from dagger_edge.export.pipeline import export_checkpoint
from dagger_edge.runtime.bundle import Bundle
from dagger_edge.runtime.manifest import PRECISIONS, HeadName, PrecisionName
from dagger_edge.runtime.session import Session

pytestmark = pytest.mark.export

NEW_TOKENS = 4 * WINDOW


@pytest.fixture(scope="module")
def wordy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a head of its own: a tied one repeats its last token for ever."""
    return write_checkpoint(tmp_path_factory.mktemp("wordy") / "checkpoint", hidden_size=64, tie_word_embeddings=False)


def generated(folder: Path, prompt: list[int], **options: Any) -> list[int]:
    """What onnxruntime-genai makes of ``prompt`` with the folder's own settings."""
    genai = pytest.importorskip("onnxruntime_genai")
    model = genai.Model(str(folder))
    parameters = genai.GeneratorParams(model)
    parameters.set_search_options(max_length=len(prompt) + NEW_TOKENS, **options)
    generator = genai.Generator(model, parameters)
    generator.append_tokens(np.array(prompt, np.int32))
    ids = []
    while not generator.is_done():
        generator.generate_next_token()
        ids.append(int(generator.get_next_tokens()[0]))
    return ids


def decoded(bundle: Bundle, prompt: list[int]) -> list[int]:
    return greedy_ids(Session(bundle.model_path), prompt, max_new_tokens=NEW_TOKENS, context=512)


@pytest.mark.parametrize(
    ("precision", "head"), [*((precision, "all") for precision in PRECISIONS), ("fp32", "grammar"), ("int8", "grammar")]
)
def test_onnxruntime_genai_opens_the_folder_and_decodes_the_same(
    wordy: Path, tmp_path: Path, precision: PrecisionName, head: HeadName
) -> None:
    """It asks for fixed names, takes the first dimension of the logits for their number, and once attended to a
    window of its own. A head that is cut must look to it like one that is not."""
    made = export_checkpoint(
        wordy, tmp_path / "bundle", prompt="question", precision=precision, head=head, verify=False
    )
    stop = set(made.manifest.special_ids.stop)
    rng = np.random.default_rng(3)
    # Below the window, at it and beyond: it throws below where it is told of a window.
    for length in (1, WINDOW - 1, WINDOW, WINDOW + 1, 5 * WINDOW):
        prompt = rng.integers(5, 261, length).tolist()
        ours = decoded(made, prompt)
        ends = [index for index, token in enumerate(ours) if token in stop]
        expected = ours[: ends[0] + 1] if ends else ours
        assert generated(made.path, prompt) == expected
        assert generated(made.path, prompt, past_present_share_buffer=False) == expected
    assert len(set(ours)) > 3  # of one token for ever, equality would mean little


def test_the_folder_is_sealed_with_the_files_for_other_tools(bundle: Bundle) -> None:
    """An unsealed configuration could be exchanged, and send another tool to another file."""
    assert {"config.json", "genai_config.json", "generation_config.json", "tokenizer_config.json"} <= set(
        bundle.manifest.files
    )


def test_the_configuration_is_that_of_the_text_part(tmp_path: Path) -> None:
    """A multimodal checkpoint's own names a vision tower that the bundle does not have."""
    from transformers import AutoConfig, Gemma3TextConfig

    source = write_multimodal(tmp_path / "checkpoint")
    made = export_checkpoint(source, tmp_path / "bundle", prompt="question", context=128, verify=False)
    content = json.loads((made.path / "config.json").read_text(encoding="utf-8"))
    assert "vision_config" not in content
    assert content["architectures"] == ["Gemma3ForCausalLM"]
    read = AutoConfig.from_pretrained(made.path)
    assert isinstance(read, Gemma3TextConfig)
    text = AutoConfig.from_pretrained(source).text_config
    for name in ("hidden_size", "layer_types", "sliding_window", "rope_theta", "num_key_value_heads"):
        assert getattr(read, name) == getattr(text, name)
    # The rotary tables end there: a later position would read beyond them.
    assert read.max_position_embeddings == 128


def test_nothing_of_the_checkpoint_that_names_code_is_taken_over(make_checkpoint: Callable[..., Path]) -> None:
    """``auto_map`` makes transformers fetch and run Python files."""
    source = make_checkpoint()
    content = json.loads((source / "config.json").read_text(encoding="utf-8"))
    content["auto_map"] = {"AutoModelForCausalLM": "evil.Model"}
    (source / "config.json").write_text(json.dumps(content), encoding="utf-8")
    (source / "tokenizer_config.json").write_text(
        json.dumps({"auto_map": {"AutoTokenizer": ["evil.T", None]}, "bos_token": "<bos>"}), encoding="utf-8"
    )
    made = export_checkpoint(source, source.parent / "bundle", prompt="question", verify=False)
    for name in ("config.json", "tokenizer_config.json"):
        assert "evil" not in (made.path / name).read_text(encoding="utf-8")
