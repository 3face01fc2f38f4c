"""A graph in stages: the same figures as the whole graph, in one layer's memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tiny_gemma import WINDOW

from dagger_edge.export import gate
from dagger_edge.export.checkpoint import Checkpoint
from dagger_edge.export.gate import measure_staged
from dagger_edge.export.layerwise import LayerwiseReference
from dagger_edge.export.pipeline import export_checkpoint
from dagger_edge.export.probe import chunks, probe
from dagger_edge.export.staged import StagedGraph, StagedReading, Way
from dagger_edge.export.stages import cut
from dagger_edge.export.verify import ExportedGraph, measure_parity, read
from dagger_edge.runtime.bundle import Bundle
from dagger_edge.runtime.errors import BundleError
from dagger_edge.runtime.manifest import Parity
from dagger_edge.runtime.session import Session
from dagger_edge.runtime.solver import Solver

pytestmark = pytest.mark.export

IDS = np.random.default_rng(9).integers(5, 261, 3 * WINDOW + 5).tolist()
# By how much the figures may differ: fp16 is rounded at the ends of stages too, where the whole graph need not.
CLOSE = {"fp32": 1e-6, "fp16": 5e-3, "int8": 1e-6, "int4": 1e-6}


@pytest.fixture(scope="module")
def whole(wide_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """The same checkpoint in every precision, compared as a whole. Read only."""
    folder = tmp_path_factory.mktemp("whole")
    return {
        name: export_checkpoint(wide_checkpoint, folder / name, precision=name, prompt="question")  # type: ignore[arg-type]
        for name in CLOSE
    }


@pytest.fixture
def reference(wide_checkpoint: Path) -> Iterator[LayerwiseReference]:
    with Checkpoint.open(wide_checkpoint).weights() as weights:
        yield LayerwiseReference(weights)


@pytest.mark.parametrize("precision", CLOSE)
def test_whole_and_in_stages_the_figures_are_the_same(
    whole: dict[str, Bundle], reference: LayerwiseReference, precision: Any
) -> None:
    """A cut in the wrong place, or a cache of another layer, is another model."""
    bundle = whole[precision]
    parity = bundle.manifest.parity
    assert parity is not None
    assert not parity.teacher_forced
    staged = measure_staged(reference, ExportedGraph.of(bundle)).parity
    assert staged.teacher_forced
    assert staged.positions == parity.positions
    assert staged.greedy_tokens == 48
    for name in ("max_logit_diff", "mean_logit_diff", "uncached_max_logit_diff"):
        assert getattr(staged, name) == pytest.approx(getattr(parity, name), abs=CLOSE[precision])
    assert staged.kl_divergence == pytest.approx(parity.kl_divergence, rel=0.3)
    assert staged.top1_agreement == pytest.approx(parity.top1_agreement, abs=0.01)


@pytest.mark.parametrize("sizes", [[len(IDS)], [WINDOW - 1, 1, 1, 20], [1] * len(IDS)])
def test_logits_in_stages_are_those_of_the_graph(whole: dict[str, Bundle], sizes: list[int]) -> None:
    """Each layer has a cache of its own, which has to grow with the steps."""
    bounds = [(end - size, end) for size, end in zip(sizes, np.cumsum(sizes).tolist(), strict=True)]
    session = Session(whole["fp32"].model_path)
    expected, _ = read(session, IDS, session.empty_cache())
    reading = StagedReading(StagedGraph(whole["fp32"].path), IDS, [Way(bounds), Way([(0, len(IDS))])])
    for number in (0, 1):
        assert np.abs(np.concatenate([*reading.logits(number, bounds)]) - expected).max() < 1e-5


def test_a_reading_may_start_from_a_cache(whole: dict[str, Bundle]) -> None:
    """Prompts that begin alike need not be read twice; positions must count on."""
    session = Session(whole["fp32"].model_path)
    _, cache = read(session, IDS[:11], session.empty_cache())
    expected, _ = read(session, IDS[11:], cache)
    state = np.stack([array[0] for array in cache]).reshape(3, 2, *cache[0].shape[1:])
    reading = StagedReading(StagedGraph(whole["fp32"].path), IDS, [Way([(11, 20), (20, len(IDS))], state)])
    (found,) = reading.logits(0, [(11, len(IDS))])
    assert np.abs(found - expected).max() < 1e-5


def test_an_export_that_does_not_fit_in_memory_is_compared_in_stages(
    wide_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It used to go unverified, with a word in the manifest."""
    monkeypatch.setattr(gate, "fits_in_memory", lambda _weights: False)
    made = export_checkpoint(wide_checkpoint, tmp_path / "bundle", precision="int8", prompt="question")
    parity = made.manifest.parity
    assert parity is not None
    assert parity.teacher_forced
    assert "after a given answer's" in parity.summary
    with Solver.open(made) as solver:
        answer = solver.check_known_answer()
    assert answer is not None
    assert answer.equal == answer.tokens == 16
    assert not [path for path in tmp_path.iterdir() if path.name != "bundle"]


def test_a_stage_holds_the_weights_of_its_own_layer_only(whole: dict[str, Bundle]) -> None:
    """Memory is one layer's only if no stage asks for more."""
    stages = cut(onnx.load(whole["int8"].path / "model.onnx", load_external_data=False))
    for index, stage in enumerate(stages.layers):
        names = [tensor.name for tensor in onnx.load_from_string(stage.graph).graph.initializer if tensor.external_data]
        assert {name.split(".")[2] for name in names if name.startswith("model.")} == {str(index)}
    for stage in (stages.embedding, stages.head):
        names = [tensor.name for tensor in onnx.load_from_string(stage.graph).graph.initializer]
        assert not [name for name in names if ".layers." in name]


def test_a_graph_without_a_residual_stream_is_refused(whole: dict[str, Bundle]) -> None:
    """A cut through another graph would compare tensors that have nothing to do with each other."""
    model = onnx.load(whole["fp32"].path / "model.onnx", load_external_data=False)
    model.graph.node.remove(next(node for node in model.graph.node if node.op_type == "GroupQueryAttention"))
    with pytest.raises(BundleError, match="cannot be cut into layers"):
        cut(model)


def test_decoded_tokens_count_in_stages_too(whole: dict[str, Bundle], reference: LayerwiseReference) -> None:
    """Tokens that differ are only seen where the given answer's positions are compared."""

    class Turned:
        """The reference, whose likeliest token is another one at one step of the answer."""

        singles = 0

        def hidden(self, sequences: Any) -> Any:
            return reference.hidden(sequences)

        def logits(self, hidden: Any) -> Any:
            logits = reference.logits(hidden)
            self.singles += len(hidden) == 1
            # The first two single steps are at the window's edge, long before the answer.
            if len(hidden) == 1 and self.singles == 10:
                order = np.argsort(logits[0])
                logits[0, order[-2]] = logits[0, order[-1]] + 1e-3
            return logits

    bundle = whole["int8"]
    plain, measured = (measure_staged(model, ExportedGraph.of(bundle)).parity for model in (reference, Turned()))
    assert plain.greedy_equal is not None
    assert measured.greedy_equal == plain.greedy_equal - 1


def test_the_probe_passes_the_window_and_stops_at_its_edge(whole: dict[str, Bundle]) -> None:
    """Steps that end elsewhere never look at the edge, where windows are off by one."""
    bundle = whole["fp32"]
    text = probe(bundle.tokenizer_path, bundle.prompt_template, bundle.manifest.architecture)
    assert (text.answer, len(text.given)) == (48, 48)
    bounds = text.bounds(WINDOW)
    ends = {end for _, end in bounds}
    assert {WINDOW - 1, WINDOW, WINDOW + 1} <= ends
    assert bounds[0][0] == 0
    assert bounds[-1][1] == len(text.ids)
    assert all(first[1] == second[0] for first, second in itertools.pairwise(bounds))
    assert all((index, index + 1) in bounds for index in text.given[1:])
    assert text.late(WINDOW)[0][0] <= WINDOW - 1
    assert chunks(1, WINDOW) == [(0, 1)]


def test_a_context_without_room_for_the_answer_is_measured_at_its_end(
    wide_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Short contexts must neither fail nor pass unseen."""
    monkeypatch.setattr(gate, "fits_in_memory", lambda _weights: False)
    made = export_checkpoint(wide_checkpoint, tmp_path / "bundle", prompt="question", context=20)
    parity = made.manifest.parity
    assert isinstance(parity, Parity)
    assert (parity.positions, parity.greedy_tokens, parity.greedy_equal) == (20, 16, 16)
    assert made.known_answer() is None


def test_both_gates_refuse_what_is_not_finite(
    whole: dict[str, Bundle], reference: LayerwiseReference, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NaN compares as false with every limit."""
    graph, logits = ExportedGraph.of(whole["fp32"]), reference.logits
    monkeypatch.setattr(reference, "logits", lambda hidden: logits(hidden) * np.float32("nan"))
    for measured in (measure_parity, measure_staged):
        with pytest.raises(BundleError, match="not finite"):
            measured(reference, graph)
