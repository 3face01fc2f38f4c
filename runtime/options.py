"""How an answer is decoded: what a caller may choose."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import UsageError
from .sampling import Sampling

# As the model card's quickstart.
MAX_NEW_TOKENS = 1024
# More graphs in one batch than any vote needs, and a cache for each.
MAX_SAMPLES = 64


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """How one answer is decoded.

    Attributes:
        max_new_tokens: tokens that the answer may have; the grammar closes the graph before they are used up.
        grammar: hold the output to the language of graphs. Without it, the model writes what it likes.
        drafts: read guessed tokens along. The answer is the same with and without.
        sampling: draw tokens; None takes the likeliest.

    Raises:
        UsageError: ``max_new_tokens`` is less than 1.
    """

    max_new_tokens: int = MAX_NEW_TOKENS
    grammar: bool = True
    drafts: bool = True
    sampling: Sampling | None = None

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise UsageError(f"max_new_tokens is {self.max_new_tokens}: it must be 1 or more")
