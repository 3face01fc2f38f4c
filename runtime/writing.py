"""One answer while it is written: from the question's ids to events, and to the solution."""

from __future__ import annotations

import codecs
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec.structs import replace

from .decode import Stop
from .events import NodeClosed, Written
from .graph import GraphError, execute, read
from .graph.live import LiveGraph
from .options import DecodeOptions
from .prompt import clean_question
from .solution import NoAnswerError, Solution, Timings

if TYPE_CHECKING:
    from .engine import Engine

_STOPPED: dict[Stop, str] = {
    "stop": "",
    "max_new_tokens": ", cut off at the limit of new tokens",
    "context": ", cut off at the end of the model's context",
}


class Writing:
    """Decodes the answer to one question.

    Args:
        question: a word problem in Bengali.
        engine: what decodes.
        options: how.

    Raises:
        UsageError: the question is empty or too long, or the limits leave no room.
    """

    def __init__(self, question: str, engine: Engine, options: DecodeOptions) -> None:
        self._question = clean_question(question)
        self._engine = engine
        self._started = time.perf_counter()
        self._prompt = engine.prompt.encode(question)
        self._decode = engine.decode(self._question, self._prompt, options)
        self._text = ""
        self._stop: Stop = "stop"
        self._counts = {"new_tokens": 0, "forced_tokens": 0, "steps": 0}
        self._first = 0.0
        self._ended = 0.0

    def events(self) -> Iterator[Written | NodeClosed]:
        """Text and nodes as they come. Closing it stops the model after its current step.

        Raises:
            ModelError: the model returned logits that are not finite.
        """
        live = LiveGraph()
        # A character may be written in several tokens.
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for ids in self._ids():
            text = decoder.decode(self._engine.spell(ids))
            self._text += text
            yield Written(text, len(ids))
            for node, step in live.add(text):
                yield NodeClosed(node, step)
        self._text += decoder.decode(b"", final=True)
        self._ended = time.perf_counter()

    def solution(self) -> Solution:
        """What came of it.

        Raises:
            NoAnswerError: the text is no graph, or one that cannot be executed.
        """
        return solution_of(self._question, self._text, self._stop, self._timings())

    def _ids(self) -> Iterator[list[int]]:
        """The ids of each step; counts them."""
        while True:
            try:
                emitted = next(self._decode)
            except StopIteration as end:
                self._stop = end.value
                return
            self._counts["new_tokens"] += len(emitted.ids)
            if emitted.step:
                self._counts["steps"] += 1
                self._first = self._first or time.perf_counter()
            else:
                self._counts["forced_tokens"] += len(emitted.ids)
            yield emitted.ids

    def _timings(self) -> Timings:
        first = self._first or self._ended
        return Timings(
            ttft_s=first - self._started,
            decode_s=self._ended - first,
            prompt_tokens=len(self._prompt),
            prefix_tokens=self._engine.prefix_tokens,
            **self._counts,
        )


def solution_of(question: str, text: str, stop: Stop, timings: Timings) -> Solution:
    """The solution that ``text``, a model's output, is: read in the three levels of `read`, and executed.

    Raises:
        NoAnswerError: it is no graph, or one that cannot be executed.
    """
    try:
        reading = read(text)
        result = execute(reading.graph)
    except GraphError as error:
        raise NoAnswerError(f"the model gave no usable graph{_STOPPED[stop]}: {error}", text, timings) from error
    return Solution(
        question=question,
        answer=result.answer,
        graph=reading.graph,
        result=replace(result, level=reading.level, fixes=reading.fixes),
        text=text,
        timings=timings,
    )
