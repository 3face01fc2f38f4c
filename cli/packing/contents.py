"""What lies in a pack, by path; written as a folder or as a tar, the same bytes for the same contents."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ...runtime.errors import UsageError
from ...runtime.files import CHUNK_BYTES, sha256_of
from ...runtime.staging import sync

SUMS_FILE = "SHA256SUMS"
# Of every file in a tar: 1980, as in the wheels.
_MTIME = 315532800


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the pack: what it is copied from, or its bytes; its sha256 (lower-case hex) and size in bytes."""

    source: Path | bytes
    sha256: str
    size_bytes: int
    executable: bool = False

    @classmethod
    def of(cls, source: Path | bytes, *, executable: bool = False) -> Entry:
        """That of a file, which is read for its digest, or of bytes."""
        if isinstance(source, bytes):
            return cls(source, hashlib.sha256(source).hexdigest(), len(source), executable)
        return cls(source, sha256_of(source), source.stat().st_size, executable)

    @property
    def mode(self) -> int:
        """Permissions: everyone may read."""
        return 0o755 if self.executable else 0o644


Contents = Mapping[str, Entry]
Advance = Callable[[int], None]


def with_sums(contents: Contents) -> Contents:
    """The contents, sorted by path, and ``SHA256SUMS`` of them, as ``sha256sum -c`` reads it."""
    lines = [f"{entry.sha256}  {path}\n" for path, entry in sorted(contents.items())]
    return dict(sorted({**contents, SUMS_FILE: Entry.of("".join(lines).encode())}.items()))


def write_folder(contents: Contents, folder: Path, advance: Advance) -> None:
    """Makes ``folder`` of the contents, on the disk when it returns.

    Raises:
        UsageError: a source is no longer what its digest says.
        OSError: something cannot be read or written.
    """
    folder.mkdir()
    for path, entry in contents.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("wb") as file, _Hashed(entry, advance) as source:
            while chunk := source.read(CHUNK_BYTES):
                file.write(chunk)
        source.require_intact()
        place.chmod(entry.mode)
        sync(place)
    for made in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        made.chmod(0o755)
        sync(made)


def write_tar(contents: Contents, file: Path, root: str, advance: Advance) -> None:
    """Makes the tar ``file`` of the contents, below a folder called ``root``: sorted, of no user, of one time.

    Raises:
        UsageError: a source is no longer what its digest says.
        OSError: something cannot be read or written.
    """
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as made:
        for path, entry in contents.items():
            info = tarfile.TarInfo(f"{root}/{path}")
            info.size, info.mtime, info.mode = entry.size_bytes, _MTIME, entry.mode
            with _Hashed(entry, advance) as source:
                made.addfile(info, source)
            source.require_intact()
    sync(file)


class _Hashed:
    """An entry's bytes, which are hashed while they are read."""

    def __init__(self, entry: Entry, advance: Advance) -> None:
        self._entry, self._advance = entry, advance
        self._digest = hashlib.sha256()

    def __enter__(self) -> Self:
        source = self._entry.source
        self._file = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
        return self

    def read(self, size: int = -1) -> bytes:
        """As of a file."""
        data = self._file.read(size)
        self._digest.update(data)
        self._advance(len(data))
        return data

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def require_intact(self) -> None:
        """Refuses an entry whose bytes were others than its digest says."""
        if self._digest.hexdigest() != self._entry.sha256:
            raise UsageError(f"{self._entry.source!s} is altered: its sha256 is not the one that it should have")
