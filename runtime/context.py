"""What a decoder has read: the KV cache of one sequence or several, in buffers that are past and present at once.

onnxruntime's GroupQueryAttention writes new keys and values behind the old ones where both are the same memory, so no
step copies the cache, and going back costs nothing: what lies behind a length is not looked at. Buffers are bound
once (IO binding), on the CPU and on CUDA alike, and grow by copying, a layer at a time, when they are full.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError
from .kernels.machine import usable_cores
from .logits import LAST, Logits, Positions

if TYPE_CHECKING:
    from .session import Session

# Tokens of a prompt that are read in one step. Long enough for the products to be at their quickest (measured: 64
# tokens cost no more a token than 256), short enough to be stopped between two steps.
CHUNK = 64
# By so many positions buffers grow.
_GROWTH = 256


class Context:
    """The sequences that a session has read. Sequences are rows of a batch, in order; there is one at first, empty.

    Args:
        session: the decoder.
        limit: positions that the model has.

    Attributes:
        lengths: of each row, in ids.
    """

    def __init__(self, session: Session, *, limit: int) -> None:
        self._session, self._limit = session, limit
        self.lengths = [0]
        self._buffers = _Buffers(session, 1, _GROWTH)

    @property
    def length(self) -> int:
        """The length of the first row."""
        return self.lengths[0]

    def feed(self, ids: Sequence[int], at: Positions = LAST, core: Collection[int] = ()) -> Logits:
        """Reads ``ids`` in the only row; logits [len(at), vocab] after those of them that are ``at`` these positions,
        at those in ``core`` perhaps of the session's core tokens alone.

        Raises:
            UsageError: it would be longer than the model's context.
            ModelError: onnxruntime fails on the CPU, out of memory for example.
            ProviderError: it fails on another provider.
        """
        begin, keep = 0, -min(at)
        while len(ids) - begin > max(CHUNK, keep):
            end = min(begin + CHUNK, len(ids) - keep)
            self._step(np.array([ids[begin:end]], np.int64), LAST, LAST)
            begin = end
        logits: Logits = self._step(np.array([ids[begin:]], np.int64), at, core)[0]
        return logits

    def feed_rows(self, ids: Sequence[int], *, core: bool = False) -> Logits:
        """Reads one id in every row; logits [rows, vocab], with ``core`` perhaps of the session's core tokens alone.
        Errors as of `feed`.

        One, since onnxruntime's GroupQueryAttention takes several behind a cache for a single row only.
        """
        return self._step(np.array(ids, np.int64)[:, None], LAST, LAST if core else ())[:, 0]

    def _step(self, ids: NDArray[np.int64], at: Positions, core: Collection[int]) -> Logits:
        lengths = [length + ids.shape[1] for length in self.lengths]
        total = max(lengths)
        if total > self._limit:
            raise UsageError(f"{total:,} tokens are more than the model's context of {self._limit:,}: ask for less")
        self._buffers.reserve(total)
        mask = (np.arange(total) < np.array(lengths)[:, None]).astype(np.int64)
        logits = self._buffers.run(ids, mask, at, core)
        self.lengths = lengths
        return logits

    def rewind(self, length: int, row: int = 0) -> None:
        """Forgets what ``row`` read after its first ``length`` ids. Costs nothing."""
        self.lengths[row] = min(length, self.lengths[row])

    def keep_first(self, length: int) -> None:
        """Forgets all but the first ``length`` ids of the first row."""
        self.lengths = [min(length, self.length)]
        self._buffers.trim(1)

    def load(self, state: NDArray[np.floating]) -> None:
        """Makes ``state`` [layers, 2 (key, value), kv_heads, length, head_dim] all that was read, in a single row."""
        length = state.shape[3]
        self._buffers.trim(1)
        self._buffers.reserve(length)
        places = self._session.cache_places
        # numpy makes single numbers of halves with one thread, which takes a twelfth of the time to the first token.
        with ThreadPoolExecutor(self._session.threads or usable_cores()) as pool:

            def write(index: int, buffer: NDArray[Any]) -> None:
                list(pool.map(_copy_head, buffer[0, :, :length], state[places[index]]))

            self._buffers.edit(write)
        self.lengths = [length]

    def state(self) -> NDArray[np.floating]:
        """What was read in the first row: keys and values [layers, 2 (key, value), kv_heads, length, head_dim]."""
        places, parts = self._session.cache_places, dict[tuple[int, int], NDArray[np.floating]]()

        def read(index: int, buffer: NDArray[Any]) -> None:
            parts[places[index]] = buffer[0, :, : self.length].copy()

        self._buffers.edit(read)
        layers = len(places) // 2
        return np.stack([np.stack([parts[layer, kind] for kind in (0, 1)]) for layer in range(layers)])

    def fork(self, rows: int) -> None:
        """Makes ``rows`` sequences of the first one."""
        length = self.length
        self._buffers.resize(rows)

        def write(_: int, buffer: NDArray[Any]) -> None:
            buffer[1:, :, :length] = buffer[:1, :, :length]

        self._buffers.edit(write)
        self.lengths = [length] * rows

    def drop(self, row: int) -> None:
        """Forgets a sequence. The last one takes its row."""
        *others, length = self.lengths
        last = len(others)

        def write(_: int, buffer: NDArray[Any]) -> None:
            buffer[row, :, :length] = buffer[last, :, :length]

        if row < last:
            self._buffers.edit(write)
            others[row] = length
        self.lengths = others or [0]
        self._buffers.resize(max(last, 1))


def _copy_head(target: NDArray[Any], source: NDArray[np.floating]) -> None:
    target[...] = source


class _Buffers:
    """Keys and values float32 or float16 [rows, kv_heads, capacity, head_dim] of every layer, bound to a session."""

    def __init__(self, session: Session, rows: int, capacity: int) -> None:
        self._session = session
        self._rows, self._capacity = rows, capacity
        self._arrays = [np.empty(shape, dtype) for shape, dtype in session.cache_buffers(rows, capacity)]
        self._bind()

    def run(self, ids: NDArray[np.int64], mask: NDArray[np.int64], at: Positions, core: Collection[int]) -> Logits:
        """Logits [rows, len(at), vocab]."""
        return self._session.run_bound(self._binding, ids, mask, at, core)

    def edit(self, change: Callable[[int, NDArray[Any]], None]) -> None:
        """Calls ``change`` with the number and the array of every buffer, which it may write to."""
        # One by one: a list of them would keep those in memory that `_reallocate` lets go.
        self._session.edit_cache(self._values, (array[: self._rows] for array in self._arrays), change)

    def reserve(self, positions: int) -> None:
        """Makes room for so many positions."""
        if positions > self._capacity:
            self._reallocate(self._rows, -(-positions // _GROWTH) * _GROWTH)

    def resize(self, rows: int) -> None:
        """Makes it ``rows`` rows; those that are there already keep what they hold."""
        if rows > len(self._arrays[0]):
            self._reallocate(rows, self._capacity)
        elif rows != self._rows:
            self._rows = rows
            self._bind()

    def trim(self, rows: int) -> None:
        """`resize` that gives the memory of other rows back."""
        if rows < len(self._arrays[0]):
            self.resize(rows)
            self._reallocate(rows, self._capacity)

    def _reallocate(self, rows: int, capacity: int) -> None:
        shapes = self._session.cache_buffers(rows, capacity)

        def copy(index: int, old: NDArray[Any]) -> None:
            # Here the old array is let go, so that no two caches are in memory at once.
            self._arrays[index] = np.empty(*shapes[index])
            self._arrays[index][: len(old), :, : old.shape[2]] = old
            self._values[index] = None

        self._binding = None
        self.edit(copy)
        self._rows, self._capacity = rows, capacity
        self._bind()

    def _bind(self) -> None:
        self._binding, self._values = self._session.bind_cache([array[: self._rows] for array in self._arrays])
