"""From a question to its solution: prompt, decode, parse, execute."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from msgspec import Struct

from .agreement import Agreement, compare_known_answer
from .bundle import Bundle
from .decode import Decode, Start, Stop, decode_greedy
from .errors import BundleError, DaggerEdgeError, ProviderError, UsageError
from .graph import Graph, GraphError, Node, Result, execute
from .graph.schema import GraphWarning
from .ort import PROVIDERS, Provider
from .prompt import Prompt
from .session import Session

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# As the model card's quickstart.
MAX_NEW_TOKENS = 1024
_STOPPED: dict[Stop, str] = {
    "stop": "",
    "max_new_tokens": ", cut off at the limit of new tokens",
    "context": ", cut off at the end of the model's context",
}


class Timings(Struct, frozen=True):
    """Where one answer's time went, in seconds, and its tokens.

    Attributes:
        ttft_s: the time to the first token: tokenising and prefill.
        decode_s: the rest of the decoding.
        prompt_tokens: those of the whole prompt, template and question.
        new_tokens: those that the model wrote.
        prefix_tokens: those of the prompt that were not read, since the bundle holds their state.
    """

    ttft_s: float
    decode_s: float
    prompt_tokens: int
    new_tokens: int
    prefix_tokens: int = 0


class Solution(Struct, frozen=True, kw_only=True):
    """An answered question.

    Attributes:
        question: as it was asked, without white space around it.
        answer: that of ``result``, an int where it is integral.
        graph: what the model wrote, read strictly.
        result: what running it gave.
        text: the model's output, as it came.
        timings: in seconds and tokens.
    """

    question: str
    answer: int | float
    graph: Graph
    result: Result
    text: str
    timings: Timings

    @property
    def distractors(self) -> tuple[Node, ...]:
        """The nodes that the model marked as not needed."""
        return tuple(node for node in self.graph.nodes if node.distractor)

    @property
    def warnings(self) -> tuple[GraphWarning, ...]:
        """What a caller should know about the graph and its run: those of ``result``."""
        return self.result.warnings


class NoAnswerError(DaggerEdgeError):
    """The model wrote something that is no graph, or a graph that cannot be executed (exit code 1).

    Attributes:
        text: the model's output, as it came.
        timings: in seconds and tokens, as of a solution.
    """

    def __init__(self, message: str, text: str, timings: Timings) -> None:
        super().__init__(message)
        self.text = text
        self.timings = timings

    def __reduce__(self) -> tuple[type[Self], tuple[str, str, Timings]]:
        return type(self), (str(self), self.text, self.timings)


class Solver:
    """Answers questions with one bundle.

        with Solver.open("bundle/") as solver:
            solution = solver.solve("রহিমের কাছে ৫টি আম আছে। ...")

    Not safe for concurrent use: one solver a thread.

    Attributes:
        bundle: the bundle that was opened.
    """

    def __init__(self, bundle: Bundle, session: Session, tokenizer: Tokenizer) -> None:
        self.bundle = bundle
        self._session: Session | None = session
        self._tokenizer = tokenizer
        self._prompt = Prompt(tokenizer, bundle.prompt_template)
        self._snapshot = bundle.snapshot(self._prompt.prefix_ids)
        _check_agreement(bundle, session, tokenizer)

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
            verify: compare every file's sha256 with the manifest's.

        Raises:
            BundleError: the bundle is missing, altered, or cannot be loaded.
            ProviderError: onnxruntime or the provider is not to be had, or the bundle is not made for the provider.
        """
        opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle, verify=verify)
        _check_provider(opened, provider)
        tokenizer = _load_tokenizer(opened.tokenizer_path)
        session = Session(opened.model_path, provider=provider, threads=threads)
        return cls(opened, session, tokenizer)

    def solve(self, question: str, *, max_new_tokens: int = MAX_NEW_TOKENS) -> Solution:
        """The answer to ``question``, decoded greedily as in the model card's quickstart.

        Args:
            question: a word problem in Bengali.
            max_new_tokens: where to stop a model that does not stop by itself, in tokens.

        Raises:
            UsageError: the question is empty or too long, or the solver is closed.
            NoAnswerError: the model's output is not one well-formed graph, or its execution failed.
            ModelError: the model returned logits that are not finite.
        """
        text, stop, timings = self._generate(question, max_new_tokens)
        try:
            graph = Graph.parse(text)
            result = execute(graph)
        except GraphError as error:
            raise NoAnswerError(f"the model gave no usable graph{_STOPPED[stop]}: {error}", text, timings) from error
        return Solution(
            question=question.strip(),
            answer=result.answer,
            graph=graph,
            result=result,
            text=text,
            timings=timings,
        )

    def check_known_answer(self) -> Agreement | None:
        """Compares what the model says here with what it said where it was exported; None where no such answer is in
        the bundle. It takes as long as a prompt and sixteen tokens.

        Raises:
            BundleError: tokenizer or model say something else here.
        """
        if self._session is None:
            raise UsageError("this solver is closed: open another one")
        known = self.bundle.known_answer()
        if known is None:
            return None
        if tuple(self._prompt.encode(known.question)) != known.prompt_ids:
            raise BundleError(
                f"bundle {self.bundle.path}: the tokenizer makes other ids of the known question than at export;"
                " another version of tokenizers may help, else export it again"
            )
        # As it was made: quantised layers read the beginning a little otherwise than the snapshot has it.
        start = self._start(self._session, known.prompt_ids) if known.prefix_tokens else None
        try:
            return compare_known_answer(self._session, known, start)
        except BundleError as error:
            raise BundleError(f"bundle {self.bundle.path}: {error}") from None

    def close(self) -> None:
        """Lets the model go. A closed solver answers nothing more."""
        self._session = self._snapshot = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, session: Session, prompt: Sequence[int]) -> Start | None:
        return None if self._snapshot is None else self._snapshot.start(session, prompt)

    def _generate(self, question: str, max_new_tokens: int) -> tuple[str, Stop, Timings]:
        if self._session is None:
            raise UsageError("this solver is closed: open another one")
        manifest = self.bundle.manifest
        started = time.perf_counter()
        prompt = self._prompt.encode(question)
        start = self._start(self._session, prompt)
        decode = decode_greedy(
            self._session,
            prompt,
            stop_ids=manifest.special_ids.stop,
            max_new_tokens=max_new_tokens,
            context=manifest.architecture.context_length,
            start=start,
        )
        ids, stop, first = _drain(decode)
        timings = Timings(
            ttft_s=first - started,
            decode_s=time.perf_counter() - first,
            prompt_tokens=len(prompt),
            new_tokens=len(ids),
            prefix_tokens=0 if start is None else start.length,
        )
        return self._tokenizer.decode(ids, skip_special_tokens=False), stop, timings


def _drain(decode: Decode) -> tuple[list[int], Stop, float]:
    """All ids of ``decode``, why it ended, and when its first step was done (on `time.perf_counter`)."""
    ids: list[int] = []
    first = 0.0
    while True:
        try:
            token = next(decode)
        except StopIteration as end:
            return ids, end.value, first or time.perf_counter()
        first = first or time.perf_counter()
        ids.append(token)


def demo(*, provider: Provider = "cpu", threads: int | None = None) -> Solver:
    """A solver over the small model that ships inside the package. It shows the pipeline; it is no DAGGER model.

    Args and errors as of `Solver.open`.
    """
    return Solver.open(demo_bundle(), provider=provider, threads=threads)


def demo_bundle() -> Path:
    """The folder of the bundle inside the package."""
    return Path(str(resources.files("dagger_edge"))) / "bundles" / "demo"


def _check_provider(bundle: Bundle, provider: Provider) -> None:
    """Refuses a provider that would leave parts of the graph to the CPU; unknown ones are left to `Session`."""
    made_for = bundle.manifest.made_for
    if provider in PROVIDERS and provider not in made_for:
        raise ProviderError(
            f"bundle {bundle.path}: its graph is made for {' and '.join(made_for)}, {PROVIDERS[provider]} lacks kernels"
            " for it; export the checkpoint with --precision fp16 for CUDA, or use --provider cpu"
        )


def _check_agreement(bundle: Bundle, session: Session, tokenizer: Tokenizer) -> None:
    """Refuses a bundle whose manifest, graph and tokenizer are of different models."""
    shape, ids = bundle.manifest.architecture, bundle.manifest.special_ids
    if session.cache_shape != (shape.num_layers, shape.num_kv_heads, shape.head_dim):
        raise BundleError(f"bundle {bundle.path}: the model's cache is not the manifest's; export it again")
    for name in ("bos", "start_of_turn", "end_of_turn"):
        if tokenizer.token_to_id(f"<{name}>") != getattr(ids, name):
            raise BundleError(f"bundle {bundle.path}: the tokenizer's <{name}> is not the manifest's; export it again")


def _load_tokenizer(path: Path) -> Tokenizer:
    # tokenizers brings huggingface-hub along; it is never imported.
    from tokenizers import Tokenizer

    try:
        tokenizer: Tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise BundleError(f"{path}: not a usable tokenizer ({error}); export the bundle again") from None
    return tokenizer
