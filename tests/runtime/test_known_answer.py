"""The known answer: made by a model, said again by the same model, and by no other."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from dagger_edge.runtime.agreement import compare_known_answer, measure_known_answer
from dagger_edge.runtime.errors import BundleError
from dagger_edge.runtime.known_answer import KnownAnswer, decode_known_answer
from dagger_edge.runtime.session import Cache, Session
from dagger_edge.runtime.solver import demo_bundle

PROMPT = [2, 3, 40, 41, 42, 43, 4, 3]
QUESTION = "রহিমের কাছে ৫টি আম আছে।"


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(demo_bundle() / "model.onnx")


@pytest.fixture(scope="module")
def known(session: Session) -> KnownAnswer:
    answer = measure_known_answer(session, QUESTION, PROMPT, 512, "fp32")
    assert answer is not None
    return answer


class Disturbed:
    """The session, whose logits at one step and token are off by ``error``."""

    def __init__(self, session: Session, step: int, token: int, error: float) -> None:
        self._session, self._at, self._token, self._error, self._steps = session, step, token, error, 0

    def empty_cache(self) -> Cache:
        return self._session.empty_cache()

    def step(self, ids: NDArray[np.int64], cache: Cache) -> tuple[NDArray[np.float32], Cache]:
        logits, longer = self._session.step(ids, cache)
        if self._steps == self._at:
            logits = logits.copy()
            logits[0, -1, self._token] += self._error
        self._steps += 1
        return logits, longer


def test_the_same_model_agrees(session: Session, known: KnownAnswer) -> None:
    found = compare_known_answer(session, known)
    assert (found.equal, found.tokens) == (16, 16)
    assert found.max_logit_diff < known.tolerance / 10
    assert decode_known_answer(known.encode(), 1792) == known


@pytest.mark.parametrize("step", [0, 7, 15])
def test_a_logit_that_moved_at_any_step_is_found(session: Session, known: KnownAnswer, step: int) -> None:
    """The first steps come from a prefill, the last from the cache: each can break alone."""
    for token in (known.top_ids[step][0], known.top_ids[step][-1]):
        with pytest.raises(BundleError, match="logits differ"):
            compare_known_answer(Disturbed(session, step, token, -2 * known.tolerance), known)  # type: ignore[arg-type]
        compare_known_answer(Disturbed(session, step, token, -known.tolerance / 2), known)  # type: ignore[arg-type]


def test_a_token_that_became_the_likeliest_is_found(session: Session, known: KnownAnswer) -> None:
    """The answer names eight logits a step; another one above them all is as wrong."""
    other = next(token for token in range(1792) if token not in known.top_ids[3])
    with pytest.raises(BundleError, match="logits differ"):
        compare_known_answer(Disturbed(session, 3, other, 1e4), known)  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_are_found(session: Session, known: KnownAnswer, error: float) -> None:
    """A comparison with NaN is false whichever way it is written."""
    with pytest.raises(BundleError, match=r"logits differ by (nan|inf)"):
        compare_known_answer(Disturbed(session, 2, known.top_ids[2][1], error), known)  # type: ignore[arg-type]


def test_a_prompt_that_fills_the_context_gives_no_answer(session: Session) -> None:
    assert measure_known_answer(session, QUESTION, PROMPT, len(PROMPT), "fp32") is None
    short = measure_known_answer(session, QUESTION, PROMPT, len(PROMPT) + 2, "fp32")
    assert short is not None
    assert len(short.answer_ids) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt_ids": ()},
        {"prompt_ids": (1792,)},
        {"answer_ids": (-1,) * 16},
        {"answer_ids": (5,) * 15},
        {"top_ids": ((1,),) * 16},
        {"top_ids": ((1792,) * 8,) * 16},
        {"top_logits": ((1e9,) * 8,) * 16},
        {"top_logits": ()},
        {"tolerance": 0.0},
        {"question": "\x1b[2J"},
        {"novelty": 1},
    ],
    ids="-".join,
)
def test_a_hostile_answer_is_refused(known: KnownAnswer, changes: dict[str, object]) -> None:
    """The file is untrusted: ids are fed to the graph, and index its logits."""
    content = {**msgspec.to_builtins(known), **changes}
    with pytest.raises(ValueError, match=r"."):
        decode_known_answer(msgspec.json.encode(content), 1792)


@pytest.mark.parametrize("data", [b"", b"\xff", b"[" * 100_000, b'{"question": NaN}'])
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_known_answer(data, 1792)


def test_the_data_is_read_without_the_engine(tmp_path: Path) -> None:
    """``--help`` and ``inspect`` must not pay for numpy and onnxruntime."""
    import subprocess
    import sys

    code = "import sys, dagger_edge.runtime.known_answer; print({'numpy', 'onnxruntime'} & set(sys.modules))"
    source = str(Path(__file__).parent.parent.parent / "src")
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": source}, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "set()", done.stderr
