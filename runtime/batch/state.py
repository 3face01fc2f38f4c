"""What a batch is of: its input and its options. A file beside the output holds it, so that only the same goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from msgspec import Struct, json

from ..errors import UsageError
from ..files import sha256_of, write_whole
from ..untrusted import decode_document

SUFFIX = ".batch.json"
_MAX_BYTES = 1 << 20


class InputMark(Struct, frozen=True, forbid_unknown_fields=True):
    """Which input it is: its size in bytes and its sha256, whatever it is called and wherever it lies."""

    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """That of the file ``path``. Raises UsageError: it cannot be read."""
        try:
            return cls(path.stat().st_size, sha256_of(path))
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror or error}") from None


class State(Struct, frozen=True, forbid_unknown_fields=True):
    """What a batch is of.

    Attributes:
        input: which input.
        options: all that a row's result depends on besides the row, by names that a user knows.
        errors: the file of errors, as seen from the output's folder.
        format: of this document.
    """

    input: InputMark
    options: dict[str, Any]
    errors: str
    format: Literal[1] = 1


def state_path(out: Path) -> Path:
    """The file that holds the state of the batch that writes ``out``."""
    return out.with_name(out.name + SUFFIX)


def read_state(path: Path) -> State | None:
    """The state in ``path``, None where there is no such file. Raises UsageError: it is none, or cannot be read."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    try:
        return decode_document(data, State, _MAX_BYTES)
    except ValueError as error:
        raise UsageError(f"{path}: not the state of a batch ({error}): take another output") from None


def write_state(path: Path, state: State) -> None:
    """Puts ``state`` into ``path``: all of it, or nothing. Raises UsageError: it cannot be written."""
    try:
        write_whole(path, json.format(json.encode(state), indent=2).decode() + "\n")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None


def differences(before: State, now: State) -> list[str]:
    """What is otherwise ``now`` than ``before``, a phrase each; none where it is the same batch."""
    told = []
    if before.input != now.input:
        told.append(f"the input is another one ({now.input.bytes:,} bytes, it had {before.input.bytes:,})")
    for name in sorted(before.options.keys() | now.options.keys()):
        old, new = before.options.get(name), now.options.get(name)
        if old != new:
            told.append(f"{name} is {_shown(new)}, it was {_shown(old)}")
    if before.errors != now.errors:
        told.append(f"errors go to {now.errors}, they went to {before.errors}")
    return told


def _shown(value: Any) -> str:
    return json.encode(value).decode()
