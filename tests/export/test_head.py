"""A pruned output head: which rows stay, and that nothing else changes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_gemma import WINDOW, write_checkpoint
from tokenizers import Tokenizer, models

from dagger_edge.export import head as head_module
from dagger_edge.export import stream
from dagger_edge.export.checkpoint import Checkpoint
from dagger_edge.export.demo.tokenizer import train_tokenizer
from dagger_edge.export.head import HeadCut
from dagger_edge.export.layerwise import LayerwiseReference
from dagger_edge.export.names import ROW_OF_ID
from dagger_edge.export.pipeline import export_checkpoint
from dagger_edge.export.remeasure import remeasure_parity
from dagger_edge.export.verify import ExportedGraph, measure_parity, read
from dagger_edge.runtime.bundle import Bundle
from dagger_edge.runtime.errors import BundleError, UsageError
from dagger_edge.runtime.graph import Graph
from dagger_edge.runtime.graph.charset import CHARSET
from dagger_edge.runtime.manifest import PRECISIONS, HeadName, PrecisionName
from dagger_edge.runtime.session import REMOVED_LOGIT, Session

pytestmark = pytest.mark.export

DATA = Path(__file__).parents[1] / "data"
# Every id of the vocabulary, those that the head loses and those beyond the tokenizer too.
IDS = np.random.default_rng(5).permutation(264).tolist()
STOP = ("<eos>", "<end_of_turn>")
# Words of other scripts, which a tokenizer learns and graphs never have.
FOREIGN = ["नमस्ते दुनिया", "你好世界", "привет мир", "こんにちは"] * 8


def rows() -> list[dict[str, Any]]:
    files = [DATA / f"{name}.jsonl" for name in ("msvamp_bn_gold", "mgsm_bn_gold")]
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def written(row: dict[str, Any]) -> str:
    return Graph.parse(json.dumps(row["graph"])).to_json(fenced=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer in Gemma's layout that knows several scripts, or Gemma's own where the variable names its file."""
    own = os.environ.get("DAGGER_EDGE_GEMMA_TOKENIZER")
    if own:
        return Path(own)
    path = tmp_path_factory.mktemp("trained") / "tokenizer.json"
    texts = [text for row in rows()[::20] for text in (row["question"], written(row))]
    train_tokenizer([*texts, *FOREIGN], 900).save(str(path))
    return path


@pytest.fixture(scope="module")
def spoken(trained: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(trained))
    # As when a model is prompted: the name of a control token is text.
    tokenizer.encode_special_tokens = True
    return tokenizer


def chosen(name: HeadName, tokenizer: Path, vocabulary: int = 1 << 18) -> HeadCut:
    ids = [Tokenizer.from_file(str(tokenizer)).token_to_id(token) for token in STOP]
    cut = HeadCut.choose(name, tokenizer, vocabulary, ids)
    assert cut is not None
    return cut


@pytest.fixture(scope="module")
def lossless(trained: Path) -> set[int]:
    return set(chosen("grammar", trained).kept.tolist())


@pytest.fixture(scope="module")
def shorter(trained: Path) -> set[int]:
    """Of a small vocabulary all of the first entries are common; of Gemma's own, see the module."""
    with pytest.MonkeyPatch.context() as patch:
        if "DAGGER_EDGE_GEMMA_TOKENIZER" not in os.environ:
            patch.setattr(head_module, "_COMMON_IDS", 0)
        return set(chosen("short", trained).kept.tolist())


def ids_of(tokenizer: Tokenizer, text: str) -> set[int]:
    return set(tokenizer.encode(text, add_special_tokens=False).ids)


@given(text=st.text(st.sampled_from(sorted(CHARSET)), max_size=40))
def test_the_lossless_cut_keeps_every_token_of_every_text(spoken: Tokenizer, lossless: set[int], text: str) -> None:
    """A token that is missing would be spelled otherwise: the cut was not lossless."""
    assert ids_of(spoken, text) <= lossless


def test_the_lossless_cut_keeps_every_token_of_the_gold_data(spoken: Tokenizer, lossless: set[int]) -> None:
    """As above, on texts that models really write, whose pieces are long."""
    for row in rows():
        assert ids_of(spoken, row["question"]) | ids_of(spoken, written(row)) <= lossless


def test_the_lossless_cut_removes_other_scripts_and_control_tokens(spoken: Tokenizer, lossless: set[int]) -> None:
    """A cut that keeps everything passes every other test."""
    for text in FOREIGN[:4]:
        assert not ids_of(spoken, text.split()[0]) & lossless
    assert lossless.isdisjoint(spoken.token_to_id(f"<{name}>") for name in ("pad", "bos", "start_of_turn"))
    assert {spoken.token_to_id(token) for token in STOP} <= lossless


@pytest.mark.parametrize("name", ["grammar", "short"])
def test_the_core_is_the_pieces_of_a_graphs_structure(spoken: Tokenizer, trained: Path, name: HeadName) -> None:
    """A piece that is missing costs the reading of all words wherever it may come; a word in it, nothing."""
    cut = chosen(name, trained)
    core, words = (part.tolist() for part in np.split(cut.kept, [cut.core]))
    assert cut.core % 128 == 0
    assert 0 < cut.core < cut.rows / 2
    assert (core, words) == (sorted(core), sorted(words))
    assert not set(core) & set(words)
    for row in rows()[::10]:
        for node in row["graph"]["nodes"]:
            node["label"] = ""
            if node["op"] == "const" and float(node["val"]) < 0:
                node["val"] = 12.5
        # Their ids are the model's own words, where they are not numbered.
        plain = re.sub(r'"(?!final_result)[a-z]+_?\w*"(?=[,\]])', '"n7"', written(row))
        assert ids_of(spoken, plain) <= set(core)


def test_the_short_cut_spells_every_text(spoken: Tokenizer, lossless: set[int], shorter: set[int]) -> None:
    """A character that is lost can never be written, whatever the grammar allows."""
    assert shorter < lossless
    texts = {spoken.id_to_token(index) for index in shorter}
    for character in CHARSET:
        alone = character.replace(" ", "▁") in texts
        assert alone or {f"<0x{byte:02X}>" for byte in character.encode()} <= texts


def test_the_short_cut_keeps_the_tokens_of_the_skeleton(spoken: Tokenizer, shorter: set[int]) -> None:
    """Fields and operations are most of a graph: spelled otherwise than in training, all of it suffers."""
    for row in rows():
        for node in row["graph"]["nodes"]:
            node["label"] = ""
        assert ids_of(spoken, written(row)) <= shorter


def test_the_short_cut_keeps_all_bengali(spoken: Tokenizer, lossless: set[int], shorter: set[int]) -> None:
    """Labels are Bengali: only Latin words may be spelled in smaller pieces."""
    for index in lossless - shorter:
        assert spoken.id_to_token(index).replace("▁", " ").isascii()
    for row in rows()[:100]:
        assert ids_of(spoken, row["question"].replace("$", "")) <= shorter


def test_a_tokenizer_that_cannot_write_bengali_is_refused(tmp_path: Path) -> None:
    """Without bytes to fall back on, the cut would leave a model that is mute."""
    Tokenizer(models.BPE({"a": 0, "b": 1}, [])).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UsageError, match="--head all"):
        HeadCut.choose("grammar", tmp_path / "tokenizer.json", 264, [1])


def all_logits(bundle: Bundle) -> np.ndarray[Any, Any]:
    """Logits [264, 264] after each of `IDS`, in steps of several sizes."""
    session = Session(bundle.model_path)
    past, found = session.empty_cache(), []
    for start, stop in ((0, 100), (100, 101), (101, 264)):
        logits, past = read(session, IDS[start:stop], past)
        found.append(logits)
    return np.concatenate(found)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Callable[[PrecisionName, bool], tuple[Bundle, Bundle]]:
    """A function that exports a checkpoint, tied or not, with all rows and cut."""

    @cache
    def export(precision: PrecisionName, tied: bool) -> tuple[Bundle, Bundle]:
        folder = tmp_path_factory.mktemp("both")
        source = write_checkpoint(folder / "checkpoint", hidden_size=64, tie_word_embeddings=tied)
        whole, cut = (
            export_checkpoint(source, folder / head, precision=precision, head=head, verify=False)
            for head in ("all", "grammar")
        )
        return whole, cut

    return export


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_only_rows_of_removed_tokens_change(both: Any, precision: PrecisionName, tied: bool) -> None:
    """A table in another order than its ids gives fluent nonsense. All ids are fed, removed ones too."""
    whole, cut = both(precision, tied)
    kept = chosen("grammar", cut.path / "tokenizer.json", 264).kept
    assert 0 < len(kept) < 200
    assert kept.max() < 261
    expected, found = all_logits(whole), all_logits(cut)
    assert found.shape == expected.shape
    removed = np.setdiff1d(np.arange(264), kept)
    assert (found[:, removed] == REMOVED_LOGIT).all()
    if precision in {"fp32", "fp16"}:
        assert np.array_equal(found[:, kept], expected[:, kept])
    else:  # the kernel adds blocks up in another order at the end of a tile
        assert np.abs(found[:, kept] - expected[:, kept]).max() < 1e-5
    recipe = cut.manifest.precision.recipe
    assert (recipe["head_cut"], recipe["head_rows"]) == ("grammar", len(kept))
    assert cut.manifest.export_command.endswith("--head grammar --no-verify")


@pytest.fixture(scope="module")
def pair(wide_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """The same checkpoint with all rows, and cut; compared with torch."""
    folder = tmp_path_factory.mktemp("pair")
    return {
        head: export_checkpoint(wide_checkpoint, folder / head, head=head, prompt="question")
        for head in ("all", "grammar")
    }


def test_rows_of_a_batch_are_spread_alike(pair: dict[str, Bundle]) -> None:
    """A table that is spread over one sequence alone fails, or gives the second the logits of the first."""
    found = []
    for bundle in pair.values():
        session = onnxruntime.InferenceSession(bundle.model_path, providers=["CPUExecutionProvider"])
        ids = np.array([IDS[:9], IDS[9:18]], np.int64)
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "logits_positions": np.array([-3, -2, -1])}
        past = [item.name for item in session.get_inputs() if item.name.startswith("past")]
        feeds |= {name: np.zeros((2, 2, 0, 16), np.float32) for name in past}
        found.append(session.run(["logits"], feeds)[0])
        assert found[-1].shape == (2, 3, 264)
    held = found[1] != REMOVED_LOGIT
    assert np.array_equal(found[0][held], found[1][held])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_shared_table_is_stored_once(both: Any, precision: PrecisionName) -> None:
    """The head reads the beginning of the table's bytes; a copy would undo what the cut saves on disk."""
    bundles = both(precision, True)
    whole, cut = (bundle.manifest for bundle in bundles)
    sizes = [manifest.files["model.onnx.data"].size_bytes for manifest in (whole, cut)]
    assert sizes[0] <= sizes[1] <= sizes[0] + 4 * 264 + 2 * 4096
    assert whole.weights is not None
    assert cut.weights is not None
    shared, kept, rest = (
        whole.weights["embedding and head"],
        *(cut.weights[name] for name in ("embedding and head", "embedding")),
    )
    assert kept.size_bytes + rest.size_bytes == shared.size_bytes
    assert (kept.numbers or 0) + (rest.numbers or 0) == shared.numbers
    rows = cut.precision.recipe["head_rows"]
    assert kept.size_bytes * 264 == shared.size_bytes * int(rows)
    # A token reads the rows that are kept, and which ids they are.
    assert whole.token_bytes is not None
    assert cut.token_bytes == whole.token_bytes - rest.size_bytes + 4 * 264
    graph = onnx.load(bundles[1].model_path, load_external_data=False).graph
    (table,) = [item for item in graph.initializer if item.name == ROW_OF_ID]
    assert table.external_data  # a megabyte at Gemma's vocabulary


def test_blocks_of_any_size_give_the_same_file(
    wide_checkpoint: Path, tmp_path: Path, pair: dict[str, Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 4B a table is read in many blocks; one holds the last kept and the first removed rows."""
    monkeypatch.setattr(stream, "_BLOCK_NUMBERS", 64 * 7)
    other = export_checkpoint(wide_checkpoint, tmp_path / "bundle", head="grammar", verify=False)
    assert other.manifest.files["model.onnx.data"] == pair["grammar"].manifest.files["model.onnx.data"]


def test_parity_is_measured_over_the_rows_that_stay(wide_checkpoint: Path, pair: dict[str, Bundle]) -> None:
    """With removed rows in it, every divergence is infinite; with zeros for them, differences look smaller."""
    whole, cut = (bundle.manifest.parity for bundle in pair.values())
    assert whole is not None
    assert cut is not None
    assert cut.greedy_equal == cut.greedy_tokens
    assert 0.5 * whole.mean_logit_diff < cut.mean_logit_diff <= cut.max_logit_diff < 1e-3
    assert remeasure_parity(pair["grammar"], wide_checkpoint) == cut


def test_the_gate_sees_a_head_that_lacks_other_rows(wide_checkpoint: Path, pair: dict[str, Bundle]) -> None:
    """What is not compared must be what was cut, or a head of no rows is perfect."""
    made = pair["grammar"]
    with Checkpoint.open(wide_checkpoint).weights() as weights:
        graph = replace(ExportedGraph.of(made), head_rows=167)
        with pytest.raises(BundleError, match="its head has 166 rows, not 167"):
            measure_parity(LayerwiseReference(weights), graph)


def test_the_gate_sees_rows_in_another_order(
    wide_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each logit is there, at the next token's place."""
    stored = HeadCut.stored_ids.fget
    monkeypatch.setattr(HeadCut, "row_of_id", property(lambda cut: np.argsort(np.roll(stored(cut), 1))))
    with pytest.raises(BundleError, match="logits differ"):
        export_checkpoint(wide_checkpoint, tmp_path / "bundle", head="grammar", prompt="question")


def test_the_known_answer_is_no_more_tolerant(pair: dict[str, Bundle]) -> None:
    """The low logits are no part of what logits vary by: with them, any machine would pass."""
    whole, cut = (bundle.known_answer() for bundle in pair.values())
    assert whole is not None
    assert cut is not None
    assert cut.tolerance == pytest.approx(whole.tolerance, rel=0.2)


def test_prompts_beyond_the_window_decode_to_kept_tokens(make_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    """The likeliest of the kept tokens, where the likeliest of all has no row."""
    source = make_checkpoint(tie_word_embeddings=False)
    whole, cut = (export_checkpoint(source, tmp_path / head, head=head, verify=False) for head in ("all", "grammar"))
    kept = chosen("grammar", source / "tokenizer.json", 264).kept
    expected, found = (all_logits(bundle)[4 * WINDOW :] for bundle in (whole, cut))
    assert not np.isin(expected.argmax(-1), kept).all()
    assert np.array_equal(found.argmax(-1), kept[expected[:, kept].argmax(-1)])
