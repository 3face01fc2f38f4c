"""What every token of a tokenizer spells, and the grammar matcher (llguidance) over these spellings.

Tokenizers of Gemma's kind spell a token as its text with ``▁`` for a space, or as one byte (``<0xE0>``); others are
refused.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .byte_pairs import BytePairs
from .errors import BundleError, ModelError
from .graph.charset import writes_graphs
from .token_tables import DECODER, spell

if TYPE_CHECKING:
    import llguidance
    from tokenizers import Tokenizer


class Spelling:
    """The bytes of every token, and matchers over them.

    Args:
        tokenizer: the bundle's, with ``encode_special_tokens`` on.
        end: the id that ends an answer.

    Attributes:
        size: tokens that have an id, special ones included.

    Raises:
        BundleError: the tokenizer is of another kind.
    """

    def __init__(self, tokenizer: Tokenizer | BytePairs, end: int) -> None:
        self._tokenizer = tokenizer
        if isinstance(tokenizer, BytePairs):
            self._bytes, special = tokenizer.spellings(), tokenizer.special_ids
            in_graphs = tokenizer.in_graphs()
        else:
            self._bytes, special = _spellings(tokenizer)
            in_graphs = list(map(writes_graphs, self._bytes))
        self.size = len(self._bytes)
        # Matchers need not know the others, two fifths of Gemma's: they open in two thirds of the time.
        known = [text if is_in else b"" for text, is_in in zip(self._bytes, in_graphs, strict=True)]
        self._matchers = _matcher_tokenizer(self, known, special, end)

    def __call__(self, text: str) -> list[int]:
        """The ids of ``text``, whose control tokens are plain text."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def spell(self, ids: Sequence[int]) -> bytes:
        """What ``ids`` spell."""
        return b"".join([self._bytes[index] for index in ids])

    def bits_without(self, core: Sequence[int]) -> NDArray[np.uint8] | None:
        """All tokens but ``core`` as matchers write masks, a bit each, the lowest of a byte first; None without a core.

        Ids of ``core`` that no token has are passed over.
        """
        if not core:
            return None
        bits = np.ones(self.size, np.bool_)
        bits[[index for index in core if index < self.size]] = False
        return np.packbits(bits, bitorder="little")

    def matcher(self, grammar: str) -> llguidance.LLMatcher:
        """A matcher of ``grammar``, in llguidance's kind of Lark, whose text is of `CHARSET` alone.

        Raises:
            ModelError: it is none, or too large.
        """
        from llguidance import LLMatcher

        # Its log goes to stderr.
        made = LLMatcher(self._matchers, grammar, log_level=0)
        if made.is_error():
            reason = made.get_error().partition("\n")[0]
            raise ModelError(f"the grammar failed to compile ({reason}): please report it")
        return made


def _spellings(tokenizer: Tokenizer) -> tuple[list[bytes], list[int]]:
    """The bytes of every token by id, and the ids of those that spell nothing: control tokens, and gaps."""
    decoder = json.loads(tokenizer.decoder.__getstate__()) if tokenizer.decoder else {}
    if decoder.get("decoders") != DECODER:
        raise BundleError("the tokenizer's decoder is not Gemma's: export the bundle again from its checkpoint")
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    spellings = [b""] * (max(vocabulary.values()) + 1)
    for text, index in vocabulary.items():
        spellings[index] = spell(text)
    special = [index for index, token in tokenizer.get_added_tokens_decoder().items() if token.special]
    return spellings, special


def _matcher_tokenizer(encode: Spelling, spellings: list[bytes], special: list[int], end: int) -> Any:
    from llguidance import LLTokenizer, TokenizerWrapper

    class Wrapped:
        eos_token_id, bos_token_id = end, None
        tokens, special_token_ids = spellings, special

        def __call__(self, text: str) -> list[int]:
            return encode(text)

    # Slices cost a second at 262,144 tokens, and masks of our grammar are no faster with them (docs/start-up.md).
    return LLTokenizer(TokenizerWrapper(Wrapped()), slices=[])
