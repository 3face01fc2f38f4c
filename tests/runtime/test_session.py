"""The session and the decode loop on the demo's real weights."""

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from dagger_edge.runtime.bundle import Bundle
from dagger_edge.runtime.decode import decode_greedy, decode_naive
from dagger_edge.runtime.errors import BundleError, ProviderError
from dagger_edge.runtime.prompt import Prompt
from dagger_edge.runtime.session import Session
from dagger_edge.runtime.solver import demo_bundle

DATA = Path(__file__).resolve().parents[1] / "data"
QUESTIONS = [
    json.loads(line)["question"]
    for name in ("msvamp_bn_gold.jsonl", "mgsm_bn_gold.jsonl")
    for line in (DATA / name).read_text(encoding="utf-8").splitlines()[:60:20]
]


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
    limits = {"stop_ids": bundle.manifest.special_ids.stop, "max_new_tokens": 96, "context": 1024}
    cached = list(decode_greedy(session, ids, **limits))
    assert cached == list(decode_naive(session, ids, **limits))
    assert len(ids) + len(cached) > bundle.manifest.architecture.sliding_window


def test_logits_do_not_depend_on_how_a_prompt_is_cut(session, prompt):
    ids = np.array([prompt.encode(QUESTIONS[0])], np.int64)
    whole, _ = session.step(ids, session.empty_cache())
    cache, parts = session.empty_cache(), []
    for part in np.array_split(ids, 7, axis=1):
        logits, cache = session.step(part, cache)
        parts.append(logits)
    assert np.abs(np.concatenate(parts, axis=1) - whole).max() < 1e-3


def test_a_provider_that_is_not_there_is_an_error_and_no_silent_cpu_run(bundle):
    with pytest.raises(ProviderError, match="CUDAExecutionProvider"):
        Session(bundle.model_path, provider="cuda")


def test_a_model_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "model.onnx"
    # ONNX by hand: IR version 8, an empty graph named "g", opset 13.
    path.write_bytes(bytes.fromhex("0808 3a03120167 4202100d"))
    with pytest.raises(BundleError, match="not a decoder"):
        Session(path)
