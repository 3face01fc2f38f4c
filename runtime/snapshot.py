"""The prefix snapshot: the KV state of the ids that every prompt begins with, made where the bundle was exported.

In the card's template these are 746 of some 800 ids, so a question costs the reading of its own tokens only.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from .manifest import Architecture
from .session import Session, Start

# [layers, 2 (key, value), kv_heads, prefix, head_dim]
State = NDArray[np.floating]


class Snapshot:
    """A state, and the ids that it is of.

    Attributes:
        ids: the ids.
        state: theirs, [layers, 2 (key, value), kv_heads, len(ids), head_dim]; float32 or float16.
    """

    def __init__(self, ids: Sequence[int], state: State) -> None:
        self.ids, self.state = list(ids), state

    def common(self, prompt: Sequence[int]) -> int:
        """How many ids of ``prompt`` need not be read: up to the first that is not the snapshot's, and not the last.

        A state is of the ids before it alone, so the beginning of one is the state of fewer ids.
        """
        length = min(len(self.ids), len(prompt) - 1)
        equal = [one == other for one, other in zip(self.ids[:length], prompt, strict=False)]
        return equal.index(False) if False in equal else length

    def release(self) -> None:
        """Gives the pages of a mapped state back to the system; they come back if it is read again."""
        base: Any = self.state
        while base is not None and not isinstance(base, mmap.mmap):
            base = getattr(base, "base", None)
        if base is not None:
            base.madvise(mmap.MADV_DONTNEED)

    def start(self, session: Session, prompt: Sequence[int]) -> Start:
        """What ``session`` need not read of ``prompt``, as a cache for `Session.step`."""
        length = self.common(prompt)
        return Start(session.load_cache(self.state[:, :, :, :length]), length)


def state_shape(shape: Architecture, tokens: int) -> tuple[int, int, int, int, int]:
    """The shape of the state of ``tokens`` ids: layers, 2 (key, value), KV heads, ids, head dimension."""
    return shape.num_layers, 2, shape.num_kv_heads, tokens, shape.head_dim


def state_type(precision: str) -> np.dtype[Any]:
    """The type that a bundle of ``precision`` stores its state in."""
    return np.dtype(np.float32 if precision == "fp32" else np.float16)


def map_state(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> State:
    """The array in the .npy file at ``path``, mapped into memory, not read.

    Raises:
        ValueError: it is none, of another shape, type or order, or of another length than its header says.
        OSError: the file cannot be read.
    """
    try:
        # Unlike numpy's `load`, it knows no other formats, and nothing that is pickled.
        array = open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:  # the header is parsed as Python, which fails in many ways
        raise ValueError(f"not a whole .npy array ({(str(error).splitlines() or [''])[0][:100]})") from None
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{array.dtype} {list(array.shape)}, not {dtype} {list(shape)}")
    if not array.flags.c_contiguous or array.offset + array.nbytes != path.stat().st_size:
        raise ValueError("not one array in C order")
    return np.asarray(array)
