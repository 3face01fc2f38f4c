"""The prefix snapshot as the export makes it: the checkpoint's state in fp32, in the scale of the bundle's graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_gemma import WINDOW, write_checkpoint
from tokenizers import Tokenizer

import dagger_edge as de
from dagger_edge.export import model as model_module
from dagger_edge.export import pipeline
from dagger_edge.export.calibration import QUESTIONS
from dagger_edge.export.checkpoint import Checkpoint
from dagger_edge.export.layerwise import LayerwiseReference
from dagger_edge.export.pipeline import export_checkpoint
from dagger_edge.export.quantize.layers import LayerQuantizer
from dagger_edge.export.recipe import Calibration, recipe
from dagger_edge.export.reference import load_model
from dagger_edge.export.rescale import Rescaling
from dagger_edge.export.snapshot import SnapshotWriter, check_state, measure_questions
from dagger_edge.export.storage.codes import Grid
from dagger_edge.export.verify import ExportedGraph
from dagger_edge.runtime.bundle import PREFIX_FILE, Bundle
from dagger_edge.runtime.manifest import PRECISIONS
from dagger_edge.runtime.prompt import Prompt
from dagger_edge.runtime.session import Session
from dagger_edge.runtime.snapshot import Snapshot

pytestmark = pytest.mark.export

TEMPLATE = "A fixed text, much longer than the window.\nQuestion:\n{question}\n\nOutput:\n"
FIXED = len("user\n") + TEMPLATE.index("{") + 2  # the tokenizer's tokens are bytes; <bos>, <start_of_turn>
QUESTION = "রহিমের ৫টি আম আছে।"


@pytest.fixture(scope="module")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint with blocks for every precision, and a context for every calibration prompt. Read only."""
    folder = tmp_path_factory.mktemp("roomy") / "checkpoint"
    return write_checkpoint(folder, hidden_size=64, max_position_embeddings=2048)


def export(checkpoint: Path, bundle: Path, precision: Any, **options: Any) -> Bundle:
    """An export with `TEMPLATE`, and few calibration prompts."""
    chosen = recipe(precision)
    if chosen.calibration is not None:
        chosen = replace(chosen, calibration=replace(chosen.calibration, prompts=3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "template_text", lambda _prompt: TEMPLATE)
        return export_checkpoint(checkpoint, bundle, precision=precision, variant=chosen, **options)


@pytest.fixture(scope="module", params=PRECISIONS)
def made(request: pytest.FixtureRequest, roomy: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle in each precision. Read only."""
    return export(roomy, tmp_path_factory.mktemp(request.param) / "bundle", request.param)


def states(bundle: Bundle) -> tuple[Any, Any]:
    """The snapshot's numbers, and those of the bundle's own graph."""
    session, ids = Session(bundle.model_path), prompt_of(bundle).prefix_ids
    _, cache = session.step(np.array([ids], np.int64), session.empty_cache())
    own = np.concatenate(cache).reshape(len(cache) // 2, 2, *cache[0].shape[1:])
    return np.load(bundle.path / PREFIX_FILE).astype(np.float32), own.astype(np.float32)


def prompt_of(bundle: Bundle) -> Prompt:
    return Prompt(Tokenizer.from_file(str(bundle.tokenizer_path)), bundle.prompt_template)


def test_the_state_is_in_the_graphs_scale(made: Bundle) -> None:
    """Smoothing divides values: whole heads off by a factor move a tiny model's logits by nothing to speak of."""
    found, own = states(made)
    error = np.sqrt(np.square(found - own).mean((-1, -2, -3)) / np.square(own).mean((-1, -2, -3)))
    bounds = {"fp32": (1e-6, 1e-5), "fp16": (2e-3, 1e-2), "int8": (0.02, 0.04), "int4": (0.15, 0.3)}
    first, worst = bounds[made.manifest.precision.name]
    assert error[0].max() < first
    assert error.max() < worst


def test_questions_are_measured_from_the_snapshot(made: Bundle, roomy: Path) -> None:
    """The parity of a prompt that is read whole is not that of what users are told."""
    parity = made.manifest.parity
    assert parity is not None
    suffix = len("\n\nOutput:") + len("\n") + len("model\n") + 2
    assert parity.question_positions == sum(len(question.encode()) + suffix for question in QUESTIONS)
    bound = {"fp32": 1e-9, "fp16": 1e-5, "int8": 0.01, "int4": 0.1}[made.manifest.precision.name]
    assert 0 <= parity.question_kl_divergence < bound
    assert "on questions KL" in parity.summary
    with Checkpoint.open(roomy).weights() as weights:
        reference, graph = LayerwiseReference(weights), ExportedGraph.of(made)
        assert measure_questions(parity, reference, graph) == parity
        staged = measure_questions(parity, reference, graph, staged=True)
    assert staged.question_positions == parity.question_positions
    assert staged.question_kl_divergence == pytest.approx(parity.question_kl_divergence, rel=0.3, abs=1e-9)


def test_the_manifest_and_the_known_answer_know_of_it(made: Bundle) -> None:
    manifest, kind = made.manifest, "float32" if made.manifest.precision.name == "fp32" else "float16"
    assert manifest.prefix is not None
    assert manifest.prefix.tokens == FIXED > 3 * WINDOW
    assert manifest.precision.recipe["snapshot"] == f"{kind}, computed in fp32"
    with de.Solver.open(made) as solver:
        agreement = solver.check_known_answer()
    assert agreement is not None
    assert agreement.equal == 16
    assert agreement.max_logit_diff < agreement.tolerance / 10


@pytest.mark.parametrize("made", ["fp16", "int4"], indirect=True)
def test_the_same_bytes_again_and_without_verification(made: Bundle, roomy: Path, tmp_path: Path) -> None:
    """A bundle is known by its digests; and who verifies nothing still wants short answers."""
    again = export(roomy, tmp_path / "bundle", made.manifest.precision.name, verify=False)
    assert again.manifest.files[PREFIX_FILE] == made.manifest.files[PREFIX_FILE]
    assert again.manifest.prefix == made.manifest.prefix


def test_keys_and_values_are_torchs_but_for_the_smoothing(checkpoint: Path) -> None:
    """What is not exact here is another model's state: keys are torch's own, values are divided by one scale each."""
    ids = np.random.default_rng(5).integers(5, 261, 3 * WINDOW).tolist()
    model, found = load_model(Checkpoint.open(checkpoint)), []
    with torch.no_grad():
        layers = model.model(torch.tensor([ids]), use_cache=True, past_key_values=_whole_cache()).past_key_values.layers
    names = [f"self_attn.{part}_proj" for part in "qkvo"] + [f"mlp.{part}_proj" for part in ("gate", "up", "down")]
    prompts = [[*ids, 7, 8, 9], [*ids, 7, 8, 10, 11]]
    with Checkpoint.open(checkpoint).weights() as weights:
        quantizer = LayerQuantizer(
            weights,
            prompts,
            {name: Grid(4, 16, True) for name in names},
            Calibration(smoothing=0.7),
            len(ids),
            lambda keys, values: found.append((keys.clone(), values.clone())),
        )
        assert len(list(quantizer.layers())) == len(found)
        plain = LayerwiseReference(weights).state(ids)
    for layer, (keys, values), (own_keys, own_values) in zip(layers, found, plain, strict=True):
        assert (own_keys - layer.keys).abs().max() < 1e-4
        assert (own_values - layer.values).abs().max() < 1e-4
        assert (keys - layer.keys).abs().max() < 1e-4
        scale = values / layer.values
        middle = scale.median(2, keepdim=True).values
        assert middle.std() > 0.1
        assert (values - middle * layer.values).abs().max() < 1e-3


def _whole_cache() -> Any:
    from transformers import DynamicCache

    return DynamicCache()


def test_values_in_fp16_are_scaled_as_the_weights_are(
    roomy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Powers of two on v are the bundle's own: the checkpoint's values would be 32 times too large."""
    chosen = Rescaling(2.0**-4, (0.5, 1.0, 2.0**-5), (1.0, 2.0**-3, 0.25))
    monkeypatch.setattr(model_module, "choose_rescaling", lambda *_arguments: chosen)
    found, own = states(export(roomy, tmp_path / "bundle", "fp16"))
    assert np.abs(found - own).max() < 0.02 * np.abs(own).max()
    for index in range(3):
        assert np.abs(found[index, 1] - own[index, 1]).max() < 0.02 * np.abs(own[index, 1]).max()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda state: state * np.array([1, 1.5], state.dtype).reshape(1, 2, 1, 1, 1),
        lambda state: np.roll(state, 1, 3),
        lambda state: state[:, ::-1],
        lambda state: state[:, :, ::-1],
        lambda state: state * state.dtype.type(np.nan),
    ],
    ids=["values scaled", "a position off", "keys for values", "heads swapped", "not finite"],
)
def test_a_wrong_state_is_found(made: Bundle, wrong: Callable[[Any], Any]) -> None:
    """It loads, and every answer begins from it: a tiny model's logits hardly tell."""
    prompt, session = prompt_of(made), Session(made.model_path)
    prefix, ids = prompt.prefix_ids, prompt.encode(QUESTION)
    state, precision = np.load(made.path / PREFIX_FILE), made.manifest.precision.name
    own = session.step(np.array([prefix], np.int64), session.empty_cache())[1]
    check_state(own, Snapshot(prefix, state).start(session, ids).cache, precision)
    with pytest.raises(de.BundleError, match="the prefix snapshot is not the graph's state"):
        check_state(own, Snapshot(prefix, wrong(state)).start(session, ids).cache, precision)


def test_a_wrong_state_is_not_shipped(roomy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check must stand in the way of the bundle, not beside it."""
    add = SnapshotWriter.add
    monkeypatch.setattr(SnapshotWriter, "add", lambda self, keys, values: add(self, keys, values * 1.01))
    with pytest.raises(de.BundleError, match="the prefix snapshot is not the graph's state"):
        export(roomy, tmp_path / "bundle", "fp32")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_context_without_room_has_no_snapshot(roomy: Path, tmp_path: Path, precision: str) -> None:
    """Neither a failed export nor a state that no prompt can use."""
    made = export(roomy, tmp_path / "bundle", precision, context=FIXED + 1)
    assert made.manifest.precision.recipe["snapshot"] == "none: the context has no room for the prompt's fixed part"
    assert made.manifest.prefix is None
    assert PREFIX_FILE not in made.manifest.files
    assert made.manifest.parity is not None
    assert made.manifest.parity.question_positions is None


def test_calibration_prompts_that_were_cut_make_no_snapshot(roomy: Path, tmp_path: Path) -> None:
    """Their common beginning is not the template's."""
    made = export(roomy, tmp_path / "bundle", "int8", context=FIXED + 80)
    assert str(made.manifest.precision.recipe["snapshot"]).startswith("none: calibration prompts do not begin")
    assert made.manifest.prefix is None


def test_numbers_beyond_half_precision_are_no_state(roomy: Path, tmp_path: Path) -> None:
    """Infinite values make every logit NaN, on the first question of the first user."""
    (tmp_path / "tokenizer.json").write_bytes((roomy / "tokenizer.json").read_bytes())
    shape = Checkpoint.open(roomy).weights().config.architecture
    for precision, size, words in (("int8", 7e4, "none: its numbers are beyond float16"), ("fp32", 7e4, "float32,")):
        writer = SnapshotWriter(tmp_path, TEMPLATE, shape, precision)
        for _ in range(shape.num_layers):
            part = torch.full((1, shape.num_kv_heads, FIXED, shape.head_dim), size)
            writer.add(part, part)
        assert writer.finish().startswith(words)
        assert (tmp_path / PREFIX_FILE).exists() == (precision == "fp32")
