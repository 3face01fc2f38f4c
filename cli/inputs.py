"""Reading what a user names: a file or standard input, as UTF-8 text of a bounded size."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO

import click

from ..runtime.errors import UsageError


def read_text(path: str, max_bytes: int) -> str:
    """The text of the file ``path``, or of standard input for ``-``; a byte order mark is left out.

    Raises:
        UsageError: it cannot be read, is larger than ``max_bytes``, or is not UTF-8.
    """
    name = "standard input" if path == "-" else click.format_filename(path)
    try:
        if path != "-":
            with Path(path).open("rb") as file:
                return _decode(file, name, max_bytes)
        if sys.stdin is None:
            raise UsageError(f"{name} is closed: give a file")
        return _decode(sys.stdin.buffer, name, max_bytes)
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from None


def _decode(file: BinaryIO, name: str, max_bytes: int) -> str:
    data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise UsageError(f"{name}: more than {max_bytes:,} bytes: nothing that this command reads is that long")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{name}: not UTF-8 text (byte {error.start}): save it as UTF-8") from None
