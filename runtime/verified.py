"""Files whose sha256 was compared, and that need not be read again: see `bundle` for what that is worth."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from .files import sha256_of
from .user_cache import cache_name, read_cached, write_cached

# Smaller files are read as fast as they are looked up.
_SMALL_BYTES = 1 << 18
# A file that was changed so recently may be changed again without its times showing it.
_SETTLED_NS = 2_000_000_000


def was_verified(path: Path, sha256: str) -> bool:
    """Whether the user's cache says that the file at ``path`` had this digest when it was last changed."""
    try:
        status = path.stat()
    except OSError:
        return False
    return status.st_size > _SMALL_BYTES and read_cached(_name(status, sha256)) is not None


def verify_file(path: Path, sha256: str, advance: Callable[[int], None] = lambda _bytes: None) -> bool:
    """Reads the file and compares its digest; where it is the same, remembers that.

    Args:
        path: the file.
        sha256: in lower-case hex.
        advance: called with the size of every chunk that was read.

    Raises:
        OSError: the file cannot be read.
    """
    before = path.stat()
    if sha256_of(path, advance) != sha256:
        return False
    settled = time.time_ns() - max(before.st_mtime_ns, before.st_ctime_ns) > _SETTLED_NS
    if before.st_size > _SMALL_BYTES and settled and _name(path.stat(), sha256) == _name(before, sha256):
        write_cached(_name(before, sha256), b"")
    return True


def _name(status: os.stat_result, sha256: str) -> str:
    times = status.st_mtime_ns, status.st_ctime_ns
    return cache_name("verified", status.st_dev, status.st_ino, status.st_size, *times, sha256)
