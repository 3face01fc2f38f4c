"""Opening a bundle's tokenizer: over tables where it is of Gemma's kind, else by the library `tokenizers`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .byte_pairs import BytePairs
from .errors import BundleError
from .token_tables import kept_tables

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# The library reads a smaller file faster than tables of it could be worth.
_SMALL_BYTES = 1 << 20


def open_tokenizer(path: Path, sha256: str) -> Tokenizer | BytePairs:
    """The tokenizer in ``path``.

    Args:
        path: a ``tokenizer.json``. Where the user's cache holds tables of it, it is not read.
        sha256: its digest, in hex.

    Raises:
        BundleError: it is none.
    """
    try:
        tables = kept_tables(path, sha256) if path.stat().st_size >= _SMALL_BYTES else None
        return _by_library(path) if tables is None else BytePairs(tables)
    except Exception as error:  # the library raises bare Exception
        raise BundleError(f"{path}: not a usable tokenizer ({error}); export the bundle again") from None


def _by_library(path: Path) -> Tokenizer:
    # tokenizers brings huggingface-hub along; it is never imported.
    from tokenizers import Tokenizer

    tokenizer: Tokenizer = Tokenizer.from_file(str(path))
    return tokenizer
