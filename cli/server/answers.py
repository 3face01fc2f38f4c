"""``POST /v1/solve``: a question through the line to the model, and its answer back, whole or as a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import asdict
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from ...runtime.events import NodeClosed, Solved
from ...runtime.graph import Graph, Node, Step
from ...runtime.graph.show import growing_svg
from ...runtime.options import DecodeOptions
from ...runtime.prompt import clean_question
from ...runtime.solution import NoAnswerError
from ..decoding import decode_options
from .documents import Drawn, Event, Failed, SentEvent, SolveRequest, Voted
from .failures import Refusal, failure_of
from .gate import note_failure, note_of
from .metrics import Note
from .responses import document_response, read_document
from .worker import AfterStep, Job, Work, Worker

if TYPE_CHECKING:
    from ...runtime.solver import Solver

EVENT_STREAM = "text/event-stream"
_STREAM_HEADERS = {"X-Accel-Buffering": "no"}  # nginx would hold events back


class Answers:
    """The endpoint.

    Args:
        worker: who has the model.
        seconds: that an answer may take, the line included.
        log_questions: whether errors may be logged with what was asked.
    """

    def __init__(self, worker: Worker, seconds: float, *, log_questions: bool) -> None:
        self._worker, self._seconds, self._log_questions = worker, seconds, log_questions

    async def solve(self, request: Request) -> Response:
        """Serves one request.

        Raises:
            Refusal: it is not taken, or not answered in time.
            DaggerEdgeError: it has no answer.
        """
        asked = await read_document(request, SolveRequest)
        note = note_of(request)
        note.question = asked.question
        job = Job(_work(asked), self._seconds)
        streams = _wants_stream(asked, request)
        if asked.drawing and not streams:
            raise Refusal("unprocessable", "drawing is for streams: ask for one, or draw the graph of the answer")
        self._worker.submit(job)
        if streams:
            return _EventStream(self._sent(job, note, drawing=asked.drawing), self._worker, job)
        try:
            return document_response(await self._whole(request, job, note))
        finally:
            self._worker.withdraw(job)

    async def _whole(self, request: Request, job: Job, note: Note) -> object:
        """The document of the last event, unless the client leaves before."""
        answer = asyncio.ensure_future(_last(job, note))
        gone = asyncio.ensure_future(_disconnected(request))
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise Refusal("disconnected", "the client left")
            event = answer.result()
        finally:
            answer.cancel()
            gone.cancel()
        return event.solution if isinstance(event, Solved) else event.vote

    async def _sent(self, job: Job, note: Note, *, drawing: bool) -> AsyncIterator[bytes]:
        """The stream's bytes; errors are its last event, for its status is sent already."""
        note.outcome = "disconnected"  # as it is if this is never told otherwise
        sketch = _Sketch()
        try:
            async for event in _noted(job, note):
                yield b": wait\n\n" if event is None else _frame(event)
                if drawing and isinstance(event, NodeClosed):
                    yield _frame(await run_in_threadpool(sketch.add, event))
        except Exception as error:
            note_failure(note, error, questions=self._log_questions)
            yield _frame(Failed(failure_of(error)))


class _EventStream(StreamingResponse):
    """Server-sent events; when the client leaves, its job goes."""

    def __init__(self, content: AsyncIterator[bytes], worker: Worker, job: Job) -> None:
        super().__init__(content, headers=_STREAM_HEADERS, media_type=EVENT_STREAM)
        self._worker, self._job = worker, job

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._worker.withdraw(self._job)


class _Sketch:
    """The graph so far."""

    def __init__(self) -> None:
        self._nodes: list[Node] = []
        self._steps: list[Step] = []

    def add(self, closed: NodeClosed) -> Drawn:
        """The drawing with one node more."""
        self._nodes.append(closed.node)
        self._steps.append(closed.step)
        return Drawn(growing_svg(Graph(tuple(self._nodes)), self._steps))


def _work(asked: SolveRequest) -> Work:
    """What the worker is to do. Raises UsageError for a question or a value that cannot be."""
    question = clean_question(asked.question)
    options = decode_options(asdict(asked), several=asked.samples is not None)
    samples = asked.samples
    if samples is None:
        return lambda solver, _: solver.stream(question, options)
    return lambda solver, after_step: _vote(solver, question, samples, options, after_step)


def _vote(
    solver: Solver, question: str, samples: int, options: DecodeOptions, after_step: AfterStep
) -> Generator[Event, None, None]:
    yield Voted(solver.vote(question, samples, options, after_step=after_step))


async def _last(job: Job, note: Note) -> Solved | Voted:
    async for event in _noted(job, note):
        if isinstance(event, Solved | Voted):
            return event
    raise AssertionError("a stream ends with its answer")


async def _noted(job: Job, note: Note) -> AsyncIterator[Event | None]:
    """The job's events; notes how it went."""
    try:
        async for event in job.events():
            if isinstance(event, Solved | Voted):
                solution = event.solution if isinstance(event, Solved) else event.vote.solution
                note.timings, note.outcome = solution.timings, "ok"
            yield event
    except NoAnswerError as error:
        note.timings = error.timings
        raise
    finally:
        note.waited_s = job.waited_s


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _wants_stream(asked: SolveRequest, request: Request) -> bool:
    return EVENT_STREAM in request.headers.get("accept", "") if asked.stream is None else asked.stream


def _frame(event: SentEvent) -> bytes:
    """``event`` as a server-sent one, named by its tag. JSON as msgspec writes it has no line breaks."""
    return b"event: %b\ndata: %b\n\n" % (str(type(event).__struct_config__.tag).encode(), msgspec.json.encode(event))
