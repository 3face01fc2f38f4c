"""Which logits a graph makes: those at positions that it is asked for; graphs of older bundles make the last ones."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import NodeProto, helper, numpy_helper

from dagger_edge.export.pipeline import export_checkpoint
from dagger_edge.export.staged import StagedGraph
from dagger_edge.export.storage import blocks
from dagger_edge.runtime.bundle import MODEL_FILE, Bundle
from dagger_edge.runtime.context import Context
from dagger_edge.runtime.cost import StepCost
from dagger_edge.runtime.decode import Limits, decode, drain
from dagger_edge.runtime.draft import GraphDrafter, Record
from dagger_edge.runtime.grammar import GraphGrammar
from dagger_edge.runtime.logits import LAST, Logits, Positions, last
from dagger_edge.runtime.prompt import Prompt
from dagger_edge.runtime.session import REMOVED_LOGIT, Session
from dagger_edge.runtime.solver import demo_bundle
from dagger_edge.runtime.spelling import Spelling
from dagger_edge.runtime.tokenizer import open_tokenizer

KINDS = ("logits_positions", "num_logits_to_keep")
IDS = np.random.default_rng(4).integers(3, 264, 40).tolist()
QUESTION = "রহিমের কাছে ৫টি আম ছিল। সে করিমকে ২টি আম দিল। রহিমের কাছে এখন কতটি আম আছে?"
# Reading along is nearly free, so that drafts are long.
CHEAP = StepCost((1, 16), (1.0, 1.05))


def nodes_of(kind: str, hidden: str) -> tuple[list[NodeProto], dict[str, np.ndarray]]:
    """What cuts the hidden states in graphs of a kind, and its constants."""
    if kind == "logits_positions":
        return [helper.make_node("Gather", [hidden, kind], ["/lm_head/kept"], axis=1)], {kind: np.array([-1])}
    nodes = [
        helper.make_node("Neg", [kind], ["/lm_head/start"]),
        helper.make_node("Slice", [hidden, "/lm_head/start", "/lm_head/end", "/lm_head/axis"], ["/lm_head/kept"]),
    ]
    last_place = np.array([np.iinfo(np.int64).max])
    return nodes, {kind: np.array([1]), "/lm_head/end": last_place, "/lm_head/axis": np.array([1])}


def of_kind(kind: str, source: Path, target: Path) -> Bundle:
    """The bundle in ``source`` with the other input, or the one it has."""
    shutil.copytree(source, target)
    model = onnx.load(target / MODEL_FILE, load_external_data=False)
    graph = model.graph
    (cutting,) = [node for node in graph.node if "/lm_head/kept" in node.output]
    assert cutting.op_type in {"Slice", "Gather"}
    place = list(graph.node).index(cutting)
    nodes, constants = nodes_of(kind, cutting.input[0])
    kept = [node for node in graph.node if node is not graph.node[place] and "/lm_head/start" not in node.output]
    head = next(index for index, node in enumerate(kept) if "/lm_head/kept" in node.input)
    given = {*KINDS, "/lm_head/end", "/lm_head/axis"}
    initializers = [item for item in graph.initializer if item.name not in given]
    initializers += [numpy_helper.from_array(array, name) for name, array in constants.items()]
    inputs = [item for item in graph.input if item.name not in KINDS]
    inputs.append(helper.make_tensor_value_info(kind, onnx.TensorProto.INT64, ["kept"]))
    new = helper.make_graph([*kept[:head], *nodes, *kept[head:]], "g", inputs, graph.output, initializers)
    made = helper.make_model(new, opset_imports=model.opset_import)
    made.ir_version = model.ir_version
    data = made.SerializeToString()
    (target / MODEL_FILE).write_bytes(data)
    manifest = json.loads((target / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"][MODEL_FILE] |= {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (target / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return Bundle.open(target)


@pytest.fixture(scope="module")
def both(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """The tiny bundle with each input."""
    folder = tmp_path_factory.mktemp("both")
    return {kind: of_kind(kind, bundle.path, folder / kind) for kind in KINDS}


@pytest.mark.parametrize("at", [LAST, (-7,), (-9, -4, -1), (-9, -8, -2), last(9)])
@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_at_the_positions_that_were_asked_for(
    both: dict[str, Bundle], kind: str, at: Positions
) -> None:
    """Those of another id would be some id's logits too, and decoding would go on with them."""
    session = Session(both[kind].model_path)
    assert {value.name for value in session._session.get_overridable_initializers()} == {kind}
    whole = session.step(np.array([IDS], np.int64), session.empty_cache(), keep=0)[0][0]
    assert len(whole) == len(IDS)
    context = Context(session, limit=512)
    context.feed(IDS[:-9])
    found = context.feed(IDS[-9:], at)
    assert found.shape == (len(at), 264)
    assert np.abs(found - whole[list(at)]).max() < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_stages_of_both_kinds_make_all_logits(both: dict[str, Bundle], kind: str) -> None:
    """The export's gate reads a bundle of any age layer by layer."""
    session, graph = Session(both[kind].model_path), StagedGraph(both[kind].path)
    stream = graph.embed(IDS)
    expected = session.step(np.array([IDS], np.int64), session.empty_cache(), keep=0)[0][0]
    state = stream, np.zeros_like(stream)
    for index in range(graph.layers):
        made = graph.layer(index).run(*state, [(0, len(IDS))])
        state = made.stream, made.feed_forward
    assert np.abs(graph.head().logits(*state) - expected).max() < 1e-4


class Asked(Context):
    """A context that writes down what it was asked for."""

    def __init__(self, session: Session, limit: int) -> None:
        super().__init__(session, limit=limit)
        self.asked: list[Positions] = []

    def feed(self, ids: Sequence[int], at: Positions = LAST, core: Collection[int] = ()) -> Logits:
        self.asked.append(list(at))
        return super().feed(ids, at, core)


def written(grammar: Any) -> str:
    text: str = grammar.text.decode(errors="replace")
    return text


def answer(bundle: Bundle) -> tuple[list[int], list[Positions]]:
    """The demo's answer with everything on, and what its steps asked for."""
    tokenizer: Any = open_tokenizer(bundle.tokenizer_path, bundle.manifest.files["tokenizer.json"].sha256)
    spelling = Spelling(tokenizer, bundle.manifest.special_ids.end_of_turn)
    context = Asked(Session(bundle.model_path), 900)
    prompt = Prompt(tokenizer, bundle.prompt_template).encode(QUESTION)
    drafter = GraphDrafter(QUESTION, spelling, CHEAP, Record(), written)
    grammar = GraphGrammar(spelling, 300)
    ids, stop = drain(decode(context, prompt, Limits((), 300, 900), constraint=grammar, drafter=drafter))
    assert stop == "stop"
    return ids, context.asked


def test_both_kinds_write_the_same_graph(tmp_path: Path) -> None:
    """On real weights, with the grammar and drafts: bundles of both kinds are in use."""
    (ids, asked), (others, _) = (answer(of_kind(kind, demo_bundle(), tmp_path / kind)) for kind in KINDS)
    assert ids == others
    # Places are left out in the middle and at the end, or nothing was shown.
    assert any(list(at) != list(range(at[0], at[-1] + 1)) for at in asked)
    assert any(at[-1] < -1 for at in asked)
    assert sum(map(len, asked)) < 0.8 * sum(-at[0] for at in asked)


def test_a_head_of_several_products_is_the_head(
    wide_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of one product that another's scales belong to, or that come twice, are another vocabulary."""
    whole = export_checkpoint(wide_checkpoint, tmp_path / "whole", precision="int8", prompt="question")
    monkeypatch.setattr(blocks, "_PRODUCT_BYTES", 1 << 13)
    pieces = export_checkpoint(wide_checkpoint, tmp_path / "pieces", precision="int8", prompt="question")
    cut = export_checkpoint(wide_checkpoint, tmp_path / "cut", precision="int8", prompt="question", head="grammar")
    found = {}
    for made in (whole, pieces, cut):
        graph = onnx.load(made.model_path, load_external_data=False).graph
        found[made.path.name] = sum(node.op_type == "MatMulNBits" for node in graph.node)
        assert made.manifest.parity is not None
    assert found == {"whole": 1, "pieces": 3, "cut": 2}
    logits = [
        session.step(np.array([IDS], np.int64), session.empty_cache(), keep=0)[0][0]
        for session in (Session(made.model_path) for made in (whole, pieces, cut))
    ]
    assert np.array_equal(logits[0], logits[1])
    held = logits[2] != REMOVED_LOGIT
    assert 128 < held[0].sum() < 264
    assert np.abs(logits[2] - logits[0])[held].max() < 1e-5
    # The same bytes, and each counted once.
    one, other = whole.manifest, pieces.manifest
    assert one.files["model.onnx.data"] == other.files["model.onnx.data"]
    assert one.weights == other.weights
