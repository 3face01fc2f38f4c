"""Weights that are in memory once: the file is mapped, and what onnxruntime has copied of it is let go at once.

onnxruntime copies the weights of matrix products into the layout of its kernels when a session opens. Where it maps the
file itself, pages that it read stay in memory until the whole weight is copied, or (where it copies in parallel) until
all are: then all of them are there twice. Here the mapping is ours, and a thread gives its pages back to the system
meanwhile. They stay in the system's cache of the file, from where they come back if they are read again.

Steps read rows of the embedding, scales and vectors where they are mapped. Linux may map all that its cache has in one
piece around a byte that is read (2 MB on 6.18, docs/start-up.md), so these pages are given back too, now and then.
"""

from __future__ import annotations

import contextlib
import mmap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime

# Seconds between two times that pages are given back: copying gets through some 20 MB in that time.
_PERIOD = 0.02
# The same between steps.
_PERIOD_OF_STEPS = 1.0
_DIRECTLY = "session.use_external_initializer_file_buffers_directly"


class MappedWeights:
    """A file of weights, mapped for a session, which must not outlive this.

    Args:
        path: the file.

    Raises:
        OSError: it cannot be mapped.
        ValueError: it is empty.
    """

    def __init__(self, path: Path) -> None:
        self._name = path.name
        with path.open("rb") as file:
            # Private and read-only: nobody can write through it, and its pages are the system's own cache.
            self._memory = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
        self._released = time.monotonic()

    def lend(self, options: onnxruntime.SessionOptions) -> None:
        """Makes sessions of ``options`` use this memory for what the graph says is in the file."""
        options.add_external_initializers_from_files_in_memory([self._name], [self._memory], [len(self._memory)])
        options.add_session_config_entry(_DIRECTLY, "1")

    @contextlib.contextmanager
    def released(self) -> Iterator[None]:
        """While this lasts, pages of the file that were read do not stay in memory."""
        done = threading.Event()

        def release() -> None:
            while not done.wait(_PERIOD):
                self._memory.madvise(mmap.MADV_DONTNEED)

        thread = threading.Thread(target=release, name="dagger-edge weights", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self._memory.madvise(mmap.MADV_DONTNEED)

    def release_now_and_then(self) -> None:
        """For every step: gives pages that were read back where that was not done for a second."""
        now = time.monotonic()
        if now - self._released >= _PERIOD_OF_STEPS:
            self._memory.madvise(mmap.MADV_DONTNEED)
            self._released = now
