"""Drawing: the distribution, with drafts and without; the filters; seeds."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dagger_edge.runtime.decode import Draft, Free, Limits, decode, decode_naive, drain, greedy
from dagger_edge.runtime.errors import UsageError
from dagger_edge.runtime.logits import LAST
from dagger_edge.runtime.sampling import Sampling, sampler

VOCAB = 5
DRAWS = 20_000
# What the model says after each token; token 4 is never allowed at even places.
LOGITS = np.random.default_rng(3).normal(0, 0.7, (VOCAB, VOCAB)).astype(np.float32)
SAMPLING = Sampling(temperature=0.9, top_k=4, top_p=0.97, min_p=0.02)
TOKENS = 2
# Chi-square with so many degrees of freedom exceeds this with a probability of 0.001, by the cube-root normal
# approximation (Wilson and Hilferty), which is right to two digits here.
NORMAL_0_001 = 3.0902


class Markov:
    """A model that looks at the last token alone."""

    def __init__(self):
        self.read = []

    @property
    def length(self):
        return len(self.read)

    def feed(self, ids, at=LAST, core=()):
        self.read += ids
        return LOGITS[[self.read[position] for position in at]]

    def rewind(self, length):
        del self.read[length:]


class Odd:
    """Allows token 4 at every second place only."""

    finished = core_only = False

    def __init__(self, written=0):
        self._written = written

    def forced(self):
        return ()

    def allows(self, token):
        return bool(self.mask(VOCAB)[token])

    def mask(self, size):
        allowed = np.ones(size, np.bool_)
        allowed[4] = self._written % 2 == 1
        return allowed

    def accept(self, token):
        assert self.allows(token)
        self._written += 1

    def fork(self):
        return Odd(self._written)


class Guesses:
    """Two random guesses at a time, by a seed."""

    def __init__(self, seed):
        self._rng = np.random.default_rng(seed)

    def guess(self, constraint, ids, pending, room):
        return Draft(self._rng.integers(0, VOCAB, min(room, 2)).tolist())

    def learn(self, accepted):
        pass


def write(kind, seed, **options):
    sampling = replace(SAMPLING, seed=seed)
    ids, _ = drain(kind(Markov(), [0], Limits((), TOKENS, 99), constraint=Odd(), choose=sampler(sampling), **options))
    return tuple(ids)


def filtered(logits, allowed, sampling):
    """The distribution by the words of `Sampling`, in plain Python: {token: probability}."""
    left = sorted(np.flatnonzero(allowed).tolist(), key=lambda token: (-logits[token], token))
    left = left[: sampling.top_k or None]
    best = max(float(logits[token]) for token in left)
    weights = {token: float(np.exp((float(logits[token]) - best) / sampling.temperature)) for token in left}
    kept, total = {}, 0.0
    for token in left:
        if total < sampling.top_p * sum(weights.values()) or not kept:
            kept[token] = weights[token]
        total += weights[token]
    kept = {token: weight for token, weight in kept.items() if weight >= sampling.min_p}
    return {token: weight / sum(kept.values()) for token, weight in kept.items()}


def analytic():
    """The probability of every answer."""
    answers = {(): 1.0}
    for place in range(TOKENS):
        allowed = np.arange(VOCAB) < (5 if place % 2 else 4)
        answers = {
            (*answer, token): probability * share
            for answer, probability in answers.items()
            for token, share in filtered(LOGITS[answer[-1] if answer else 0], allowed, SAMPLING).items()
        }
    return answers


def assert_drawn_from(counts, expected):
    """Pearson's chi-square test at p = 0.001; answers that are too rare for it are taken together."""
    assert counts.keys() <= expected.keys()
    common = {answer for answer, count in expected.items() if count >= 5}
    pairs = [(counts[answer], expected[answer]) for answer in common]
    rare = expected.keys() - common
    if rare:
        pairs.append((sum(counts[answer] for answer in rare), sum(expected[answer] for answer in rare)))
    degrees = len(pairs) - 1
    assert degrees > 10
    chi_square = sum((count - wanted) ** 2 / wanted for count, wanted in pairs)
    limit = degrees * (1 - 2 / (9 * degrees) + NORMAL_0_001 * (2 / (9 * degrees)) ** 0.5) ** 3
    assert chi_square < limit, (chi_square, limit, degrees)


@pytest.fixture(scope="module")
def drawn():
    """20,000 answers without drafts, by seed."""
    return [write(decode_naive, seed) for seed in range(DRAWS)]


def test_answers_are_drawn_with_the_probabilities_that_the_model_gives_them(drawn):
    """Draws of two places at once: were they not independent, pairs would be too frequent."""
    assert_drawn_from(Counter(drawn), {answer: DRAWS * share for answer, share in analytic().items()})


def test_drafts_change_neither_the_distribution_nor_any_answer(drawn):
    """Drawn again where a draft is refused, the tokens that are guessed would come too often.

    Other seeds for the distribution, so that it is one more sample and no copy of the first.
    """
    other = Counter(write(decode, seed, drafter=Guesses(seed)) for seed in range(DRAWS, 2 * DRAWS))
    assert_drawn_from(other, {answer: DRAWS * share for answer, share in analytic().items()})
    for seed in range(0, DRAWS, 10):
        assert write(decode, seed, drafter=Guesses(seed)) == drawn[seed]


def test_the_test_sees_a_wrong_distribution(drawn):
    """A wider bound would let everything through: a tenth of one answer moved to another is too much."""
    expected = {answer: DRAWS * share for answer, share in analytic().items()}
    likely, other = sorted(expected, key=expected.get)[-2:]
    counts = Counter(drawn)
    moved = int(0.1 * counts[likely])
    counts[likely] -= moved
    counts[other] += moved
    with pytest.raises(AssertionError):
        assert_drawn_from(counts, expected)


def draw(logits, sampling=None, constraint=None, position=0, **values):
    return sampler(sampling or Sampling(**values))(np.asarray(logits, np.float32), constraint or Free(), position)


class Masked:
    """Allows what ``allowed`` says."""

    def __init__(self, allowed):
        self._allowed = np.asarray(allowed, np.bool_)

    def forced(self):
        return ()

    def allows(self, token):
        return bool(self._allowed[token])

    def mask(self, size):
        return self._allowed[:size]


logits_and_masks = arrays(np.float32, 12, elements=st.floats(-50, 50, width=32)).flatmap(
    lambda logits: st.tuples(st.just(logits), st.lists(st.booleans(), min_size=12, max_size=12).filter(any))
)
shares = st.floats(0, 1)
temperatures = st.floats(0.05, 5)
# Coarse, so that many are equal.
coarse = arrays(np.float32, 12, elements=st.integers(-3, 3).map(float)).map(lambda logits: (logits, [True] * 12))
cases = st.one_of(logits_and_masks, coarse)


@given(case=cases, temperature=temperatures, k=st.integers(0, 14), p=shares, m=shares, seed=st.integers(0, 1 << 63))
def test_only_what_the_filters_leave_is_drawn(case, temperature, k, p, m, seed):
    """By the filters in plain Python; at the very edge of one, where sums are rounded, either is right."""
    logits, allowed = case
    sampling = Sampling(temperature, k, p, m, seed)
    edges = [Sampling(temperature, k, min(p + 1e-9, 1), max(m - 1e-9, 0)), sampling]
    possible = set().union(*(filtered(logits, np.array(allowed), edge) for edge in edges))
    for position in range(4):
        assert draw(logits, sampling, Masked(allowed), position) in possible


@pytest.mark.parametrize("values", [{"top_k": 1}, {"top_p": 0.0}, {"temperature": 1e-6}, {"temperature": 5e-324}])
@given(case=cases, seed=st.integers(0, 1 << 63))
@example(case=(np.array([3, 7, 7, -1] + [0] * 8, np.float32), [True] * 12), seed=1)
def test_filters_at_their_ends_are_greedy(values, case, seed):
    """The first of equals too, which a sort from the end would turn around. Temperatures of nearly 0 overflow."""
    logits, allowed = case
    if "temperature" in values:
        # Of equals, and of what the temperature does not tell apart, either is right.
        best = np.sort(logits[np.array(allowed)])[::-1]
        assume(len(best) == 1 or best[0] - best[1] > 1e-3)
    values = {"top_p": 1.0, **values}
    assert draw(logits, Sampling(**values, seed=seed), Masked(allowed)) == greedy(logits, Masked(allowed))


@given(case=cases, temperature=temperatures, seed=st.integers(0, 1 << 63))
def test_min_p_of_one_keeps_the_likeliest_and_its_equals(case, temperature, seed):
    logits, allowed = case
    best = logits[np.array(allowed)].max()
    # By weights: what differs by less than their precision is equal.
    near = {token for token in np.flatnonzero(allowed) if best - logits[token] < 1e-12 * temperature}
    drawn = {
        draw(logits, Sampling(temperature, 0, 1.0, 1.0, seed), Masked(allowed), position) for position in range(60)
    }
    assert drawn <= near
    assert len(near) == 1 or len(near) > 6 or drawn == near


def test_everything_is_drawn_where_nothing_is_filtered():
    """top_p of 1 and top_k of 0 are all tokens, the last and least of them too."""
    sampling = Sampling(temperature=100, top_k=0, top_p=1.0, min_p=0.0)
    assert {draw(np.arange(6), sampling, position=place) for place in range(300)} == set(range(6))


def test_a_draw_depends_on_seed_stream_and_position_and_nothing_else():
    """Were it to depend on the draws before it, drafts would change answers."""
    logits = np.zeros(1000, np.float32)

    def drawn(seed, stream):
        choose = sampler(Sampling(1.0, 0, 1.0, 0.0, seed), stream)
        return [choose(logits, Free(), position) for position in range(20)]

    assert drawn(7, 0) == drawn(7, 0)
    choose = sampler(Sampling(1.0, 0, 1.0, 0.0, 7))
    assert [choose(logits, Free(), position) for position in reversed(range(20))] == drawn(7, 0)[::-1]
    found = [drawn(seed, stream) for seed in (0, 1, 7, 2**32, 2**64 - 1) for stream in (0, 1, 2)]
    assert len(set(map(tuple, found))) == len(found)


@pytest.mark.parametrize(
    ("name", "values"),
    {
        "temperature": (0, -1, 101, float("nan"), float("inf")),
        "top_k": (-1,),
        "top_p": (-0.1, 1.1, float("nan")),
        "min_p": (-0.1, 1.1, float("nan")),
        "seed": (-1, 1 << 64),
    }.items(),
)
def test_values_out_of_range_are_refused_by_name(name, values):
    for value in values:
        with pytest.raises(UsageError, match=f"^{name} is .*must be"):
            Sampling(**{name: value})
