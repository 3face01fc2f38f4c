"""Drafts: ids that may come next, guessed without the model, and how many of them are worth a step's time.

Sources are the structure of graphs (`structure_guess`) and prompt lookup: what followed the last few ids when they
last occurred in prompt or answer (github.com/apoorvumang/prompt-lookup-decoding). Each source's success is counted by
the kind of place, and a guess is read along where what it saves, times its probability, is more than what it costs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from .cost import StepCost
from .decode import Constraint, Draft
from .structure_guess import StructureGuess

# Ids that a lookup matches, longest first.
_GRAMS = (3, 2, 1)
# As how many tries a prior counts, and the prior of places that were never tried.
_WEIGHT, _PRIOR = 4.0, 0.5
_PRIORS = {
    **{"id": 0.9, "final": 0.7, "val": 0.7, "flag": 0.95, "op const": 0.8, "op identity": 0.9, "last label": 0.9},
    **{"lookup 3": 0.8, "lookup 2": 0.5, "lookup 1": 0.3},
}
# Later ids of a guess are nearly always right where the first one is.
_LATER, _PRIOR_LATER = " on", 0.9
# Longer drafts are never right as a whole.
_LONGEST = 32


class Record:
    """How often guesses were right, by the place that they were made at."""

    def __init__(self) -> None:
        self._tries: Counter[str] = Counter()
        self._hits: Counter[str] = Counter()

    def probability(self, place: str) -> float:
        """That a guess at ``place`` is right; 1 where nothing was guessed."""
        if not place:
            return 1.0
        prior = _PRIORS.get(place, _PRIOR_LATER if place.endswith(_LATER) else _PRIOR)
        return (self._hits[place] + _WEIGHT * prior) / (self._tries[place] + _WEIGHT)

    def note(self, place: str, *, right: bool) -> None:
        """Counts one guess."""
        self._tries[place] += 1
        self._hits[place] += right


class _Drafted(NamedTuple):
    """An id of a draft, and the place that it was guessed at; "" where the grammar forced it."""

    token: int
    place: str


class _Place(NamedTuple):
    """What is known of a place of a draft: its id, where there is one, and whether it is forced, or one of the core."""

    item: _Drafted | None
    forced: bool
    core: bool


class GraphDrafter:
    """Guesses for the answer to one question: a `decode.Drafter`.

    Args:
        question: its text.
        encode: text to ids.
        cost: of steps.
        record: shared by the questions of a solver.
        text: what a constraint has written; None for one that knows no text, where lookups alone guess.
    """

    def __init__(
        self,
        question: str,
        encode: Callable[[str], list[int]],
        cost: StepCost,
        record: Record,
        text: Callable[[Constraint], str] | None,
    ) -> None:
        self._structure = StructureGuess(question)
        self._encode, self._cost, self._record, self._text = encode, cost, record, text
        self._lookup = _Lookup()
        self._draft: list[_Drafted] = []

    def guess(self, constraint: Constraint, ids: Sequence[int], pending: int, room: int) -> Draft:
        """See `decode.Drafter`."""
        self._lookup.extend(ids)
        draft, seen = list[_Drafted](), list[_Place]()
        probability, value, best, length = 1.0, 0.0, 0.0, 0
        for place in self._places(constraint.fork(), draft):
            seen.append(place)
            item = place.item
            if item is None or len(draft) == min(room, _LONGEST):
                break
            size = pending + len(draft)
            share = self._cost.of(size + 1) - self._cost.of(size)
            saved = self._cost.of(1) - share
            probability *= self._record.probability(item.place)
            if probability * saved < (1 - probability) * share:
                break
            draft.append(item)
            # A right guess saves a step; a wrong id, guessed or forced after a wrong guess, costs its share.
            value += (probability * saved if item.place else 0.0) - (1 - probability) * share
            if item.place and value > best:
                best, length = value, len(draft)
        self._draft = draft[:length]
        forced = [index for index, place in enumerate(seen[: length + 1]) if place.forced]
        core = [index for index, place in enumerate(seen[: length + 1]) if place.core]
        return Draft([item.token for item in self._draft], forced, core)

    def learn(self, accepted: int) -> None:
        """See `decode.Drafter`."""
        for index, item in enumerate(self._draft[: accepted + 1]):
            if item.place:
                self._record.note(item.place, right=index < accepted)

    def _places(self, fork: Constraint, draft: Sequence[_Drafted]) -> Iterator[_Place]:
        """Places one by one, up to the first without a guess; ``draft`` holds the ids that were taken."""
        queue: Iterator[_Drafted] = iter(())
        while not fork.finished:
            if forced := fork.forced():
                item: _Drafted | None = _Drafted(forced[0], "")
                queue = iter(())
            else:
                item = next(queue, None)
                if item is None or not fork.allows(item.token):
                    queue, item = self._start(fork, draft)
            yield _Place(item, bool(forced), fork.core_only)
            if item is None:
                return
            fork.accept(item.token)
        # Nothing comes after the end: there is nothing to choose.
        yield _Place(None, forced=True, core=True)

    def _start(self, fork: Constraint, draft: Sequence[_Drafted]) -> tuple[Iterator[_Drafted], _Drafted | None]:
        """The first guess that is allowed, and what comes after it."""
        for queue in (self._from_structure(fork), self._lookup.after([item.token for item in draft])):
            item = next(queue, None)
            if item is not None and fork.allows(item.token):
                return queue, item
        return iter(()), None

    def _from_structure(self, fork: Constraint) -> Iterator[_Drafted]:
        guess = self._structure.after(self._text(fork)) if self._text else None
        if guess is not None:
            for index, token in enumerate(self._encode(guess.text)):
                yield _Drafted(token, guess.place + (_LATER if index else ""))


class _Lookup:
    """Ids so far, and where each run of a few of them last was."""

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._ends: dict[tuple[int, ...], int] = {}

    def extend(self, ids: Sequence[int]) -> None:
        """Adds what ``ids`` has more than before."""
        for token in ids[len(self._ids) :]:
            # A run is entered when an id follows it, so that the last ids do not find themselves.
            for size in _GRAMS:
                if len(self._ids) >= size:
                    self._ends[tuple(self._ids[-size:])] = len(self._ids)
            self._ids.append(token)

    def after(self, draft: Sequence[int]) -> Iterator[_Drafted]:
        """What followed where the last ids, ``draft`` included, last occurred."""
        last = [*self._ids[-_GRAMS[0] :], *draft][-_GRAMS[0] :]
        for size in _GRAMS:
            end = self._ends.get(tuple(last[-size:]))
            if len(last) >= size and end is not None:
                for index, token in enumerate(self._ids[end:]):
                    yield _Drafted(token, f"lookup {size}" + (_LATER if index else ""))
                return
