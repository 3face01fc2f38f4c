"""A head whose core tokens are a product of their own: the same logits, and which of them are not made."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tiny_gemma import write_checkpoint

from dagger_edge.export.demo.checkpoint import write_checkpoint as write_demo_checkpoint
from dagger_edge.export.pipeline import export_checkpoint
from dagger_edge.runtime.bundle import Bundle
from dagger_edge.runtime.context import Context
from dagger_edge.runtime.cost import StepCost
from dagger_edge.runtime.errors import BundleError
from dagger_edge.runtime.logits import CORE_TOKENS, LAST, Logits, Positions, last
from dagger_edge.runtime.manifest import PRECISIONS, PrecisionName
from dagger_edge.runtime.options import DecodeOptions
from dagger_edge.runtime.session import REMOVED_LOGIT, Session
from dagger_edge.runtime.solver import Solver, demo_bundle

pytestmark = pytest.mark.export

DATA = Path(__file__).parents[1] / "data"
IDS = np.random.default_rng(7).integers(3, 264, 40).tolist()
FEW, MOST = (-4, -1), (-6, -5, -4, -2, -1)


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Bundle]:
    """A function that exports a tiny model with its head cut."""

    @cache
    def export(precision: PrecisionName, tied: bool = True) -> Bundle:
        folder = tmp_path_factory.mktemp("cut")
        source = write_checkpoint(folder / "checkpoint", hidden_size=64, tie_word_embeddings=tied)
        return export_checkpoint(source, folder / "bundle", precision=precision, head="grammar", verify=False)

    return export


@pytest.mark.parametrize("precision", PRECISIONS)
def test_logits_of_core_tokens_are_the_same_and_others_are_not_made(
    cut: Callable[..., Bundle], precision: PrecisionName
) -> None:
    """Logits of another position are somebody's logits too; what a step before asked for must not stay."""
    session = Session(cut(precision).model_path)
    core = np.array(session.core_tokens)
    assert len(core) == 128
    context = Context(session, limit=512)
    context.feed(IDS[:-6])
    whole = context.feed(IDS[-6:], last(6))
    context.rewind(len(IDS) - 6)
    held = whole[0] != REMOVED_LOGIT
    assert held.sum() > held[core].sum() == len(core)
    for at, spared in ((MOST, FEW), (MOST, MOST), (MOST, ()), (LAST, LAST), (LAST, ()), (FEW, (-4,)), (last(6), FEW)):
        found = context.feed(IDS[-6:], at, spared)
        context.rewind(len(IDS) - 6)
        assert found.shape == (len(at), 264)
        expected = whole[list(at)].copy()
        without = np.isin(at, spared)
        expected[np.ix_(without, np.setdiff1d(np.arange(264), core))] = REMOVED_LOGIT
        assert np.abs(found - expected).max() < 1e-4


def test_rows_are_spared_together(cut: Callable[..., Bundle]) -> None:
    """Several answers make one step, whose positions are those of all."""
    context = Context(Session(cut("fp32").model_path), limit=512)
    context.feed(IDS[:20])
    context.fork(3)
    whole = context.feed_rows([5, 6, 7])
    for row in range(3):
        context.rewind(20, row)
    found = context.feed_rows([5, 6, 7], core=True)
    made = found != REMOVED_LOGIT
    assert made.sum() == 3 * 128
    assert np.abs(found - whole)[made].max() < 1e-4


def test_who_does_not_know_of_it_gets_all_logits(cut: Callable[..., Bundle]) -> None:
    """Other tools feed no positions, and the oracle of decoding asks for no less than all."""
    session = Session(cut("fp32").model_path)
    ids = np.array([IDS], np.int64)
    found = session.step(ids, session.empty_cache())[0]
    plain = {item.name: np.zeros((1, 2, 0, 16), np.float32) for item in session._past}
    plain |= {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    assert np.array_equal(session._session.run(["logits"], plain)[0], found)
    assert (found != REMOVED_LOGIT).sum() == 166


def test_a_head_of_its_own_has_no_core(cut: Callable[..., Bundle]) -> None:
    """Its rows are a matrix like others: nothing is spared, and nothing may be said to be."""
    bundle = cut("fp32", tied=False)
    assert Session(bundle.model_path).core_tokens == ()
    assert "head_core_rows" not in bundle.manifest.precision.recipe
    assert cut("fp32").manifest.precision.recipe["head_core_rows"] == 128


@pytest.mark.parametrize("listed", ["", "[", "[-1]", '["a"]', "{}", "[16777216]"])
def test_a_graph_that_does_not_say_what_its_core_is_is_refused(
    cut: Callable[..., Bundle], tmp_path: Path, listed: str
) -> None:
    """Guessed wrongly, tokens that may come have no logits, and others are written in their place."""
    model = onnx.load(cut("fp32").model_path)
    (known,) = [item for item in model.metadata_props if item.key == CORE_TOKENS]
    known.value = listed
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(BundleError, match="which its core tokens are; export it again"):
        Session(tmp_path / "model.onnx")


class Counting(Context):
    """A context that counts the positions that it was asked for, and those where core tokens were enough."""

    asked = spared = 0

    def feed(self, ids: Sequence[int], at: Positions = LAST, core: Collection[int] = ()) -> Logits:
        self.asked += len(at)
        self.spared += len(set(at) & set(core))
        return super().feed(ids, at, core)


def questions() -> list[str]:
    lines = (DATA / "msvamp_bn_gold.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["question"] for line in lines[-8:]]


def answers(bundle: Path, options: DecodeOptions) -> tuple[list[list[int]], Any]:
    """The ids of each answer, and the context that they were decoded in."""
    with Solver.open(bundle) as solver:
        engine = solver.engine
        context = engine._context = Counting(engine.session, limit=1024)
        # What is measured differs from run to run, and with it what is guessed.
        engine._cost = StepCost((1, 16), (1.0, 1.05))
        prompts = [(question, engine.prompt.encode(question)) for question in questions()]
        return [[i for new in engine.decode(*one, options) for i in new.ids] for one in prompts], context


def test_real_weights_write_the_same_graphs(tmp_path: Path) -> None:
    """The demo with everything on, against the demo as it ships, whose head is whole."""
    assert write_demo_checkpoint(Bundle.open(demo_bundle()), tmp_path / "checkpoint")
    made = export_checkpoint(
        tmp_path / "checkpoint", tmp_path / "bundle", prompt="question", head="grammar", verify=False
    )
    options = DecodeOptions(max_new_tokens=400)
    (expected, whole), (found, context) = answers(demo_bundle(), options), answers(made.path, options)
    assert found == expected
    assert whole.spared == 0
    assert context.asked == whole.asked
    # A quarter and more, or the core is of no use.
    assert 0.25 < context.spared / context.asked < 1
