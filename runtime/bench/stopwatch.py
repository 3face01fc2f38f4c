"""Times every run of a model, so that an answer's time can be told apart into the model's and everything else."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..logits import Logits
from ..session import Session


class Step(NamedTuple):
    """One run of the model: its seconds, its rows, and the tokens that it read of each."""

    seconds: float
    rows: int
    length: int


class Stopwatch:
    """Stands between a session and its model from now on.

    Args:
        session: what to watch.
        drag: by which share each run is made slower.

    Attributes:
        steps: the runs since it was last cleared.
    """

    def __init__(self, session: Session, drag: float = 0.0) -> None:
        self.steps: list[Step] = []
        self._run, self._drag = session.run_bound, drag
        # A session is opened as everybody opens it, and watched after that.
        session.run_bound = self._timed  # type: ignore[method-assign]

    def _timed(self, binding: Any, ids: NDArray[np.int64], *rest: Any, **named: Any) -> Logits:
        started = time.perf_counter()
        logits = self._run(binding, ids, *rest, **named)
        end = started + (time.perf_counter() - started) * (1 + self._drag)
        # Waiting busily, as a slower model would.
        while time.perf_counter() < end:
            pass
        self.steps.append(Step(time.perf_counter() - started, *ids.shape))
        return logits

    def after_prompt(self, tokens: int) -> list[Step]:
        """The runs after those that read the ``tokens`` of the prompt."""
        read = 0
        for index, step in enumerate(self.steps):
            read += step.length
            if read >= tokens:
                return self.steps[index + 1 :]
        return []
