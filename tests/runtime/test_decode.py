"""The decode loop on a fake model of a few lines: no weights, no text."""

import numpy as np
import pytest

from dagger_edge.runtime.decode import Start, decode_greedy, decode_naive, greedy_token
from dagger_edge.runtime.errors import ModelError, UsageError

VOCAB = 50


class FakeDecoder:
    """The next token depends on all tokens before it, which the cache carries as [1, 1, past, 1]."""

    def __init__(self, poison=None):
        self.steps = []
        self.poison = poison

    def empty_cache(self):
        return [np.zeros((1, 1, 0, 1), np.float32)]

    def step(self, ids, cache):
        self.steps.append(ids.shape[1])
        seen = np.concatenate([cache[0], ids.astype(np.float32)[:, None, :, None]], axis=2)
        logits = np.zeros((1, ids.shape[1], VOCAB), np.float32)
        for offset in range(ids.shape[1]):
            total = seen[0, 0, : cache[0].shape[2] + offset + 1, 0]
            logits[0, offset, int((total * np.arange(1, len(total) + 1)).sum()) % VOCAB] = 1
        if self.poison is not None:
            logits[0, -1, 3] = self.poison
        return logits, [seen]


def drain(decode):
    ids = []
    while True:
        try:
            ids.append(next(decode))
        except StopIteration as end:
            return ids, end.value


def run(kind, model, **options):
    return drain(kind(model, [1, 2, 3], **({"stop_ids": (), "max_new_tokens": 20, "context": 100} | options)))


def test_cached_decode_gives_the_ids_of_the_naive_one():
    assert run(decode_greedy, FakeDecoder()) == run(decode_naive, FakeDecoder())


def test_the_prompt_is_fed_once_and_then_one_token_a_step():
    model = FakeDecoder()
    run(decode_greedy, model, max_new_tokens=4)
    assert model.steps == [3, 1, 1, 1]


@pytest.mark.parametrize("length", [0, 1, 2])
def test_a_beginning_that_was_read_is_not_fed_again(length):
    """Fed twice, or with a token left out, the ids would be of another prompt."""
    _, cache = FakeDecoder().step(np.array([[1, 2, 3][:length]], np.int64), FakeDecoder().empty_cache())
    model = FakeDecoder()
    assert run(decode_greedy, model, start=Start(cache, length), context=8) == run(
        decode_naive, FakeDecoder(), context=8
    )
    assert model.steps[0] == 3 - length


@pytest.mark.parametrize("kind", [decode_greedy, decode_naive])
def test_a_stop_token_ends_the_decode_and_is_not_yielded(kind):
    ids, _ = run(kind, FakeDecoder())
    stop = ids[5]
    cut, reason = run(kind, FakeDecoder(), stop_ids=(stop,))
    assert (cut, reason) == (ids[: ids.index(stop)], "stop")


@pytest.mark.parametrize("kind", [decode_greedy, decode_naive])
def test_the_limit_on_new_tokens_is_kept_exactly(kind):
    ids, reason = run(kind, FakeDecoder(), max_new_tokens=7)
    assert (len(ids), reason) == (7, "max_new_tokens")


@pytest.mark.parametrize("kind", [decode_greedy, decode_naive])
def test_no_token_is_decoded_past_the_context(kind):
    ids, reason = run(kind, FakeDecoder(), context=8)
    assert (len(ids), reason) == (5, "context")


@pytest.mark.parametrize("kind", [decode_greedy, decode_naive])
def test_a_prompt_that_fills_the_context_is_refused_with_both_numbers(kind):
    with pytest.raises(UsageError, match=r"3 tokens.*context is 3"):
        run(kind, FakeDecoder(), context=3)


@pytest.mark.parametrize("kind", [decode_greedy, decode_naive])
def test_a_limit_that_allows_no_token_is_refused(kind):
    with pytest.raises(UsageError, match="max_new_tokens is 0"):
        run(kind, FakeDecoder(), max_new_tokens=0)


def test_closing_the_decode_stops_the_model():
    model = FakeDecoder()
    decode = decode_greedy(model, [1], stop_ids=(), max_new_tokens=20, context=100)
    next(decode)
    decode.close()
    assert len(model.steps) == 1


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_an_error_and_no_token(poison):
    with pytest.raises(ModelError, match="not finite"):
        run(decode_greedy, FakeDecoder(poison))


def test_the_first_of_equal_logits_wins():
    assert greedy_token(np.array([0, 2, 2], np.float32)) == 1
