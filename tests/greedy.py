"""Greedy decoding in one line, for tests."""

from dagger_edge.runtime.context import Context
from dagger_edge.runtime.decode import Limits, decode, decode_naive, drain


def greedy_ids(session, prompt, *, max_new_tokens, context, stop_ids=(), state=None):
    """The ids after ``prompt``, over a cache; ``state`` is that of its beginning."""
    cache = Context(session, limit=context)
    if state is not None:
        cache.load(state)
    return drain(decode(cache, prompt, Limits(stop_ids, max_new_tokens, context)))[0]


def naive_ids(session, prompt, *, max_new_tokens, context, stop_ids=()):
    """The ids after ``prompt``, every one by reading all before it anew."""
    return drain(decode_naive(Context(session, limit=context), prompt, Limits(stop_ids, max_new_tokens, context)))[0]
