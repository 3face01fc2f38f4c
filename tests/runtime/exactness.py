"""Whether decoding with everything on gives the ids of the naive loop, question by question, on a real model."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from dagger_edge.runtime.bundle import Bundle
from dagger_edge.runtime.context import Context
from dagger_edge.runtime.cost import DEFAULT
from dagger_edge.runtime.decode import Limits, decode, decode_naive
from dagger_edge.runtime.draft import GraphDrafter, Record
from dagger_edge.runtime.grammar import GraphGrammar
from dagger_edge.runtime.logits import LAST, Logits, Positions
from dagger_edge.runtime.prompt import Prompt
from dagger_edge.runtime.session import Session
from dagger_edge.runtime.spelling import Spelling

# Of two logits so near to each other, rounding decides.
TIE = 1e-4


@dataclass
class Answer:
    """Ids, why they ended, model steps, and seconds."""

    ids: list[int]
    stop: str
    steps: int
    seconds: float


class Noisy(Context):
    """A context whose logits are noise where they need not be right.

    Attributes:
        asked: positions that logits were asked for at.
        spared: those of them where the logits of ``core`` are enough.
    """

    def __init__(self, session: Session, limit: int, core: Sequence[int]) -> None:
        super().__init__(session, limit=limit)
        self._core, self._rng = list(core), np.random.default_rng(0)
        self.asked = self.spared = 0

    def feed(self, ids: Sequence[int], at: Positions = LAST, core: Collection[int] = ()) -> Logits:
        logits = super().feed(ids, at, core)
        spared = [row for row, position in enumerate(at) if position in core]
        right = logits[np.ix_(spared, self._core)]
        logits[spared] = self._rng.normal(0, 1e4, logits.shape[1])
        logits[np.ix_(spared, self._core)] = right
        self.asked += len(at)
        self.spared += len(spared)
        return logits


class Decoders:
    """Both ways to decode with one bundle: over the same prefix state, under the same grammar.

    Args:
        path: of the bundle.
        max_new_tokens: of an answer. The grammar's budget is ``budget``, so that a smaller limit cuts graphs off, and
            does not make them other ones.
        core: tokens whose logits are to be enough where nothing else may come, for a model that has no such core: the
            quick way gets noise for the others there.
    """

    def __init__(self, path: Any, max_new_tokens: int, budget: int = 1024, core: Sequence[int] = ()) -> None:
        bundle = Bundle.open(path)
        tokenizer = Tokenizer.from_file(str(bundle.tokenizer_path))
        self.prompt = Prompt(tokenizer, bundle.prompt_template)
        self._session = Session(bundle.model_path)
        self._snapshot = bundle.snapshot(self.prompt.prefix_ids)
        self._spelling = Spelling(tokenizer, bundle.manifest.special_ids.end_of_turn)
        self._words = self._spelling.bits_without(core or self._session.core_tokens)
        self._limits = Limits((), max_new_tokens, bundle.manifest.architecture.context_length)
        self._budget, self._record = budget, Record()
        self._naive = Context(self._session, limit=self._limits.context)
        self._quick = Context(self._session, limit=self._limits.context)
        if core:
            self._quick = Noisy(self._session, self._limits.context, core)

    def quick(self, question: str) -> Answer:
        """Cache, snapshot, forced tokens, drafts."""
        prompt = self.prompt.encode(question)
        drafter = GraphDrafter(question, self._spelling, DEFAULT, self._record, _text)
        self._begin(self._quick, prompt)
        decoding = decode(self._quick, prompt, self._limits, constraint=self._grammar(), drafter=drafter)
        return _answer(decoding)

    def naive(self, question: str) -> Answer:
        """One token a step, everything behind the snapshot read again at each."""
        prompt = self.prompt.encode(question)
        self._begin(self._naive, prompt)
        return _answer(decode_naive(self._naive, prompt, self._limits, constraint=self._grammar()))

    def gap(self, question: str, ids: Sequence[int]) -> float:
        """How far the two likeliest allowed logits after ``ids`` are from each other."""
        prompt, grammar = self.prompt.encode(question), self._grammar()
        for token in ids:
            grammar.accept(token)
        self._begin(self._naive, prompt)
        logits = self._naive.feed([*prompt, *ids][self._naive.length :])[-1]
        allowed = np.sort(logits[grammar.mask(len(logits))])
        return float(allowed[-1] - allowed[-2]) if len(allowed) > 1 else float("inf")

    def _grammar(self) -> GraphGrammar:
        return GraphGrammar(self._spelling, self._budget, self._words)

    def _begin(self, context: Context, prompt: Sequence[int]) -> None:
        shared = 0 if self._snapshot is None else self._snapshot.common(prompt)
        if self._snapshot is not None and shared > context.length:
            context.load(self._snapshot.state)
        context.rewind(shared)


def compare(decoders: Decoders, questions: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Of each question: tokens and steps, and where the ids differ, at which and how near the logits are there."""
    for question in questions:
        quick, naive = decoders.quick(question), decoders.naive(question)
        found: dict[str, Any] = {
            "tokens": len(quick.ids),
            "steps": quick.steps,
            "stop": quick.stop,
            "seconds": round(quick.seconds, 3),
            "naive_seconds": round(naive.seconds, 3),
            "equal": quick.ids == naive.ids and quick.stop == naive.stop,
        }
        if not found["equal"]:
            place = next(
                (at for at, (one, other) in enumerate(zip(quick.ids, naive.ids, strict=False)) if one != other),
                min(len(quick.ids), len(naive.ids)),
            )
            found |= {"differs_at": place, "gap": decoders.gap(question, naive.ids[:place])}
        yield found


def _text(grammar: Any) -> str:
    text: str = grammar.text.decode(errors="replace")
    return text


def _answer(decoding: Any) -> Answer:
    answer, started = Answer([], "", 0, 0.0), time.perf_counter()
    while True:
        try:
            emitted = next(decoding)
        except StopIteration as end:
            answer.stop, answer.seconds = end.value, time.perf_counter() - started
            return answer
        answer.ids += emitted.ids
        answer.steps += emitted.step > 0
