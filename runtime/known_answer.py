"""A known answer: what a bundle's model said where it was exported, to be said again on every other machine.

Digests prove that files are those of the export, not that this machine's processor, onnxruntime and kernels make
of them what they should: a window that is off by one loads and runs.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from .manifest import Text, TokenId

MAX_BYTES = 1 << 20

Ids = tuple[TokenId, ...]
Finite = Annotated[float, Meta(ge=-1e6, le=1e6)]
Step = Annotated[tuple[Finite, ...], Meta(min_length=1, max_length=64)]
StepIds = Annotated[Ids, Meta(min_length=1, max_length=64)]


class KnownAnswer(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All of ``known_answer.json``.

    Attributes:
        question: what was asked.
        prompt_ids: the question inside the bundle's template, as ids.
        answer_ids: the likeliest tokens after it, one after the other; those of a fixed answer where the export ran
            the model layer by layer.
        top_ids: at each of these steps the likeliest tokens.
        top_logits: their logits.
        tolerance: by how much another machine's logits may differ.
        prefix_tokens: how many ids of the prompt were not read, but came from the bundle's snapshot.
    """

    question: Text
    prompt_ids: Annotated[Ids, Meta(min_length=1, max_length=1 << 16)]
    answer_ids: Annotated[Ids, Meta(min_length=1, max_length=256)]
    top_ids: tuple[StepIds, ...]
    top_logits: tuple[Step, ...]
    tolerance: Annotated[float, Meta(gt=0, le=1e6)]
    prefix_tokens: Annotated[int, Meta(ge=0, le=1 << 16)] = 0

    def __post_init__(self) -> None:
        """Refuses lists of different lengths."""
        lengths = [list(map(len, rows)) for rows in (self.top_ids, self.top_logits)]
        if lengths[0] != lengths[1] or len(lengths[0]) != len(self.answer_ids):
            raise ValueError("top_ids, top_logits and answer_ids are of different lengths")

    def encode(self) -> bytes:
        """UTF-8 JSON on one line, the same bytes for the same answer."""
        return msgspec.json.encode(self) + b"\n"


def decode_known_answer(data: bytes, vocabulary: int) -> KnownAnswer:
    """The answer in ``data``, whose ids must be below ``vocabulary``.

    Raises:
        ValueError: it is not one; the message says why.
    """
    try:
        answer = msgspec.json.decode(data, type=KnownAnswer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    if max(map(max, (answer.prompt_ids, answer.answer_ids, *answer.top_ids))) >= vocabulary:
        raise ValueError(f"an id is outside the vocabulary of {vocabulary}")
    return answer
