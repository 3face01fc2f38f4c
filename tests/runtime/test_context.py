"""The KV cache in one buffer, on the demo's real weights, against reading everything at once without a cache."""

import tracemalloc

import numpy as np
import pytest

from dagger_edge.runtime.context import CHUNK, Context
from dagger_edge.runtime.errors import UsageError
from dagger_edge.runtime.logits import last
from dagger_edge.runtime.session import Session
from dagger_edge.runtime.solver import demo_bundle

TOLERANCE = 1e-3
IDS = np.random.default_rng(0).integers(10, 1700, 400).tolist()


@pytest.fixture(scope="module")
def session():
    return Session(demo_bundle() / "model.onnx")


@pytest.fixture(scope="module")
def whole(session):
    return session.step(np.array([IDS], np.int64), session.empty_cache(), keep=0)[0][0]


@pytest.fixture
def context(session):
    return Context(session, limit=1024)


def uncached(session, ids):
    return session.step(np.array([ids], np.int64), session.empty_cache())[0][0, -1]


def test_logits_are_those_of_one_reading_however_it_is_cut(context, whole):
    """Steps end at window - 1, window, window + 1, and where the buffers grow."""
    for begin, end in ((0, 127), (127, 128), (128, 129), (129, 255), (255, 256), (256, 257), (257, 264), (264, 400)):
        rows = context.feed(IDS[begin:end], last(min(5, end - begin)))
        assert np.abs(rows - whole[end - len(rows) : end]).max() < TOLERANCE
    assert context.length == 400


@pytest.mark.parametrize("keep", [1, CHUNK - 1, CHUNK, CHUNK + 1, 300, 400])
def test_a_prompt_is_read_in_chunks_and_loses_no_logits(context, whole, keep):
    rows = context.feed(IDS, last(keep))
    assert len(rows) == keep
    assert np.abs(rows - whole[-keep:]).max() < TOLERANCE


def test_what_was_read_before_going_back_is_not_seen(context, whole):
    """Left in sight, keys of a refused draft would change all that follows."""
    context.feed(IDS[:150])
    context.feed(IDS[300:350])
    context.rewind(150)
    assert np.abs(context.feed(IDS[150:160], last(10)) - whole[150:160]).max() < TOLERANCE


def test_a_state_that_was_read_elsewhere_goes_on_here(session, context, whole):
    _, cache = session.step(np.array([IDS[:200]], np.int64), session.empty_cache())
    state = np.stack([np.stack([key[0], value[0]]) for key, value in zip(cache[::2], cache[1::2], strict=True)])
    context.feed(IDS[:30])
    context.load(state)
    assert np.abs(context.feed(IDS[200:210], last(10)) - whole[200:210]).max() < TOLERANCE


def test_rows_of_different_lengths_are_the_sequences_they_are(session, context):
    """Positions or windows of the longest row for all of them would show in the logits."""
    rows = [IDS[:120], IDS[:120], IDS[:120]]
    context.feed(IDS[:120])
    context.fork(3)
    for lengths in ([120, 110, 117], [121, 60, 118]):
        for row, length in enumerate(lengths):
            context.rewind(length, row)
            rows[row] = rows[row][:length]
        for step in range(20):
            fed = [IDS[150 + 20 * row + step] for row in range(3)]
            rows = [[*row, token] for row, token in zip(rows, fed, strict=True)]
            found = context.feed_rows(fed)
        for row, logits in zip(rows, found, strict=True):
            assert np.abs(logits - uncached(session, row)).max() < TOLERANCE
    assert context.lengths == [141, 80, 138]


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_the_rows_that_stay_are_not_touched_when_one_is_dropped(session, context, gone):
    context.feed(IDS[:250])
    context.fork(3)
    rows = [[*IDS[:250], 300 + row] for row in range(3)]
    context.rewind(100, 1)
    rows[1] = [*IDS[:100], 301]
    context.feed_rows([300, 301, 302])
    context.drop(gone)
    rows[gone] = rows[2]
    for row, logits in zip(rows[:2], context.feed_rows([7, 8]), strict=True):
        assert np.abs(logits - uncached(session, [*row, 7 if row is rows[0] else 8])).max() < TOLERANCE


def test_the_models_context_is_an_error_with_both_numbers(session):
    context = Context(session, limit=100)
    context.feed(IDS[:99])
    with pytest.raises(UsageError, match=r"101 tokens.*context of 100"):
        context.feed(IDS[:2])
    assert context.length == 99
    context.feed(IDS[:1])


def test_no_two_caches_are_in_memory_while_it_grows(session):
    """At 4B a second one is 300 MB, in the middle of an answer."""
    tracemalloc.start()
    try:
        context = Context(session, limit=1024)
        for _ in range(2):
            context.feed(IDS[:255])
        small, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        context.feed(IDS[:255])
        large, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert large > 1.3 * small
    # An array of twelve at a time.
    assert peak < 1.25 * large
