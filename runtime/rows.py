"""Several answers to one prompt, decoded as the rows of a batch: one token a row and step.

Every weight is read once for all rows, which is most of what a step of one token costs. Guessing ahead is for single
answers: onnxruntime's GroupQueryAttention takes several ids behind a cache for one row only.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

from .context import Context
from .decode import Choose, Constraint, Limits, Stop, next_token, take_forced
from .logits import Logits


@dataclass(slots=True)
class Row:
    """One answer: what it is held to, how its tokens are chosen; its ids so far, and why it ended."""

    constraint: Constraint
    choose: Choose
    ids: list[int] = field(default_factory=list)
    stop: Stop | None = None
    # How many of its ids the model has read.
    read: int = 0

    @property
    def core_only(self) -> bool:
        """Whether the logits of core tokens are enough behind the id that is read next."""
        return self.read + 1 < len(self.ids) or self.constraint.core_only

    def go_on(self, limits: Limits, room: int) -> None:
        """Takes what is forced, and notes whether that was the end."""
        self.ids += take_forced(self.constraint, room - len(self.ids))
        if self.constraint.finished:
            self.stop = "stop"
        elif len(self.ids) == room:
            self.stop = "max_new_tokens" if room == limits.max_new_tokens else "context"

    def choose_next(self, logits: Logits, limits: Limits, room: int) -> None:
        """Takes the next token by ``logits`` [vocab], where all ids are read."""
        if self.read < len(self.ids):
            return
        token = next_token(logits, self.constraint, self.choose, len(self.ids))
        if token in limits.stop_ids:
            self.stop = "stop"
            return
        self.constraint.accept(token)
        self.ids.append(token)
        self.go_on(limits, room)


def decode_rows(
    context: Context, prompt: Sequence[int], limits: Limits, rows: Sequence[Row]
) -> Generator[int, None, None]:
    """Decodes all ``rows`` to their ends, and yields after every step how many are left.

    A row's ids are those of `decode.decode` with the same constraint and choice, but for the rounding of batches.

    Args:
        context: what was read of ``prompt`` stays read; one row of it is left in the end.
        prompt: all its ids.
        limits: when a row ends.
        rows: the answers, all of them new.

    Raises:
        UsageError: the limits leave no room for a single new token.
        ModelError: the logits are not finite.
    """
    room = limits.room(len(prompt))
    for row in rows:
        row.go_on(limits, room)
    # The opening is forced, and the same in all.
    shared = min(len(row.ids) for row in rows)
    logits = context.feed([*prompt[context.length :], *rows[0].ids[:shared]])
    active = [row for row in rows if row.stop is None]
    context.fork(len(active))
    for row in active:
        row.read = shared
        row.choose_next(logits[0], limits, room)
    while active := _leave(context, active):
        yield len(active)
        core = all(row.core_only for row in active)
        found = context.feed_rows([row.ids[row.read] for row in active], core=core)
        for row, logits_of_row in zip(active, found, strict=True):
            row.read += 1
            row.choose_next(logits_of_row, limits, room)
    context.drop(0)


def _leave(context: Context, active: list[Row]) -> list[Row]:
    """The rows that have not ended; the context's are moved as they are."""
    for index in reversed(range(len(active))):
        if active[index].stop is not None and len(active) > 1:
            context.drop(index)
            active[index] = active[-1]
            active.pop()
    return active if active[0].stop is None else []
