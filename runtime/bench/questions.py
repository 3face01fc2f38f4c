"""The questions of the benchmark: of the demo's generator, in wordings that it is trained on, this project's own."""

from __future__ import annotations

from importlib import resources

import msgspec
from msgspec import Struct


class Question(Struct, frozen=True, forbid_unknown_fields=True):
    """A question, and how many nodes the generator's graph for it has."""

    question: str
    nodes: int


def bench_questions() -> tuple[Question, ...]:
    """All of them: graphs of four to ten nodes, mixed, so that the first few are a fair share."""
    data = resources.files(__package__).joinpath("questions.jsonl").read_bytes()
    return tuple(msgspec.json.decode(line, type=Question) for line in data.splitlines())
