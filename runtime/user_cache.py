"""What was worked out once and is kept for the next time, in the user's cache folder. Losing it costs time, no more.

Entries are small files or states of a prompt, under names that say all that they depend on. Each begins with its
sha256: what is cut short or altered is as if it were not there. Whoever may write to the folder is the user, so the
digest guards against accidents, not against enemies. A folder that cannot be written is no error.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

# Of all entries; the oldest go first.
MAX_BYTES = 1 << 31
_DIGEST = hashlib.sha256().digest_size
_SUFFIX = ".cached"
# What says that there is no folder to be used.
_UNUSABLE = (OSError, RuntimeError)


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/dagger-edge``, by default ``~/.cache/dagger-edge``; it may not be there.

    Raises:
        RuntimeError: the user has no home, as in a container that runs under a number alone.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    # A relative path is to be ignored, as the XDG base directory specification says.
    return (Path(base) if Path(base).is_absolute() else Path("~/.cache").expanduser()) / "dagger-edge"


def cache_name(kind: str, *depends: object) -> str:
    """The name of an entry of a ``kind`` that is valid for these values and no others."""
    return f"{kind}-{hashlib.sha256(repr(depends).encode()).hexdigest()[:32]}{_SUFFIX}"


def read_cached(name: str) -> bytes | None:
    """The entry called ``name``; None where there is none that is whole."""
    try:
        data = (cache_folder() / name).read_bytes()
    except _UNUSABLE:
        return None
    content = data[_DIGEST:]
    return content if hashlib.sha256(content).digest() == data[:_DIGEST] else None


def write_cached(name: str, content: bytes) -> None:
    """Keeps ``content`` as ``name``: all of it, or what was there before."""
    with contextlib.suppress(*_UNUSABLE):
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make_room(folder, len(content) + _DIGEST)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=name, suffix=".part", delete=False) as file:
            try:
                file.write(hashlib.sha256(content).digest())
                file.write(content)
                file.close()
                Path(file.name).replace(folder / name)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise


def _make_room(folder: Path, size: int) -> None:
    entries = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in folder.glob(f"*{_SUFFIX}*"))
    total = sum(entry[1] for entry in entries) + size
    for _, length, path in entries:
        if total <= MAX_BYTES:
            return
        path.unlink(missing_ok=True)
        total -= length
