"""What the measuring process is told, and what it tells; JSON, a line each."""

from __future__ import annotations

from msgspec import Struct

from ..ort import Provider
from .rows import Sample

# The first line of the measuring process, once it could take a question.
READY = b"ready\n"


class Job(Struct, frozen=True):
    """What to measure in one process.

    Attributes:
        bundle: its folder.
        provider, threads: as of `Solver.open`.
        questions: texts.
        prefill: lengths of prompts, in tokens.
        samples: numbers of graphs for a vote.
        plain_tokens: written at most where one token is decoded a step.
        drag: by which share every run of the model is made slower: for the proof that comparing sees it.
    """

    bundle: str
    provider: Provider
    threads: int | None
    questions: tuple[str, ...]
    prefill: tuple[int, ...]
    samples: tuple[int, ...]
    plain_tokens: int = 64
    drag: float = 0.0


class Findings(Struct, frozen=True):
    """What was measured in one process.

    Attributes:
        samples: of all quantities.
        context: tokens of the first question's prompt, behind which steps were measured.
        prefix_tokens: ids whose state was not computed.
        number_bytes: of a number in the cache.
    """

    samples: tuple[Sample, ...]
    context: int
    prefix_tokens: int
    number_bytes: int


class Failure(Struct, frozen=True):
    """Why nothing was measured: the name of an error of `errors`, and its message."""

    error: str
    message: str
