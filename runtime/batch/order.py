"""In which order lines are written: as they come, or as their rows stand in the input."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

_T = TypeVar("_T")


class AsTheyCome(Generic[_T]):
    """No order: what is settled goes on at once."""

    def expect(self, number: int) -> None:
        """The row ``number`` is taken up."""

    def settle(self, number: int, thing: _T) -> Iterator[tuple[int, _T]]:
        """What can be written now that the row ``number`` is settled: its ``thing``."""
        yield number, thing


class AsInInput(AsTheyCome[_T]):
    """The order in which rows are taken up. What is settled waits for the slowest row before it."""

    def __init__(self) -> None:
        self._expected: deque[int] = deque()
        self._settled: dict[int, _T] = {}

    def expect(self, number: int) -> None:
        """The row ``number`` is taken up."""
        self._expected.append(number)

    def settle(self, number: int, thing: _T) -> Iterator[tuple[int, _T]]:
        """What can be written now that the row ``number`` is settled: all from the first on that are."""
        self._settled[number] = thing
        while self._expected and self._expected[0] in self._settled:
            first = self._expected.popleft()
            yield first, self._settled.pop(first)
