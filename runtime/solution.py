"""What an answered question is."""

from __future__ import annotations

from typing import Self

from msgspec import Struct

from .errors import DaggerEdgeError
from .graph import Graph, GraphWarning, Node, Result


class Timings(Struct, frozen=True):
    """Where one answer's time went, in seconds, and its tokens.

    Attributes:
        ttft_s: the time to the first token that the model chose: tokenising and prefill.
        decode_s: the rest of the decoding.
        prompt_tokens: those of the whole prompt, template and question.
        new_tokens: those that were written.
        prefix_tokens: those of the prompt that were not read, since the bundle holds their state.
        forced_tokens: those of ``new_tokens`` that the grammar left no choice about before the model was asked.
        steps: runs of the model.
    """

    ttft_s: float
    decode_s: float
    prompt_tokens: int
    new_tokens: int
    prefix_tokens: int = 0
    forced_tokens: int = 0
    steps: int = 0


class Solution(Struct, frozen=True, kw_only=True):
    """An answered question.

    Attributes:
        question: as it was asked, without white space around it.
        answer: that of ``result``, an int where it is integral.
        graph: what the model wrote.
        result: what running it gave; its ``level`` and ``fixes`` say whether the graph had to be repaired.
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
