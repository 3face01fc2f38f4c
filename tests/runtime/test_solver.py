"""The solver between its parts: what a bundle, a model or an output can do to it."""

import pickle
import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace
from tokenizers import Tokenizer

import dagger_edge as de
from dagger_edge.runtime.bundle import Bundle
from dagger_edge.runtime.graph import Graph
from dagger_edge.runtime.session import Session
from dagger_edge.runtime.solver import demo_bundle

QUESTION = "রহিমের কাছে ৫টি আম ছিল। সে করিমকে ২টি আম দিল। রহিমের কাছে এখন কতটি আম আছে?"


FREE = de.DecodeOptions(grammar=False, drafts=False)


class Scripted:
    """A session that writes the given ids, whatever it is asked."""

    def __init__(self, session, ids):
        self._session = session
        self._ids = iter(ids)

    def __getattr__(self, name):
        return getattr(self._session, name)

    def run_bound(self, *args):
        logits = self._session.run_bound(*args)
        logits[0, -1] = 0
        logits[0, -1, next(self._ids)] = 1
        return logits


@pytest.fixture(scope="module")
def parts():
    bundle = Bundle.open(demo_bundle())
    return bundle, Session(bundle.model_path), Tokenizer.from_file(str(bundle.tokenizer_path))


def solver_that_writes(parts, text):
    bundle, session, tokenizer = parts
    ids = [*tokenizer.encode(text, add_special_tokens=False).ids, bundle.manifest.special_ids.end_of_turn]
    return de.Solver(bundle, Scripted(session, ids), tokenizer)


GRAPH = (
    '```json\n{"nodes": [{"id": "n1", "op": "const", "val": 12}, '
    '{"id": "final_result", "op": "identity", "args": ["n1"]}]}\n```'
)


def test_what_the_model_writes_is_what_is_parsed_and_executed(parts):
    assert solver_that_writes(parts, GRAPH).solve(QUESTION, FREE).answer == 12


def test_a_control_token_inside_a_number_does_not_vanish(parts):
    """Left out on decoding, 1<unk>2 would be the number 12."""
    bundle, session, tokenizer = parts
    before, after = GRAPH.split("12")
    ids = [
        *tokenizer.encode(before + "1", add_special_tokens=False).ids,
        tokenizer.token_to_id("<unk>"),
        *tokenizer.encode("2" + after, add_special_tokens=False).ids,
        bundle.manifest.special_ids.end_of_turn,
    ]
    with pytest.raises(de.NoAnswerError, match=r"n1.*not a number") as caught:
        de.Solver(bundle, Scripted(session, ids), tokenizer).solve(QUESTION, FREE)
    assert "1<unk>2" in caught.value.text


def test_a_graph_that_fails_when_run_names_node_and_operation(parts):
    text = GRAPH.replace('"identity", "args": ["n1"]', '"div", "args": ["n1", 0]')
    with pytest.raises(de.NoAnswerError, match=r"final_result.*div\(12, 0\)"):
        solver_that_writes(parts, text).solve(QUESTION, FREE)


def test_a_model_that_stops_at_once_is_timed_as_prefill(parts):
    with pytest.raises(de.NoAnswerError) as caught:
        solver_that_writes(parts, "").solve(QUESTION, FREE)
    timings = caught.value.timings
    assert timings.new_tokens == 0
    assert timings.ttft_s > timings.decode_s


@pytest.mark.parametrize("field", ["num_layers", "num_kv_heads", "head_dim"])
def test_a_manifest_of_another_model_is_refused(parts, field):
    bundle, session, tokenizer = parts
    shape = bundle.manifest.architecture
    other = replace(bundle.manifest, architecture=replace(shape, **{field: getattr(shape, field) + 1}))
    with pytest.raises(de.BundleError, match="cache"):
        de.Solver(Bundle(bundle.path, other, bundle.prompt_template), session, tokenizer)


def test_a_tokenizer_of_another_model_is_refused(parts):
    bundle, session, tokenizer = parts
    other = replace(bundle.manifest, special_ids=replace(bundle.manifest.special_ids, start_of_turn=3))
    with pytest.raises(de.BundleError, match="start_of_turn"):
        de.Solver(Bundle(bundle.path, other, bundle.prompt_template), session, tokenizer)


def test_a_failing_step_is_an_error_of_ours(parts, monkeypatch):
    _, session, _ = parts

    class Broken:
        def __getattr__(self, name):
            return getattr(working, name)

        def run_with_iobinding(self, binding):
            raise RuntimeError("Failed to allocate memory\nstack")

    working = session._session
    monkeypatch.setattr(session, "_session", Broken())
    with pytest.raises(de.ModelError, match=r"Failed to allocate memory\)$"):
        de.Solver(parts[0], session, parts[2]).solve(QUESTION, FREE)


def test_errors_survive_a_process_boundary(parts):
    """A pool of workers hangs on an exception that cannot be unpickled."""
    errors = []
    for text in ("{}", GRAPH.replace('"identity"', '"nonsense"')):
        with pytest.raises(de.GraphParseError) as caught:
            Graph.parse(text)
        errors.append(caught.value)
    with pytest.raises(de.ExecutionError) as failed:
        de.execute(Graph.parse(GRAPH.replace('"identity", "args": ["n1"]', '"div", "args": ["n1", 0]')))
    with pytest.raises(de.NoAnswerError) as unanswered:
        solver_that_writes(parts, "x").solve(QUESTION, FREE)
    for error in [*errors, failed.value, unanswered.value]:
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_a_bundle_opens_from_a_path_with_spaces_and_bengali(tmp_path):
    path = Path(shutil.copytree(demo_bundle(), tmp_path / "ডেমো bundle"))
    with de.Solver.open(path) as solver:
        assert solver.solve(QUESTION).answer == 3
