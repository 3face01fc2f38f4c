"""From a question to token ids: the prompt template inside Gemma 3's chat format.

The chat format is a format string, not the checkpoint's jinja template (which would be code that came with the
weights); `benchmarks/parity_270m.py` holds it against the tokenizer's own template.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import BundleError, UsageError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from .byte_pairs import BytePairs

# The longest question of the public test sets has about 900 characters.
MAX_QUESTION_CHARS = 8_000
PLACEHOLDER = "{question}"


class Prompt:
    """Encodes questions for one tokenizer and one template.

    Args:
        tokenizer: the bundle's tokenizer. Its ``encode_special_tokens`` is switched on, so that a control token
            typed into a question is read as plain text.
        template: the user's turn with ``{question}`` in it once.

    Raises:
        BundleError: the template does not hold ``{question}`` exactly once, or the tokenizer lacks one of Gemma's
            control tokens.
    """

    def __init__(self, tokenizer: Tokenizer | BytePairs, template: str) -> None:
        if template.count(PLACEHOLDER) != 1:
            raise BundleError(f"a prompt template must hold {PLACEHOLDER} exactly once")
        self._tokenizer = tokenizer
        self._tokenizer.encode_special_tokens = True
        self._template = template
        self._bos = self._control("<bos>")
        self._start = self._control("<start_of_turn>")
        self._end = self._control("<end_of_turn>")

    @property
    def prefix_ids(self) -> list[int]:
        """The ids of what stands before the question, tokenised apart.

        Prompts begin with them, except where a tokenizer merges the last of them with a question's first characters.
        """
        head, _, _ = self._template.partition(PLACEHOLDER)
        return [self._bos, self._start, *self._text(f"user\n{head.lstrip()}")]

    def encode(self, question: str) -> list[int]:
        """Token ids of ``<bos><start_of_turn>user\\n…<end_of_turn>\\n<start_of_turn>model\\n``, with one ``<bos>``.

        The question is stripped, and so is the whole turn, as the chat template does; nothing is normalised,
        since Unicode normalisation changes the tokens of most Bengali questions.

        Raises:
            UsageError: the question is empty, too long, or not valid Unicode.
        """
        turn = self._template.replace(PLACEHOLDER, clean_question(question)).strip()
        return [
            self._bos,
            self._start,
            *self._text(f"user\n{turn}"),
            self._end,
            *self._text("\n"),
            self._start,
            *self._text("model\n"),
        ]

    def _text(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _control(self, token: str) -> int:
        index = self._tokenizer.token_to_id(token)
        if index is None:
            raise BundleError(f"the tokenizer has no {token} token: it is not a Gemma tokenizer")
        return int(index)


def clean_question(question: str) -> str:
    """``question`` stripped.

    Raises:
        UsageError: it is empty, longer than `MAX_QUESTION_CHARS`, or holds a lone surrogate.
    """
    stripped = question.strip()
    if not stripped:
        raise UsageError("the question is empty: give a word problem as text")
    if len(stripped) > MAX_QUESTION_CHARS:
        raise UsageError(
            f"the question has {len(stripped):,} characters, the limit is {MAX_QUESTION_CHARS:,}: shorten it"
        )
    try:
        stripped.encode()
    except UnicodeEncodeError:
        raise UsageError("the question is not valid Unicode: save it as UTF-8 text") from None
    return stripped
