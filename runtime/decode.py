"""The decode loop over token ids, and the slow way that it is held against.

Knows nothing of text. A decode is a generator: one step of the model, one ``yield``; closing it stops the work.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from typing import Literal, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from .errors import ModelError, UsageError
from .logits import LAST, Logits, Positions

# Why a decode ended: a stop token or the end of the grammar, the limit on new tokens, or the end of the context.
Stop = Literal["stop", "max_new_tokens", "context"]


class Emitted(NamedTuple):
    """New ids, and of how many ids the step was that they came from; 0 for those that the grammar forced."""

    ids: list[int]
    step: int


Decode = Generator[Emitted, None, Stop]


class Reader(Protocol):
    """What decoding needs of a model and its cache: `context.Context`, or a fake of a few lines in a test."""

    @property
    def length(self) -> int:
        """How many ids were read."""

    def feed(self, ids: Sequence[int], at: Positions = LAST, core: Collection[int] = ()) -> Logits:
        """Reads ``ids``; logits [len(at), vocab] after those of them that are ``at`` these positions; at those in
        ``core``, those of tokens beyond the core (`logits`) need not be right."""

    def rewind(self, length: int) -> None:
        """Forgets all but the first ``length`` ids."""


class Constraint(Protocol):
    """What may be written, token by token: a grammar, or `Free`."""

    @property
    def finished(self) -> bool:
        """Whether nothing may come any more."""

    @property
    def core_only(self) -> bool:
        """Whether the logits of core tokens are enough to choose what comes next."""

    def forced(self) -> Sequence[int]:
        """The ids that come next whatever the model says; there may be none."""

    def allows(self, token: int) -> bool:
        """Whether ``token`` may come next."""

    def mask(self, size: int) -> NDArray[np.bool_]:
        """Which of the tokens below ``size`` may come next, [size]."""

    def accept(self, token: int) -> None:
        """Writes ``token``, which may come next."""

    def fork(self) -> Self:
        """A copy that goes its own way."""


class Free:
    """Allows everything."""

    finished = False
    core_only = False

    def forced(self) -> Sequence[int]:
        return ()

    def allows(self, token: int) -> bool:  # noqa: ARG002
        return True

    def mask(self, size: int) -> NDArray[np.bool_]:
        return np.ones(size, np.bool_)

    def accept(self, token: int) -> None:
        pass

    def fork(self) -> Self:
        return self


# The next token by logits [vocab], the constraint, and how many tokens there are already.
Choose = Callable[[Logits, Constraint, int], int]


class Draft(NamedTuple):
    """Ids that may come next, and what is known of places among them if those before are right: 0 is the first id's,
    ``len(ids)`` that of the id after the last.

    Attributes:
        ids: the guesses.
        forced: places where there is no choice; what the model says there is not computed.
        core: places where the logits of core tokens are enough.
    """

    ids: Sequence[int]
    forced: Collection[int] = ()
    core: Collection[int] = ()


class Drafter(Protocol):
    """Guesses what comes next, so that one step can read several tokens."""

    def guess(self, constraint: Constraint, ids: Sequence[int], pending: int, room: int) -> Draft:
        """What may come after ``ids`` (prompt and answer so far), with what is forced.

        ``pending`` of ``ids`` are read in the same step anyway; ``room`` ids may be guessed at most. ``constraint`` is
        left as it is.
        """

    def learn(self, accepted: int) -> None:
        """So many ids of the last guess were right."""


class NoDrafts:
    """Guesses nothing."""

    def guess(self, constraint: Constraint, ids: Sequence[int], pending: int, room: int) -> Draft:  # noqa: ARG002
        return Draft([])

    def learn(self, accepted: int) -> None:
        pass


class Limits(NamedTuple):
    """When a decode ends: at an id of ``stop_ids`` (which is not emitted), after ``max_new_tokens``, or when prompt and
    answer fill ``context`` positions."""

    stop_ids: Collection[int]
    max_new_tokens: int
    context: int

    def room(self, prompt: int) -> int:
        """How many tokens may come after a prompt of so many.

        Raises:
            UsageError: none, with the numbers.
        """
        if self.max_new_tokens < 1:
            raise UsageError(f"max_new_tokens is {self.max_new_tokens}: it must be 1 or more")
        if prompt >= self.context:
            raise UsageError(
                f"the question makes a prompt of {prompt:,} tokens, the model's context is {self.context:,}: shorten it"
            )
        return min(self.max_new_tokens, self.context - prompt)


def greedy(logits: Logits, constraint: Constraint, position: int = 0) -> int:  # noqa: ARG001
    """The allowed token with the largest logit of ``logits`` [vocab], the first of equals: a `Choose`.

    Raises:
        ModelError: a logit is NaN or infinite.
    """
    check_finite(logits)
    token = int(logits.argmax())
    # Most of the time it is allowed, and the mask, which costs more than a step of a small model, is not needed.
    if constraint.allows(token):
        return token
    return int(np.where(constraint.mask(len(logits)), logits, -np.inf).argmax())


def check_finite(logits: Logits) -> None:
    """Raises ModelError where a logit is NaN or infinite."""
    if not np.isfinite(logits).all():
        raise ModelError("the model returned logits that are not finite: verify the bundle, or export it again")


def decode(
    model: Reader,
    prompt: Sequence[int],
    limits: Limits,
    *,
    constraint: Constraint | None = None,
    choose: Choose = greedy,
    drafter: Drafter | None = None,
) -> Decode:
    """Yields new tokens, step by step.

    The ids are those of `decode_naive`, whatever is drafted: tokens that are forced are taken without asking the model,
    tokens that are guessed are read together with what is pending, and stay as far as they are what ``choose`` chooses
    (arXiv 2211.17192 for a drafter that is always sure; where ``choose`` draws, it has to draw by the position alone).

    Args:
        model: what was read of ``prompt`` stays read; at least its last id must not be.
        prompt: all its ids.
        limits: when to end.
        constraint: what may be written; None is everything.
        choose: the next token.
        drafter: guesses; None guesses nothing.

    Raises:
        UsageError: the limits leave no room for a single new token.
        ModelError: the logits are not finite.
    """
    constraint, drafter = constraint or Free(), drafter or NoDrafts()
    room = limits.room(len(prompt))
    ids = list(prompt)
    while True:
        forced = take_forced(constraint, room)
        if forced:
            ids += forced
            room -= len(forced)
            yield Emitted(forced, 0)
        if constraint.finished:
            return "stop"
        if room == 0:
            return "context" if len(ids) >= limits.context else "max_new_tokens"
        pending = ids[model.length :]
        draft = drafter.guess(constraint, ids, len(pending), room - 1)
        guesses = list(draft.ids[: room - 1])
        before = len(ids)
        core = {place for place in draft.core if place} | ({0} if constraint.core_only else set())
        rows = _ask(model, pending, guesses, draft.forced, core)
        stopped = False
        for place, guess in enumerate([*guesses, None]):
            if following := constraint.forced():
                token = following[0]
            elif place in rows and (place not in core or constraint.core_only):
                token = choose(rows[place], constraint, len(ids) - len(prompt))
            else:
                break
            if stopped := token in limits.stop_ids:
                break
            constraint.accept(token)
            ids.append(token)
            if token != guess or constraint.finished:
                break
        new = ids[before:]
        right = _common(new, guesses)
        drafter.learn(right)
        # The last token was not read, unless it was guessed; then it is read again if the model was not asked after it.
        model.rewind(min(before + right, len(ids) - 1))
        room -= len(new)
        if new:
            yield Emitted(new, len(pending) + len(guesses))
        if stopped:
            return "stop"


def decode_naive(
    model: Reader,
    prompt: Sequence[int],
    limits: Limits,
    *,
    constraint: Constraint | None = None,
    choose: Choose = greedy,
) -> Decode:
    """`decode` by one token a step, each of which reads again all that ``model`` had not read at first. The oracle."""
    constraint = constraint or Free()
    room, begin = limits.room(len(prompt)), model.length
    ids = list(prompt)
    for _ in range(room):
        model.rewind(begin)
        logits = model.feed(ids[begin:])
        token = choose(logits[-1], constraint, len(ids) - len(prompt))
        if token in limits.stop_ids:
            return "stop"
        constraint.accept(token)
        ids.append(token)
        yield Emitted([token], len(ids) - begin - 1)
        if constraint.finished:
            return "stop"
    return "context" if len(ids) >= limits.context else "max_new_tokens"


def drain(decoding: Decode) -> tuple[list[int], Stop]:
    """All ids of ``decoding``, and why it ended."""
    ids: list[int] = []
    while True:
        try:
            ids += next(decoding).ids
        except StopIteration as end:
            return ids, end.value


def take_forced(constraint: Constraint, room: int) -> list[int]:
    """Writes what is forced, as long as there is room."""
    taken: list[int] = []
    while len(taken) < room and not constraint.finished and (forced := constraint.forced()):
        token = forced[0]
        constraint.accept(token)
        taken.append(token)
    return taken


def next_token(logits: Logits, constraint: Constraint, choose: Choose, position: int) -> int:
    """The token that is forced, or the one that ``choose`` chooses."""
    forced = constraint.forced()
    return forced[0] if forced else choose(logits, constraint, position)


def _ask(
    model: Reader, pending: Sequence[int], guesses: Sequence[int], forced: Collection[int], core: Collection[int]
) -> dict[int, Logits]:
    """Reads both; the logits [vocab] at each place of `Draft` that is not forced. The first, behind `take_forced`,
    never is."""
    places = [0, *(place for place in range(1, len(guesses) + 1) if place not in forced)]
    end = len(guesses) + 1
    found = model.feed([*pending, *guesses], [place - end for place in places], {place - end for place in core})
    return dict(zip(places, found, strict=True))


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many ids both begin with."""
    differ = (index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differ, min(len(one), len(other)))
