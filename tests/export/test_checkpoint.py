"""What cannot be exported is refused at once by an error that names the file; what fails leaves nothing."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_gemma import write_checkpoint

from dagger_edge.export import model, pipeline
from dagger_edge.export.checkpoint import Checkpoint
from dagger_edge.export.pipeline import export_checkpoint
from dagger_edge.runtime.bundle import Bundle
from dagger_edge.runtime.errors import BundleError, UsageError

pytestmark = pytest.mark.export


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A good checkpoint, for the test to break."""
    return write_checkpoint(tmp_path / "checkpoint")


def edit_json(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, **changes}), encoding="utf-8")


def edit_weights(folder: Path, edit: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def refused(folder: Path, *words: str) -> None:
    """The export fails at once with one line, and makes nothing beside the checkpoint."""
    with pytest.raises(UsageError) as caught:
        export_checkpoint(folder, folder.parent / "bundle")
    message = str(caught.value)
    for word in words:
        assert word in message
    assert "\n" not in message
    assert {path.name for path in folder.parent.iterdir()} <= {folder.name}


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    refused(tmp_path / "nothing", "no such folder")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named(broken: Path, name: str) -> None:
    (broken / name).unlink()
    refused(broken, f"{name} is missing")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_json_file_is_named(broken: Path, name: str, content: bytes) -> None:
    (broken / name).write_bytes(content)
    refused(broken, name)


def test_a_pickle_is_never_read(broken: Path) -> None:
    (broken / "model.safetensors").rename(broken / "pytorch_model.bin")
    refused(broken, "never pickles")


@pytest.mark.parametrize("size", [0, 4, 100, -1])
def test_a_shard_cut_short_is_named(broken: Path, size: int) -> None:
    shard = broken / "model.safetensors"
    os.truncate(shard, size if size >= 0 else shard.stat().st_size + size)
    refused(broken, "model.safetensors is cut short or damaged")


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint", max_shard_size="20KB")
    gone = sorted(folder.glob("*.safetensors"))[1]
    gone.unlink()
    refused(folder, f"{gone.name} is missing")


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "weights.bin"])
def test_an_index_cannot_name_files_elsewhere(tmp_path: Path, name: str) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint", max_shard_size="20KB")
    edit_json(folder / "model.safetensors.index.json", weight_map={"model.norm.weight": name})
    refused(folder, "model.safetensors.index.json names")


def test_other_models_are_refused_by_name(broken: Path) -> None:
    edit_json(broken / "config.json", model_type="llama", architectures=["LlamaForCausalLM"])
    refused(broken, "LlamaForCausalLM", "only Gemma3ForCausalLM")


def test_a_multimodal_configuration_needs_its_text_part(broken: Path) -> None:
    """Defaults would describe some other model than the one in the files."""
    edit_json(broken / "config.json", model_type="gemma3", architectures=["Gemma3ForConditionalGeneration"])
    refused(broken, "config.json", "text_config")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"final_logit_softcapping": 30.0}, "final_logit_softcapping"),
        ({"use_bidirectional_attention": True}, "use_bidirectional_attention"),
        ({"num_hidden_layers": 10**9}, "config.json"),
        ({"num_hidden_layers": "3"}, "config.json"),
        ({"hidden_size": 33}, "shape"),
        ({"vocab_size": 270}, "model.embed_tokens.weight"),
    ],
)
def test_a_configuration_that_does_not_fit_is_named(broken: Path, changes: dict[str, Any], word: str) -> None:
    edit_json(broken / "config.json", **changes)
    refused(broken, word)


@pytest.mark.parametrize(
    "changes", [{"hidden_activation": "nonsense"}, {"rope_scaling": {"rope_type": "nonsense", "factor": 2.0}}]
)
def test_a_configuration_that_cannot_be_built_is_one_clear_error(broken: Path, changes: dict[str, Any]) -> None:
    edit_json(broken / "config.json", **changes)
    with pytest.raises(UsageError, match=r"config\.json"):
        Checkpoint.open(broken)


def test_a_missing_tensor_is_not_filled_with_random_numbers(broken: Path) -> None:
    edit_weights(broken, lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight"))
    refused(broken, "model.layers.1.mlp.up_proj.weight")


def test_an_unknown_tensor_is_not_dropped_silently(broken: Path) -> None:
    edit_weights(broken, lambda tensors: tensors.update({"model.extra.weight": torch.zeros(2)}))
    refused(broken, "model.extra.weight")


def test_a_tensor_of_integers_is_not_taken_for_weights(broken: Path) -> None:
    edit_weights(broken, lambda tensors: tensors.update({"model.norm.weight": torch.zeros(32, dtype=torch.int8)}))
    refused(broken, "model.norm.weight", "I8")


def test_a_tokenizer_of_another_model_is_refused(broken: Path) -> None:
    text = (broken / "tokenizer.json").read_text(encoding="utf-8")
    (broken / "tokenizer.json").write_text(text.replace("<start_of_turn>", "<|im_start|>"), encoding="utf-8")
    refused(broken, "tokenizer.json", "start_of_turn")


def test_stop_ids_come_from_the_generation_config_too(broken: Path) -> None:
    edit_json(broken / "generation_config.json", eos_token_id=[1, 77])
    assert Checkpoint.open(broken).special_ids.stop == (1, 4, 77)
    edit_json(broken / "generation_config.json", eos_token_id="one")
    refused(broken, "generation_config.json")


def test_model_id_and_revision_come_from_the_hub_cache(tmp_path: Path) -> None:
    folder = tmp_path / "models--dipta007--dagger-4B_GRPO" / "snapshots" / "0123abcd"
    folder.parent.mkdir(parents=True)
    write_checkpoint(folder)
    source = Checkpoint.open(folder).source()
    assert (source.name, source.revision) == ("dipta007/dagger-4B_GRPO", "0123abcd")


def test_an_existing_output_is_refused_before_the_checkpoint_is_read(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        export_checkpoint(tmp_path / "nothing", tmp_path / "bundle")


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize(
    "step",
    [
        "model.trace_skeleton",
        "model.write_graph",
        "model.write_weights",
        "pipeline.pass_gate",
        "pipeline.write_card",
    ],
)
def test_a_failure_at_any_step_leaves_nothing(
    broken: Path, monkeypatch: pytest.MonkeyPatch, step: str, failure: BaseException
) -> None:
    def fail(*_arguments: Any) -> None:
        raise failure

    module, function = step.split(".")
    monkeypatch.setattr({"model": model, "pipeline": pipeline}[module], function, fail)
    expected = BundleError if isinstance(failure, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        export_checkpoint(broken, broken.parent / "bundle")
    assert [path.name for path in broken.parent.iterdir()] == ["checkpoint"]


def test_a_card_of_the_checkpoint_is_kept_and_continued(broken: Path, tmp_path: Path) -> None:
    (broken / "README.md").write_text("# DAGGER\n\nIts own words.\n", encoding="utf-8")
    made = export_checkpoint(broken, tmp_path / "bundle", name="my bundle", prompt="paper", verify=False)
    card = (made.path / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card.startswith("# DAGGER\n\nIts own words.\n")
    for word in ("my bundle", "fp32", "`paper`", "not measured", "Gemma Terms of Use", made.manifest.created):
        assert word in card
    assert "MODEL_CARD.md" in Bundle.open(made.path).manifest.files
    assert made.manifest.parity is None
    assert str(tmp_path) not in (made.path / "manifest.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("epoch", ["soon", "9" * 30])
def test_a_bad_source_date_is_a_usage_error(broken: Path, monkeypatch: pytest.MonkeyPatch, epoch: str) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    refused(broken, "SOURCE_DATE_EPOCH")


@pytest.mark.parametrize("name", ["", "a\nb", "\x1b[2J", "x" * 101])
def test_a_bad_name_is_refused_before_the_work(broken: Path, name: str) -> None:
    with pytest.raises(UsageError, match="name"):
        export_checkpoint(broken, broken.parent / "bundle", name=name)
