"""Opening the parts of a bundle at the same time: onnxruntime copies weights while the tokens are made ready."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from .bundle import TOKENIZER_FILE, Bundle
from .errors import BundleError
from .ort import Provider
from .session import Session
from .spelling import Spelling
from .tokenizer import open_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from .byte_pairs import BytePairs


class Parts(NamedTuple):
    """What answers are decoded with; ``spelling`` is None where the tokenizer is of a kind that has none."""

    session: Session
    tokenizer: Tokenizer | BytePairs
    spelling: Spelling | None


def open_parts(bundle: Bundle, *, provider: Provider = "cpu", threads: int | None = None) -> Parts:
    """The model and the tokens of ``bundle``; arguments and errors as of `Session`.

    Raises:
        BundleError: one of them cannot be used.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="dagger-edge tokens") as executor:
        tokens = executor.submit(_open_tokens, bundle)
        session = Session(bundle.model_path, provider=provider, threads=threads)
        return Parts(session, *tokens.result())


def _open_tokens(bundle: Bundle) -> tuple[Tokenizer | BytePairs, Spelling | None]:
    tokenizer = open_tokenizer(bundle.tokenizer_path, bundle.manifest.files[TOKENIZER_FILE].sha256)
    # As `Prompt` has it: control tokens in a question are plain text.
    tokenizer.encode_special_tokens = True
    try:
        return tokenizer, Spelling(tokenizer, bundle.manifest.special_ids.end_of_turn)
    except BundleError:
        # Its model can be run and verified. Whoever asks for an answer is told.
        return tokenizer, None
