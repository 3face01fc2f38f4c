"""From a question to its solution: prompt, decode, read, execute."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from .agreement import Agreement, compare_known_answer
from .bundle import Bundle
from .cost import StepCost
from .engine import Engine
from .errors import BundleError, ProviderError, UsageError
from .events import Event, Solved
from .files import packaged_bundle
from .opening import open_parts
from .options import DecodeOptions
from .ort import PROVIDERS, Provider
from .session import Session
from .solution import Solution
from .vote import Vote, take_vote
from .writing import Writing

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from .byte_pairs import BytePairs
    from .spelling import Spelling


class Solver:
    """Answers questions with one bundle.

        with Solver.open("bundle/") as solver:
            solution = solver.solve("রহিমের কাছে ৫টি আম আছে। ...")

    Not safe for concurrent use: one solver a thread.

    Attributes:
        bundle: the bundle that was opened.
    """

    def __init__(
        self, bundle: Bundle, session: Session, tokenizer: Tokenizer | BytePairs, spelling: Spelling | None = None
    ) -> None:
        _check_agreement(bundle, session, tokenizer)
        self.bundle = bundle
        self._engine: Engine | None = Engine(bundle, session, tokenizer, spelling)

    @classmethod
    def open(
        cls,
        bundle: str | Path | Bundle,
        *,
        provider: Provider = "cpu",
        threads: int | None = None,
        verify: bool = True,
    ) -> Self:
        """Opens the bundle in the folder ``bundle``.

        Args:
            bundle: a folder that `dagger-edge export` made; or one that was opened already, and is not verified again.
            provider: ``cpu`` or ``cuda``.
            threads: of one operator; None leaves it to onnxruntime.
            verify: compare every file's sha256 with the manifest's; a file that was compared once is not read again
                until it changes (see `bundle`).

        Raises:
            BundleError: the bundle is missing, altered, or cannot be loaded.
            ProviderError: onnxruntime or the provider is not to be had, or the bundle is not made for the provider.
        """
        opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle, verify=verify, remember=True)
        _check_provider(opened, provider)
        return cls(opened, *open_parts(opened, provider=provider, threads=threads))

    def solve(self, question: str, options: DecodeOptions = DecodeOptions()) -> Solution:  # noqa: B008 (it is frozen)
        """The answer to ``question``: by default decoded greedily, as in the model card's quickstart, and held to the
        grammar of graphs.

        Args:
            question: a word problem in Bengali.
            options: how to decode.

        Raises:
            UsageError: the question is empty or too long, the limits leave no room, or the solver is closed.
            NoAnswerError: the graph cannot be executed; or, without the grammar, the output is no graph.
            ModelError: the model returned logits that are not finite.
        """
        *_, last = self.stream(question, options)
        assert isinstance(last, Solved)
        return last.solution

    def stream(
        self,
        question: str,
        options: DecodeOptions = DecodeOptions(),  # noqa: B008
    ) -> Generator[Event, None, None]:
        """`solve` while it happens: text as it is written, every node with its value as it closes, the solution.

        Closing the generator stops the model after its current step; the next question is not disturbed.
        """
        engine = self._opened()
        writing = Writing(question, engine, options)
        yield from writing.events()
        yield Solved(writing.solution())

    @property
    def engine(self) -> Engine:
        """What decodes; for those who measure it.

        Raises:
            UsageError: the solver is closed.
        """
        return self._opened()

    def vote(
        self,
        question: str,
        samples: int,
        options: DecodeOptions = DecodeOptions(),  # noqa: B008
        *,
        after_step: Callable[[], None] = lambda: None,
    ) -> Vote:
        """The answer that most of ``samples`` graphs have, each drawn for itself; see `vote.take_vote`.

        ``after_step`` is called after every step of the model; what it raises ends the vote, and the next question is
        not disturbed.

        Raises:
            UsageError: as of `solve`, or ``samples`` is out of range, or the options sample nothing.
            NoAnswerError: none of the graphs has an answer.
            ModelError: the model returned logits that are not finite.
        """
        return take_vote(self._opened(), question, samples, options, after_step)

    def measure_steps(self) -> StepCost:
        """Measures what steps of several tokens cost with this bundle here, and keeps it in the user's cache.

        By it is decided how much is guessed; where nothing is known yet, the first question measures it.
        """
        return self._opened().measure_steps()

    def check_known_answer(self) -> Agreement | None:
        """Compares what the model says here with what it said where it was exported; None where no such answer is in
        the bundle. It takes as long as a prompt and sixteen tokens.

        Raises:
            BundleError: tokenizer or model say something else here.
        """
        engine = self._opened()
        known = self.bundle.known_answer()
        if known is None:
            return None
        if tuple(engine.prompt.encode(known.question)) != known.prompt_ids:
            raise BundleError(
                f"bundle {self.bundle.path}: the tokenizer makes other ids of the known question than at export;"
                " another version of tokenizers may help, else export it again"
            )
        # As it was made: quantised layers read the beginning a little otherwise than the snapshot has it.
        snapshot = engine.snapshot if known.prefix_tokens else None
        start = None if snapshot is None else snapshot.start(engine.session, known.prompt_ids)
        try:
            return compare_known_answer(engine.session, known, start)
        except BundleError as error:
            raise BundleError(f"bundle {self.bundle.path}: {error}") from None

    def close(self) -> None:
        """Lets the model go. A closed solver answers nothing more."""
        self._engine = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self) -> Engine:
        if self._engine is None:
            raise UsageError("this solver is closed: open another one")
        return self._engine


def demo(*, provider: Provider = "cpu", threads: int | None = None) -> Solver:
    """A solver over the small model that ships inside the package. It shows the pipeline; it is no DAGGER model.

    Args and errors as of `Solver.open`.
    """
    return Solver.open(demo_bundle(), provider=provider, threads=threads)


def demo_bundle() -> Path:
    """The folder of the bundle inside the package."""
    return packaged_bundle()


def _check_provider(bundle: Bundle, provider: Provider) -> None:
    """Refuses a provider that would leave parts of the graph to the CPU; unknown ones are left to `Session`."""
    made_for = bundle.manifest.made_for
    if provider in PROVIDERS and provider not in made_for:
        raise ProviderError(
            f"bundle {bundle.path}: its graph is made for {' and '.join(made_for)}, {PROVIDERS[provider]} lacks kernels"
            " for it; export the checkpoint with --precision fp16 for CUDA, or use --provider cpu"
        )


def _check_agreement(bundle: Bundle, session: Session, tokenizer: Tokenizer | BytePairs) -> None:
    """Refuses a bundle whose manifest, graph and tokenizer are of different models."""
    shape, ids = bundle.manifest.architecture, bundle.manifest.special_ids
    if session.cache_shape != (shape.num_layers, shape.num_kv_heads, shape.head_dim):
        raise BundleError(f"bundle {bundle.path}: the model's cache is not the manifest's; export it again")
    for name in ("bos", "start_of_turn", "end_of_turn"):
        if tokenizer.token_to_id(f"<{name}>") != getattr(ids, name):
            raise BundleError(f"bundle {bundle.path}: the tokenizer's <{name}> is not the manifest's; export it again")
