"""The decode loop on a fake model of a few lines, against the slow one: no weights, no text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagger_edge.runtime.decode import Draft, Free, Limits, check_finite, decode, decode_naive, drain, greedy
from dagger_edge.runtime.errors import ModelError, UsageError
from dagger_edge.runtime.logits import LAST

VOCAB = 50
# The ids of a core are those below.
CORE = 20
PROMPT = [1, 2, 3]
# Far from every limit.
WIDE = Limits((), 20, 100)
both = pytest.mark.parametrize("kind", [decode, decode_naive])


class FakeModel:
    """The next token depends on all tokens before it, and on their places: read wrongly, others follow.

    Attributes:
        read: the ids in its cache.
        steps: how many ids each step fed.
        asked: after how many of them each step was to say what comes next.
        spared: after how many of those it could say what it liked of ids beyond the core, which it did.
    """

    def __init__(self, read=(), poison=None):
        self.read, self.steps, self.asked, self.spared, self.poison = list(read), [], [], 0, poison

    @property
    def length(self):
        return len(self.read)

    def feed(self, ids, at=LAST, core=()):
        assert list(at) == sorted(set(at))
        assert -len(ids) <= at[0]
        assert at[-1] <= -1
        self.read += ids
        self.steps.append(len(ids))
        self.asked.append(len(at))
        logits = np.zeros((len(at), VOCAB), np.float32)
        for row, position in enumerate(at):
            logits[row, next_id(self.read[: len(self.read) + 1 + position])] = 1
            if position in core:
                self.spared += 1
                logits[row, CORE:] = np.random.default_rng(len(self.steps)).normal(0, 9, VOCAB - CORE)
        if self.poison is not None:
            logits[-1, 3] = self.poison
        return logits

    def rewind(self, length):
        del self.read[length:]


def next_id(ids):
    return sum(place * token for place, token in enumerate(ids, start=1)) % VOCAB


class Pattern:
    """Forces so many tokens after every ``free`` ones, allows even ones only elsewhere, and ends after ``end``.

    At every ``narrow``-th place, where that is not 0, only even ones of the core may come.
    """

    def __init__(self, free, forced, end, narrow=0):
        self.free, self.run, self.end, self.narrow = free, forced, end, narrow
        self.written = []

    @property
    def core_only(self):
        return bool(self.narrow) and len(self.written) % self.narrow == 0

    @property
    def finished(self):
        return len(self.written) >= self.end

    def forced(self):
        place = len(self.written) % (self.free + self.run)
        if place < self.free or self.finished:
            return []
        return [(len(self.written) + index) % VOCAB for index in range(self.free + self.run - place)]

    def allows(self, token):
        forced = self.forced()
        if forced:
            return token == forced[0]
        return not self.finished and token % 2 == 0 and not (self.core_only and token >= CORE)

    def mask(self, size):
        return np.array([self.allows(token) for token in range(size)])

    def accept(self, token):
        assert self.allows(token)
        self.written.append(token)

    def fork(self):
        copy = Pattern(self.free, self.run, self.end, self.narrow)
        copy.written = list(self.written)
        return copy


class Drafts:
    """Guesses what ``guess`` says after so many ids, and checks what it is told."""

    def __init__(self, guess):
        self._guess, self._last = guess, None

    def guess(self, constraint, ids, pending, room):
        assert pending > 0
        assert room >= 0
        assert self._last is None
        self._last = self._guess(ids)
        return self._last if isinstance(self._last, Draft) else Draft(self._last)

    def learn(self, accepted):
        assert 0 <= accepted <= len(self._last.ids if isinstance(self._last, Draft) else self._last)
        self._last = None


def run(kind, model=None, limits=WIDE, **options):
    return drain(kind(model or FakeModel(), PROMPT, limits, **options))


IDS = run(decode_naive)[0]


def right(count, ids=IDS):
    """Guesses that are right, ``count`` at a time, and go on behind the end of what was known."""
    return lambda so_far: [*ids, *[0] * 99][len(so_far) - len(PROMPT) :][:count]


def test_the_oracle_is_the_model_itself():
    """Both loops with one fault in common would agree with each other."""
    ids = list(PROMPT)
    for _ in range(20):
        ids.append(next_id(ids))
    assert len(PROMPT) + 20 == len(ids)
    assert ids[3:] == IDS == run(decode)[0]


def test_the_prompt_is_fed_once_and_then_one_token_a_step():
    model = FakeModel()
    run(decode, model, WIDE._replace(max_new_tokens=4))
    assert model.steps == [3, 1, 1, 1]


@both
@pytest.mark.parametrize("length", [0, 1, 2])
def test_a_beginning_that_was_read_is_not_fed_again(kind, length):
    """Fed twice, or with a token left out, the ids would be of another prompt."""
    model = FakeModel(PROMPT[:length])
    assert run(kind, model, WIDE._replace(context=8)) == (IDS[:5], "context")
    assert model.steps[0] == 3 - length
    assert model.read[:3] == PROMPT


@both
def test_a_stop_token_ends_the_decode_and_is_not_emitted(kind):
    stop = IDS[5]
    assert run(kind, limits=WIDE._replace(stop_ids=(stop,))) == (IDS[: IDS.index(stop)], "stop")


@pytest.mark.parametrize("count", [1, 2, 5, 19])
@pytest.mark.parametrize("place", [0, 1, 5, 11])
def test_a_stop_token_that_was_guessed_is_not_emitted_either(count, place):
    """Nor anything that was guessed behind it."""
    stop = IDS[place]
    found = run(decode, limits=WIDE._replace(stop_ids=(stop,)), drafter=Drafts(right(count)))
    assert found == (IDS[: IDS.index(stop)], "stop")


@both
def test_the_limit_on_new_tokens_is_kept_exactly(kind):
    assert run(kind, limits=WIDE._replace(max_new_tokens=7)) == (IDS[:7], "max_new_tokens")


@both
def test_no_token_is_decoded_past_the_context(kind):
    assert run(kind, limits=WIDE._replace(context=8)) == (IDS[:5], "context")


@both
def test_a_prompt_that_fills_the_context_is_refused_with_both_numbers(kind):
    with pytest.raises(UsageError, match=r"3 tokens.*context is 3"):
        run(kind, limits=WIDE._replace(context=3))


@both
@pytest.mark.parametrize("count", [0, -1])
def test_a_limit_that_allows_no_token_is_refused(kind, count):
    with pytest.raises(UsageError, match=f"max_new_tokens is {count}"):
        run(kind, limits=WIDE._replace(max_new_tokens=count))


@both
def test_closing_the_decode_stops_the_model(kind):
    model = FakeModel()
    decoding = kind(model, PROMPT, WIDE)
    next(decoding)
    decoding.close()
    assert len(model.steps) == 1


@both
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("constraint", [None, Pattern(2, 1, 10)])
def test_logits_that_are_not_finite_are_an_error_and_no_token(kind, poison, constraint):
    """Token 3 is never allowed by the pattern: a mask would hide it."""
    with pytest.raises(ModelError, match="not finite"):
        run(kind, FakeModel(poison=poison), constraint=constraint)


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_check_finite_sees_one_among_many(poison):
    logits = np.zeros(262_144, np.float32)
    check_finite(logits)
    logits[-1] = poison
    with pytest.raises(ModelError):
        check_finite(logits)


def test_the_first_of_equal_logits_wins():
    """With and without a mask: where they differ, forced decoding is not the naive one."""
    assert greedy(np.array([0, 2, 2], np.float32), Free()) == 1
    assert greedy(np.array([3, 5, 4, 2, 4], np.float32), Pattern(1, 0, 9)) == 2


def test_greedy_takes_the_likeliest_that_is_allowed_however_unlikely():
    """A pruned head's rows are at -1e9; a mask by a number of that size would let one of them through."""
    assert greedy(np.array([-3e38, 1, -1e9, 1], np.float32), Pattern(1, 0, 9)) == 2
    assert greedy(np.array([-3e38, 1], np.float32), Pattern(1, 0, 9)) == 0


DRAFTS = {
    "right, one": right(1),
    "right, many": right(6),
    "right, longer than the room": right(50),
    "wrong": lambda ids: [(next_id(ids) + 1) % VOCAB] * 3,
    "wrong, longer than the room": lambda ids: [(next_id(ids) + 1) % VOCAB] * 60,
    "right at first": lambda ids: [next_id(ids), 0, 0, 0],
    "right at last": lambda ids: [0, 0, next_id(ids)],
    "now and then": lambda ids: [next_id(ids)] if len(ids) % 3 else [],
    "no ids of the model": lambda ids: [VOCAB + 5, -1],
}


@pytest.mark.parametrize("limits", [WIDE, WIDE._replace(max_new_tokens=1), WIDE._replace(context=9)])
@pytest.mark.parametrize("draft", DRAFTS.values(), ids=DRAFTS)
def test_drafts_never_change_the_ids(draft, limits):
    assert run(decode, limits=limits, drafter=Drafts(draft)) == run(decode_naive, limits=limits)


def test_right_drafts_save_steps():
    """Guesses that are read again one by one would pass every other test."""
    model = FakeModel()
    run(decode, model, drafter=Drafts(right(4)))
    assert model.steps == [3 + 4, 1 + 4, 1 + 4, 1 + 4]


def check_cache(decoding, model):
    """Decodes, and holds what the model has read after every step against what was emitted."""
    ids = []
    while True:
        try:
            emitted = next(decoding)
        except StopIteration as end:
            return ids, end.value
        ids += emitted.ids
        assert model.read == [*PROMPT, *ids][: model.length]
        # All but the last, which no step has read unless it was guessed.
        if emitted.step:
            assert emitted.step == model.steps[-1]
            assert model.length >= len(PROMPT) + len(ids) - 1


@given(data=st.data())
def test_with_any_drafts_grammar_and_limits_the_ids_are_the_naive_ones(data):
    """And the cache holds what was emitted, no more and no less; forced tokens are not asked for."""
    pattern = data.draw(st.tuples(st.integers(1, 5), st.integers(0, 5), st.integers(1, 30), st.integers(0, 3)))
    limits = Limits(
        data.draw(st.lists(st.integers(0, VOCAB - 1), max_size=2)),
        data.draw(st.integers(1, 30)),
        data.draw(st.integers(4, 40)),
    )
    grammar = data.draw(st.booleans())
    # A stop token that is forced is a contradiction; grammars know no stop tokens.
    limits = limits._replace(stop_ids=()) if grammar else limits
    expected = run(decode_naive, limits=limits, constraint=Pattern(*pattern) if grammar else None)

    def draft(ids):
        known = expected[0][len(ids) - len(PROMPT) :]
        return data.draw(
            st.one_of(
                st.lists(st.integers(-1, VOCAB), max_size=5),
                st.integers(0, 9).map(lambda count: known[:count]),
                st.integers(0, 9).map(lambda count: [*known[:count], 0, 2]),
            )
        )

    def choose(logits, constraint, position):
        assert not constraint.forced()
        assert not constraint.finished
        return greedy(logits, constraint, position)

    model = FakeModel(PROMPT[: data.draw(st.integers(0, 2))])
    constraint = Pattern(*pattern) if grammar else None
    decoding = decode(model, PROMPT, limits, constraint=constraint, choose=choose, drafter=Drafts(draft))
    assert check_cache(decoding, model) == expected
    assert not grammar or constraint.written == expected[0]


@pytest.mark.parametrize("end", [20, 17])
def test_logits_are_made_only_where_there_is_a_choice(end):
    """A product with every row of the vocabulary is a large share of a step; where the next id is forced, behind the
    draft too, nobody reads what it makes."""
    expected, _ = run(decode_naive, constraint=Pattern(1, 4, end))
    model, pattern = FakeModel(), Pattern(1, 4, end)

    def draft(so_far):
        ids = expected[len(so_far) - len(PROMPT) :][:6]
        places = range(len(so_far) - len(PROMPT), len(so_far) - len(PROMPT) + len(ids) + 1)
        return Draft(ids, [place - places[0] for place in places if place % 5])

    assert run(decode, model, constraint=pattern, drafter=Drafts(draft))[0] == expected
    assert (model.steps[0], model.asked[0]) == (len(PROMPT) + 6, 2)
    assert sum(model.asked) == 4


@given(forced=st.sets(st.integers(0, 9)), core=st.sets(st.integers(0, 9)), count=st.integers(0, 9))
def test_a_drafter_that_is_wrong_about_places_costs_steps_alone(forced, core, count):
    """Its word for it would make any id the model's."""
    for make in (lambda: None, lambda: Pattern(2, 2, 20), lambda: Pattern(3, 1, 20, 2)):
        expected = run(decode_naive, constraint=make())
        draft = Drafts(lambda so_far, ids=expected[0]: Draft(right(count, ids)(so_far), forced, core))
        assert run(decode, constraint=make(), drafter=draft) == expected


@pytest.mark.parametrize("narrow", [1, 2, 3])
def test_the_core_is_asked_for_wherever_it_is_enough(narrow):
    """The others' logits are most of a head, and it does not matter what they are."""
    expected, _ = run(decode_naive, constraint=Pattern(1, 0, 20, narrow))
    model = FakeModel()
    assert run(decode, model, constraint=Pattern(1, 0, 20, narrow))[0] == expected
    assert model.spared == -(-20 // narrow)
    assert sum(model.asked) == 20

    def draft(so_far):
        place = len(so_far) - len(PROMPT)
        ids = expected[place : place + 4]
        return Draft(ids, core=[index for index in range(len(ids) + 1) if (place + index) % narrow == 0])

    model = FakeModel()
    assert run(decode, model, constraint=Pattern(1, 0, 20, narrow), drafter=Drafts(draft))[0] == expected
    assert model.steps == [len(PROMPT) + 4, 5, 5, 5]
    assert model.spared == -(-20 // narrow)


def test_forced_tokens_are_not_asked_for_and_are_read_together():
    """One step for every free token, whatever is forced between."""
    model = FakeModel()
    ids, _ = run(decode, model, constraint=Pattern(1, 4, 20))
    assert len(ids) == 20
    assert model.steps == [3, 5, 5, 5]


def test_what_is_forced_from_the_beginning_on_needs_no_model():
    model = FakeModel()
    pattern = Pattern(0, 4, 8)
    assert run(decode, model, constraint=pattern) == (pattern.written, "stop")
    assert (len(pattern.written), model.steps) == (8, [])


@pytest.mark.parametrize("limit", [1, 4, 5, 6, 7, 9, 10])
def test_forced_tokens_end_at_the_limit_too(limit):
    """A run of them is longer than what is left."""
    limits = WIDE._replace(max_new_tokens=limit)
    found = run(decode, limits=limits, constraint=Pattern(1, 4, 99))
    assert found == run(decode_naive, limits=limits, constraint=Pattern(1, 4, 99))
    assert (len(found[0]), found[1]) == (limit, "max_new_tokens")


@pytest.mark.parametrize("end", range(1, 12))
def test_what_ends_in_the_middle_of_a_draft_ends_there(end):
    """What was guessed behind the end would be in the answer, or in the cache of the next one."""
    expected = run(decode_naive, constraint=Pattern(3, 1, end))
    model, pattern = FakeModel(), Pattern(3, 1, end)
    drafter = Drafts(right(9, expected[0]))
    assert check_cache(decode(model, PROMPT, WIDE, constraint=pattern, drafter=drafter), model) == expected
    assert (len(pattern.written), expected[1]) == (end, "stop")
    assert model.length <= len(PROMPT) + end


@both
def test_an_end_at_the_limit_is_an_end(kind):
    """A graph that needed every token that there was is not cut off."""
    limits = WIDE._replace(max_new_tokens=6)
    assert run(kind, limits=limits, constraint=Pattern(2, 1, 6))[1] == "stop"


@pytest.mark.parametrize("after", range(5))
@pytest.mark.parametrize("how", ["closed", "interrupted"])
def test_after_a_decode_that_was_broken_off_the_next_one_is_right(after, how):
    """Ctrl-C in a step, or a reader who has enough: the cache holds what the model has read, nothing else."""
    model = FakeModel()
    decoding = decode(model, PROMPT, WIDE, drafter=Drafts(lambda ids: [next_id(ids), 0, 0]))
    for _ in range(after):
        next(decoding)
    if how == "closed":
        decoding.close()
    else:
        feed, model.feed = model.feed, interrupted
        with pytest.raises(KeyboardInterrupt):
            next(decoding)
        model.feed = feed
    model.rewind(2)
    assert run(decode, model)[0] == IDS


def interrupted(ids, at=LAST, core=()):
    raise KeyboardInterrupt
