"""The session and the decode loop on the demo's real weights."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from greedy import greedy_ids, naive_ids
from tokenizers import Tokenizer

from dagger_edge.runtime.bundle import Bundle
from dagger_edge.runtime.errors import BundleError, ProviderError, UsageError
from dagger_edge.runtime.prompt import Prompt
from dagger_edge.runtime.session import Session
from dagger_edge.runtime.solver import demo_bundle

DATA = Path(__file__).resolve().parents[1] / "data"
QUESTIONS = [
    json.loads(line)["question"]
    for name in ("msvamp_bn_gold.jsonl", "mgsm_bn_gold.jsonl")
    for line in (DATA / name).read_text(encoding="utf-8").splitlines()[:60:20]
]


def identity_model():
    """An ONNX model that copies x to y, as protobuf by hand: these tests run without the onnx package."""

    def field(number, payload):
        return bytes([number << 3 | 2, len(payload)]) + payload

    def value(name):
        return field(1, name) + field(2, field(1, b"\x08\x01" + field(2, field(1, b"\x08\x01"))))

    node = field(1, b"x") + field(2, b"y") + field(4, b"Identity")
    graph = field(1, node) + field(2, b"g") + field(11, value(b"x")) + field(12, value(b"y"))
    return b"\x08\x08" + field(7, graph) + field(8, b"\x10\x0d")


@pytest.fixture(scope="module")
def bundle():
    return Bundle.open(demo_bundle())


@pytest.fixture(scope="module")
def session(bundle):
    return Session(bundle.model_path)


@pytest.fixture(scope="module")
def prompt(bundle):
    return Prompt(Tokenizer.from_file(str(bundle.tokenizer_path)), bundle.prompt_template)


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_cached_ids_are_the_naive_ones_past_the_sliding_window(bundle, session, prompt, question):
    """A cache that is off by one position, or a window that forgets too much, shows in the ids."""
    ids = prompt.encode(question)
    limits = {"stop_ids": (), "max_new_tokens": 96, "context": 1024}
    cached = greedy_ids(session, ids, **limits)
    assert cached == naive_ids(session, ids, **limits)
    assert len(ids) + len(cached) > bundle.manifest.architecture.sliding_window


def test_logits_do_not_depend_on_how_a_prompt_is_cut(session, prompt):
    ids = np.array([prompt.encode(QUESTIONS[0])], np.int64)
    whole, _ = session.step(ids, session.empty_cache(), keep=0)
    cache, parts = session.empty_cache(), []
    for part in np.array_split(ids, 7, axis=1):
        logits, cache = session.step(part, cache, keep=0)
        parts.append(logits)
    assert np.abs(np.concatenate(parts, axis=1) - whole).max() < 1e-3


@pytest.mark.parametrize("version", ["1.9.0", "1.23.2"])
def test_an_onnxruntime_whose_windows_are_wrong_is_refused(bundle, monkeypatch, version):
    """1.23.2 runs the same graph with a window that is one too long: other answers, and no error."""
    monkeypatch.setattr(onnxruntime, "__version__", version)
    with pytest.raises(ProviderError, match=f"onnxruntime {version} is too old"):
        Session(bundle.model_path)


def test_a_provider_that_is_not_there_is_an_error_and_no_silent_cpu_run(bundle):
    with pytest.raises(ProviderError, match="CUDAExecutionProvider"):
        Session(bundle.model_path, provider="cuda")


@pytest.mark.parametrize("options", [{"provider": "tpu"}, {"threads": 0}])
def test_options_that_do_not_exist_are_refused_by_name(bundle, options):
    with pytest.raises(UsageError, match=next(iter(options))):
        Session(bundle.model_path, **options)


def test_a_model_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(identity_model())
    with pytest.raises(BundleError, match="not a decoder"):
        Session(path)
