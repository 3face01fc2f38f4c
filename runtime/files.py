"""Files of a bundle: which ones are acceptable, and their digests."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import resources
from pathlib import Path

# Makes, for a number of bytes to come, a context that is told of those that are done.
Bar = Callable[[int], AbstractContextManager[Callable[[int], None]]]

CHUNK_BYTES = 1 << 20
_PLAIN_NAME = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")


def packaged_bundle() -> Path:
    """The folder of the demo inside the package."""
    return Path(str(resources.files("dagger_edge"))) / "bundles" / "demo"


def is_plain_name(name: str) -> bool:
    """Whether ``name`` is a file name without path, control characters or a leading dot."""
    return _PLAIN_NAME.match(name) is not None


def sha256_of(path: Path, advance: Callable[[int], None] = lambda _bytes: None) -> str:
    """sha256 of the file's bytes as lower-case hex, read in chunks of 1 MiB.

    Args:
        path: the file.
        advance: called with the size of every chunk that was read.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        buffer = memoryview(bytearray(CHUNK_BYTES))
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            advance(count)
    return digest.hexdigest()


def regular_file_status(path: Path) -> os.stat_result:
    """The status of ``path`` itself, which must be a regular file (links are not followed).

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: it is a symbolic link, a folder, a device or a pipe; the message says which.
    """
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        raise ValueError("a symbolic link")
    if stat.S_ISDIR(status.st_mode):
        raise ValueError("a folder")
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("a device, pipe or socket")
    return status


def write_whole(path: Path, text: str) -> None:
    """Writes ``text`` in UTF-8 to ``path``: all of it, or what was there stays, also after a loss of power.

    A device or a pipe is written to as it is.

    Raises:
        OSError: the folder is missing or may not be written, or there is no room.
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        target.write_text(text, encoding="utf-8")
        return
    part = target.with_name(f".{target.name[:200]}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
        sync_folder(target.parent)
    finally:
        part.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Makes the names of files in ``folder`` safe from a loss of power. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
