"""The operator that answers questions with a bundle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..bundle import Bundle
from ..errors import ModelError, UsageError
from ..options import DecodeOptions
from ..ort import Provider
from ..prompt import clean_question
from ..solution import NoAnswerError, Solution
from ..solver import Solver
from ..vote import Vote
from .work import Operator, RowFailedError


@dataclass(frozen=True, slots=True)
class Solve:
    """Rows are questions; the result of one is what `dagger-edge solve --json` prints.

    Attributes:
        bundle, provider, threads, verify: as of `Solver.open`.
        options: how to decode.
        samples: graphs of a vote; None: one graph, and no vote.
    """

    bundle: Path
    provider: Provider = "cpu"
    threads: int | None = None
    verify: bool = True
    options: DecodeOptions = DecodeOptions()  # noqa: RUF009 (it is frozen)
    samples: int | None = None

    @contextmanager
    def open(self) -> Iterator[Operator]:
        """The operator. Raises as `Solver.open`."""
        with Solver.open(self.bundle, provider=self.provider, threads=self.threads, verify=self.verify) as solver:
            yield lambda question: self._answer(solver, question)

    def fingerprint(self) -> dict[str, Any]:
        """What a result depends on, by the names of options. A bundle is what its files are, wherever they lie.

        Raises:
            BundleError: it is none.
        """
        files = Bundle.open(self.bundle, verify=False).manifest.files
        sampling = self.options.sampling
        return {
            "bundle": sha256(repr(sorted((name, file.sha256) for name, file in files.items())).encode()).hexdigest(),
            "max_new_tokens": self.options.max_new_tokens,
            "grammar": self.options.grammar,
            "samples": self.samples,
            "sampling": None if sampling is None else asdict(sampling),
        }

    def _answer(self, solver: Solver, question: str) -> Solution | Vote:
        try:
            text = clean_question(question)
            return self._solve(solver, text)
        except UsageError as error:
            raise RowFailedError("bad_question", str(error)) from None
        except NoAnswerError as error:
            raise RowFailedError("no_answer", str(error)) from None
        except ModelError as error:
            raise RowFailedError("model", str(error)) from None

    def _solve(self, solver: Solver, question: str) -> Solution | Vote:
        if self.samples is None:
            return solver.solve(question, self.options)
        return solver.vote(question, self.samples, self.options)
