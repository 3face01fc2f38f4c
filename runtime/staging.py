"""Making a folder or a file that takes time: all of it appears under its name, or nothing does."""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import secrets
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from .errors import DaggerEdgeError, UsageError

_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Staging:
    """A context in which something is written to a hidden folder beside its target; `publish` gives it its name.

    Leaving the context without `publish`, for whatever reason, removes the hidden folder. A killed process can
    leave ``.NAME.tmp-…`` behind, which is nothing; the next for the same target removes it. Folders of
    processes that are still alive are locked, and stay.

    Args:
        target: what is made, a folder or a file. It must not exist; its parent must.
        noun: what it is called in messages.
        error: raised where it cannot be written.

    Raises:
        UsageError: the target exists, or its parent does not. Raised before anything is done.
        DaggerEdgeError: an ``error``: the folder cannot be made, or (on leaving) the disk was full.
    """

    def __init__(self, target: Path, noun: str, error: type[DaggerEdgeError]) -> None:
        # The name may end in a slash or be "..": only the absolute path has a parent to write into.
        self.target = Path(os.path.abspath(target))  # noqa: PTH100 (resolve() would follow a link at the target)
        self._noun, self._error = noun, error
        self._prefix = f".{self.target.name}.tmp-"
        self.folder = self.target.with_name(self._prefix + secrets.token_hex(6))
        self._refuse_existing()
        if not self.target.name.isprintable():
            raise UsageError(f"output {self.target.name!r} holds control characters; choose another name")
        if not self.target.parent.is_dir():
            raise UsageError(f"output {target}: its parent folder does not exist; create it first")

    def __enter__(self) -> Self:
        try:
            self._remove_leftovers()
            self.folder.mkdir()
        except OSError as error:
            raise self._error(
                f"{self._noun} {self.target}: its parent folder cannot be written ({error.strerror});"
                " choose another place"
            ) from error
        self._held = _lock(self.folder)
        return self

    def _remove_leftovers(self) -> None:
        """Removes what killed processes left behind for this target."""
        for path in self.target.parent.glob(f"{glob.escape(self._prefix)}*"):
            lock = _lock(path)
            if lock is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)

    def require_space(self, size_bytes: int, doing: str = "writing it") -> None:
        """Refuses to start where fewer than ``size_bytes`` are free.

        Raises:
            DaggerEdgeError: the disk is too small.
        """
        free = shutil.disk_usage(self.folder).free
        if free < size_bytes:
            raise self._error(
                f"{self._noun} {self.target}: {size_bytes / 1e9:.1f} GB are needed while {doing},"
                f" {free / 1e9:.1f} GB are free; free space or choose another disk"
            )

    def publish(self, made: Path) -> None:
        """Renames ``made``, the hidden folder or what lies in it and is synced already, to the target.

        Raises:
            UsageError: the target has come to exist meanwhile.
        """
        sync(made)
        self._refuse_existing()
        made.rename(self.target)
        sync(self.target.parent)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._held is not None:
            os.close(self._held)
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            raise self._error(
                f"{self._noun} {self.target}: not written, the disk is full or a file size limit was reached"
                f" ({error.strerror}); free space or choose another disk"
            ) from error

    def _refuse_existing(self) -> None:
        if os.path.lexists(self.target):
            raise UsageError(f"output {self.target} exists already; remove it or choose another name")


def sync(path: Path) -> None:
    """Waits until the file or folder at ``path`` is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock(folder: Path) -> int | None:
    """A descriptor of ``folder`` that holds its lock until it is closed or the process ends; None where another
    process holds it, or there are no locks or no such folder (links are not followed)."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
