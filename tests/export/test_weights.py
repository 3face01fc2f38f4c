"""The weights that are read are those that transformers loads, from every kind of checkpoint."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_adapter import load
from tiny_gemma import rename_tensors, write_checkpoint, write_multimodal

from dagger_edge.export import reference
from dagger_edge.export.checkpoint import Checkpoint
from dagger_edge.export.pipeline import export_checkpoint
from dagger_edge.export.reference import load_model
from dagger_edge.runtime.errors import UsageError

pytestmark = pytest.mark.export

WRITERS = pytest.mark.parametrize("write", [write_checkpoint, write_multimodal])
IDS = torch.arange(5, 40)[None]


@pytest.fixture
def multimodal(tmp_path: Path) -> Path:
    """A multimodal checkpoint, for the test to change."""
    return write_multimodal(tmp_path / "checkpoint")


def text_parameters(model: Any) -> dict[str, Any]:
    """The parameters of the text part by their names in ``Gemma3ForCausalLM``."""
    named = {name.replace("language_model.", ""): value for name, value in model.named_parameters()}
    return {
        name: value.float().detach().numpy()
        for name, value in named.items()
        if "model.v" not in name and "multi" not in name
    }


def edit_shard(folder: Path, edit: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors")


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(UsageError) as caught:
        Checkpoint.open(folder)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@WRITERS
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("max_shard_size", ["1GB", "20KB"])
def test_every_tensor_is_what_transformers_loads(tmp_path: Path, write: Any, dtype: str, max_shard_size: str) -> None:
    """A wrong offset, a lost bit in widening, or a name that was mapped to another tensor."""
    path = write(tmp_path / "checkpoint", dtype=dtype, max_shard_size=max_shard_size)
    expected = text_parameters(load(path, dtype=dtype))
    with Checkpoint.open(path).weights() as weights:
        assert set(weights.names) == set(expected)
        for name in weights.names:
            found = weights.read(name)
            assert found.dtype == np.float32
            assert found.shape == weights.shape(name)
            assert (found == expected[name]).all()
            assert weights.dtype(name) == {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}[dtype]
        width = 4 if dtype == "float32" else 2
        assert weights.nbytes == width * sum(value.size for value in expected.values())


def test_extreme_numbers_are_widened_exactly(checkpoint: Path, tmp_path: Path) -> None:
    """Subnormals, the largest numbers and negative zero of both half precisions, bit for bit."""
    bits = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16)
    for dtype in (torch.float16, torch.bfloat16):
        numbers = bits.view(dtype)
        numbers = numbers[numbers.isfinite()][: 264 * 32]
        folder = write_checkpoint(tmp_path / str(dtype))
        edit_shard(folder, lambda tensors, n=numbers: tensors.update({"model.embed_tokens.weight": n.view(264, 32)}))
        with Checkpoint.open(folder).weights() as weights:
            found = weights.read("model.embed_tokens.weight")
        assert (found.view(np.int32) == numbers.float().view(264, 32).numpy().view(np.int32)).all()


def test_rows_are_parts_of_the_whole(checkpoint: Path) -> None:
    """The embedding is only ever read in parts: an offset in the wrong unit shows here."""
    with Checkpoint.open(checkpoint).weights() as weights:
        for name in ("model.embed_tokens.weight", "model.norm.weight"):
            whole = weights.read(name)
            for start, stop in ((0, 1), (3, 3), (5, 20), (len(whole) - 1, len(whole))):
                part = weights.read_rows(name, start, stop)
                assert part.shape == (stop - start, *whole.shape[1:])
                assert (part == whole[start:stop]).all()
            for start, stop in ((-1, 1), (0, len(whole) + 1), (2, 1)):
                with pytest.raises(IndexError):
                    weights.read_rows(name, start, stop)


def test_tensors_longer_than_a_block_are_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny tensors all fit one block of the reader; the seams between blocks must be exact."""
    from dagger_edge.export import shard

    monkeypatch.setattr(shard, "_BLOCK", 7)
    path = write_checkpoint(tmp_path / "checkpoint", dtype="bfloat16")
    expected = text_parameters(load(path, dtype="bfloat16"))
    with Checkpoint.open(path).weights() as weights:
        assert all((weights.read(name) == expected[name]).all() for name in weights.names)


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        (r"^language_model\.model\.", "model.language_model."),
        (r"^language_model\.model\.", "model.language_model.model."),
        (r"^language_model\.model\.", "language_model."),
        (r"^language_model\.", ""),
        (r"^(vision_tower|multi_modal_projector)\.", r"model.\1."),
    ],
)
def test_the_names_of_other_versions_are_known(multimodal: Path, pattern: str, replacement: str) -> None:
    """transformers renamed the parts in 4.52; both kinds of checkpoint are in use."""
    with Checkpoint.open(multimodal).weights() as weights:
        before = {name: weights.read(name) for name in weights.names}
    rename_tensors(multimodal, pattern, replacement)
    with Checkpoint.open(multimodal).weights() as weights:
        assert set(weights.names) == set(before)
        assert all((weights.read(name) == before[name]).all() for name in before)


@WRITERS
def test_an_untied_head_is_read_from_its_own_tensor(tmp_path: Path, write: Any) -> None:
    path = write(tmp_path / "checkpoint", tie_word_embeddings=False)
    expected = load(path).lm_head.weight.detach().numpy()
    with Checkpoint.open(path).weights() as weights:
        assert (weights.read("lm_head.weight") == expected).all()
        assert not (weights.read("model.embed_tokens.weight") == expected).all()


@WRITERS
def test_the_reference_computes_what_transformers_computes(tmp_path: Path, write: Any) -> None:
    """Also with linear rope scaling, which the 4B has on its global layers."""
    path = write(tmp_path / "checkpoint", rope_scaling={"rope_type": "linear", "factor": 8.0})
    model = load_model(Checkpoint.open(path))
    with torch.no_grad():
        assert torch.equal(model(IDS).logits, load(path)(IDS).logits)
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_a_reference_of_another_architecture_is_refused(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parameter that no weight fills would keep whatever is in memory; transformers only warns of such."""
    build = reference.transformers_config
    other = {"tied": False}
    monkeypatch.setattr(reference, "transformers_config", lambda config: build(dataclasses.replace(config, **other)))
    with pytest.raises(UsageError, match=r"lm_head\.weight"):
        load_model(Checkpoint.open(checkpoint))


def test_a_multimodal_checkpoint_becomes_a_bundle(tmp_path: Path) -> None:
    path = write_multimodal(tmp_path / "checkpoint", dtype="bfloat16", max_shard_size="20KB")
    made = export_checkpoint(path, tmp_path / "bundle")
    assert made.manifest.parity is not None
    assert made.manifest.parity.max_logit_diff < 1e-4
    assert set(made.manifest.source.shards) == {shard.name for shard in path.glob("*.safetensors")}
    assert made.manifest.source.adapter is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_nan_and_infinity_are_named(tmp_path: Path, value: float, dtype: torch.dtype) -> None:
    """They would pass through every quantisation and give a bundle that answers nothing."""
    folder = write_checkpoint(tmp_path / "checkpoint")
    spoilt = torch.zeros(264, 32, dtype=dtype)
    spoilt[200, 3] = value
    edit_shard(folder, lambda tensors: tensors.update({"model.embed_tokens.weight": spoilt}))
    with Checkpoint.open(folder).weights() as weights:
        weights.read_rows("model.embed_tokens.weight", 0, 200)
        with pytest.raises(UsageError, match=r"model\.safetensors: model\.embed_tokens\.weight holds NaN or infinity"):
            weights.read("model.embed_tokens.weight")
    with pytest.raises(UsageError, match="NaN or infinity"):
        export_checkpoint(folder, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_file_cut_short_while_it_is_read_is_named(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    with Checkpoint.open(folder).weights() as weights:
        os.truncate(folder / "model.safetensors", 9000)
        with pytest.raises(UsageError, match=r"model\.safetensors became shorter"):
            weights.read("model.norm.weight")


def test_text_tensors_of_a_multimodal_checkpoint_are_as_complete(multimodal: Path) -> None:
    edit_shard(multimodal, lambda tensors: tensors.pop("language_model.model.layers.1.mlp.up_proj.weight"))
    refused(multimodal, "lack", "model.layers.1.mlp.up_proj.weight")


def test_unknown_tensors_of_a_multimodal_checkpoint_are_not_taken_for_vision(multimodal: Path) -> None:
    edit_shard(multimodal, lambda tensors: tensors.update({"language_model.model.layers.9.x.weight": torch.zeros(2)}))
    refused(multimodal, "model.safetensors", "language_model.model.layers.9.x.weight")


def test_names_of_tensors_cannot_write_to_the_terminal(multimodal: Path) -> None:
    """Errors are shown as they are; a name may hold escape sequences and lines that look like ours."""
    edit_shard(multimodal, lambda tensors: tensors.update({"x\x1b[2J\nerror: all is well": torch.zeros(2)}))
    refused(multimodal, "model.safetensors", "which config.json does not describe")


def test_a_vision_tower_in_a_text_checkpoint_is_not_dropped_silently(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    edit_shard(folder, lambda tensors: tensors.update({"vision_tower.x.weight": torch.zeros(2)}))
    refused(folder, "model.safetensors", "vision_tower.x.weight")


def test_vision_tensors_may_have_types_that_weights_may_not(multimodal: Path) -> None:
    edit_shard(
        multimodal, lambda tensors: tensors.update({"vision_tower.position_ids": torch.zeros(2, dtype=torch.int64)})
    )
    Checkpoint.open(multimodal)


def test_a_tensor_under_two_names_is_ambiguous(multimodal: Path) -> None:
    def double(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.norm.weight"] = tensors["language_model.model.norm.weight"] + 1

    edit_shard(multimodal, double)
    refused(multimodal, "norm.weight", "holds already")


def test_a_tensor_in_two_shards_is_ambiguous(tmp_path: Path) -> None:
    """An index that names two generations of files: which tensor counts would hang on their order."""
    folder = write_checkpoint(tmp_path / "checkpoint", max_shard_size="20KB")
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    first = sorted(set(index["weight_map"].values()))[0]
    (folder / "other.safetensors").write_bytes((folder / first).read_bytes())
    index["weight_map"]["again"] = "other.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(folder, first, "other.safetensors", "holds already")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_links_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    """A checkpoint could otherwise have any file of this machine copied into the bundle."""
    folder = write_checkpoint(tmp_path / "checkpoint")
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    refused(folder, name, "link out of the folder")


def test_links_within_the_folder_and_the_hub_cache_are_followed(tmp_path: Path) -> None:
    """Hugging Face's cache is nothing but links to the blobs beside the snapshots."""
    repository = tmp_path / "models--a--b"
    folder = repository / "snapshots" / "0123"
    folder.parent.mkdir(parents=True)
    write_checkpoint(folder)
    (repository / "blobs").mkdir()
    for file in list(folder.iterdir()):
        file.rename(repository / "blobs" / file.name)
        file.symlink_to(f"../../blobs/{file.name}")
    source = Checkpoint.open(folder).source()
    assert (source.name, source.revision) == ("a/b", "0123")
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_bytes((repository / "blobs" / "config.json").read_bytes())
    refused(folder, "config.json", "link out of the folder")


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), os.mkfifo, lambda path: path.symlink_to(path)])
def test_what_is_no_file_is_refused_and_does_not_block(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    """Opening a pipe would wait for ever."""
    folder = write_checkpoint(tmp_path / "checkpoint")
    (folder / "config.json").unlink()
    make(folder / "config.json")
    refused(folder, "config.json")


def test_files_are_closed_again(checkpoint: Path, tmp_path: Path) -> None:
    """A checkpoint is opened several times in one export; descriptors must not pile up, not even after errors."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    folder = write_checkpoint(tmp_path / "checkpoint", max_shard_size="20KB")
    for _ in range(5):
        Checkpoint.open(checkpoint).weights().close()
    os.truncate(sorted(folder.glob("*.safetensors"))[-1], 100)
    for _ in range(5):
        with pytest.raises(UsageError):
            Checkpoint.open(folder)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
