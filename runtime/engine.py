"""A bundle's model, ready to decode: session, cache, snapshot, tokens. Takes prompts, gives ids and what they spell."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .bundle import Bundle
from .context import Context
from .cost import StepCost
from .decode import Choose, Constraint, Decode, Drafter, Free, Limits, NoDrafts, decode, greedy
from .draft import GraphDrafter, Record
from .grammar import GraphGrammar
from .kept_cost import kept_step_cost, measured_step_cost
from .options import DecodeOptions
from .prefix import kept_snapshot
from .prompt import Prompt
from .rows import Row, decode_rows
from .sampling import sampler
from .session import Session
from .spelling import Spelling

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from .byte_pairs import BytePairs


class Engine:
    """Decodes answers with one bundle. Not safe for concurrent use.

    Args:
        bundle: the bundle.
        session: its model.
        tokenizer: its tokenizer.
        spelling: of the tokenizer, where it was made already.

    Attributes:
        session: the model.
        prompt: of questions.
        snapshot: the state that every prompt begins with; None where there is none.
        prefix_tokens: ids of the last prompt that needed no reading, as they are in the snapshot.
    """

    def __init__(
        self, bundle: Bundle, session: Session, tokenizer: Tokenizer | BytePairs, spelling: Spelling | None = None
    ) -> None:
        self.session = session
        self.prompt = Prompt(tokenizer, bundle.prompt_template)
        self.snapshot = bundle.snapshot(self.prompt.prefix_ids)
        self.prefix_tokens = 0
        self._bundle, self._manifest = bundle, bundle.manifest
        self._context = Context(session, limit=self._manifest.architecture.context_length)
        self._snapshot_sought = self.snapshot is not None
        # How many ids of the snapshot the context begins with.
        self._loaded = 0
        self._tokenizer, self._known_spelling = tokenizer, spelling
        self._record = Record()
        self._cost: StepCost | None = None

    @property
    def _spelling(self) -> Spelling:
        """Raises BundleError where the tokenizer is of a kind that has none."""
        if self._known_spelling is None:
            self._known_spelling = Spelling(self._tokenizer, self._manifest.special_ids.end_of_turn)
        return self._known_spelling

    @cached_property
    def _words(self) -> NDArray[np.uint8] | None:
        """The tokens beyond the core; None where the model has none."""
        return self._spelling.bits_without(self.session.core_tokens)

    def spell(self, ids: Sequence[int]) -> bytes:
        """What ``ids`` spell, in UTF-8 unless a model wrote single bytes."""
        return self._spelling.spell(ids)

    def decode(self, question: str, prompt: Sequence[int], options: DecodeOptions) -> Decode:
        """The answer to ``question``, whose ids are ``prompt``; see `decode.decode`."""
        limits = self._limits(options)
        constraint = self._constraint(prompt, limits, options)
        self._begin(prompt)
        return decode(
            self._context,
            prompt,
            limits,
            constraint=constraint,
            choose=_choose(options, 0),
            drafter=self._drafter(question, options),
        )

    def decode_samples(
        self, prompt: Sequence[int], options: DecodeOptions, rows: list[Row], streams: Sequence[int]
    ) -> Generator[int, None, None]:
        """Answers drawn with each of ``streams``, as a batch; fills ``rows``. See `rows.decode_rows`."""
        limits = self._limits(options)
        rows += [Row(self._constraint(prompt, limits, options), _choose(options, stream)) for stream in streams]
        self._begin(prompt)
        return decode_rows(self._context, prompt, limits, rows)

    def measure_steps(self) -> StepCost:
        """What steps cost now, behind the prompt's fixed part."""
        self._begin([*self.prompt.prefix_ids, self._manifest.special_ids.bos])
        self._cost = measured_step_cost(self._bundle, self._context, self.session)
        return self._cost

    def _limits(self, options: DecodeOptions) -> Limits:
        # The grammar knows where a graph ends, and lets no control token in.
        stop_ids = () if options.grammar else self._manifest.special_ids.stop
        return Limits(stop_ids, options.max_new_tokens, self._manifest.architecture.context_length)

    def _constraint(self, prompt: Sequence[int], limits: Limits, options: DecodeOptions) -> Constraint:
        if not options.grammar:
            return Free()
        return GraphGrammar(self._spelling, limits.room(len(prompt)), self._words)

    def _drafter(self, question: str, options: DecodeOptions) -> Drafter:
        if not options.drafts:
            return NoDrafts()
        if self._cost is None:
            self._cost = kept_step_cost(self._bundle, self._context, self.session)
        text = _written if options.grammar else None
        return GraphDrafter(question, self._spelling, self._cost, self._record, text)

    def _begin(self, prompt: Sequence[int]) -> None:
        """Leaves in the context what ``prompt`` has in common with the snapshot, and nothing else."""
        if not self._snapshot_sought:
            self._snapshot_sought = True
            ids = self.prompt.prefix_ids
            self.snapshot = kept_snapshot(self._bundle, self._context, ids, self.session.provider)
        shared = 0 if self.snapshot is None else self.snapshot.common(prompt)
        if self.snapshot is not None and shared > self._loaded:
            self._context.load(self.snapshot.state)
            self.snapshot.release()
        self._context.keep_first(shared)
        self._loaded = self.prefix_tokens = shared


def _written(constraint: Constraint) -> str:
    """What was written under a grammar."""
    assert isinstance(constraint, GraphGrammar)
    return constraint.text.decode(errors="replace")


def _choose(options: DecodeOptions, stream: int) -> Choose:
    return greedy if options.sampling is None else sampler(options.sampling, stream)
