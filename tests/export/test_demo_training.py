"""The demo's training script, for two steps: what it writes is exported and opened like any checkpoint."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from dagger_edge.export.demo.card import card_text
from dagger_edge.export.demo.train import _InFloat32, train
from dagger_edge.export.pipeline import export_checkpoint
from dagger_edge.runtime.options import DecodeOptions
from dagger_edge.runtime.solution import NoAnswerError
from dagger_edge.runtime.solver import Solver

pytestmark = pytest.mark.export

GOLD = Path(__file__).resolve().parents[1] / "data" / "msvamp_bn_gold.jsonl"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "checkpoint"
    train(folder, GOLD, steps=2, compiled=False)
    return folder


def test_an_untrained_demo_is_exported_and_gives_no_answer(checkpoint: Path, tmp_path: Path) -> None:
    bundle = export_checkpoint(checkpoint, tmp_path / "bundle", prompt="question")
    assert bundle.size_bytes <= 12_000_000
    with Solver.open(bundle.path) as solver, pytest.raises(NoAnswerError, match="cut off"):
        solver.solve(
            "রহিমের কাছে ৫টি আম ছিল। সে ২টি খেল। তার কাছে কতটি আম আছে?", DecodeOptions(max_new_tokens=8, grammar=False)
        )


def test_the_architecture_is_gemmas_in_every_part(checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    record = json.loads((checkpoint / "training.json").read_text())
    assert config["architectures"] == ["Gemma3ForCausalLM"]
    assert set(config["layer_types"]) == {"sliding_attention", "full_attention"}
    assert 2e6 < record["parameters"] < 6e6


def test_the_card_is_made_of_the_record_and_the_report(checkpoint: Path) -> None:
    training = json.loads((checkpoint / "training.json").read_text())
    counts = {"problems": 10, "answers_right": 9, "no_graph": 1, "flags": 20, "flags_right": 18}
    card = card_text(training, {"c: a set": counts})
    assert "| c: a set | 10 | 90.0% (59.6% to 98.2%) | 90.0% (69.9% to 97.2%) | 1 |" in card


def test_a_step_in_float32_is_that_of_the_optimizer() -> None:
    """Muon's products are of bfloat16 of its own accord, which is what the two may differ by."""
    steps = []
    for exact in (False, True):
        torch.manual_seed(0)
        matrix = torch.nn.Parameter(torch.randn(96, 32))
        matrix.grad = torch.randn(96, 32)
        gradient, before = matrix.grad.clone(), matrix.detach().clone()
        optimizer = torch.optim.Muon([matrix], lr=0.1, weight_decay=0.0)
        with _InFloat32() if exact else nullcontext():
            optimizer.step()
        assert torch.equal(matrix.grad, gradient)
        steps.append((matrix.detach() - before).flatten())
    assert torch.nn.functional.cosine_similarity(*steps, dim=0) > 0.999
    assert not torch.equal(*steps)
