"""Text to ids by byte-pair merging, over tables instead of the library's own structures: see `token_tables`.

It follows `tokenizers` 0.22 (``models/bpe`` and ``added_vocabulary``) step by step and gives the same ids;
`tests/runtime/test_byte_pairs.py` holds the two against each other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from typing import NamedTuple

import numpy as np

from .token_tables import TokenTables

# Rank and id of what two tokens become; None where they stay apart.
_Merge = tuple[int, int] | None


class Encoding(NamedTuple):
    """The ids of a text."""

    ids: list[int]


class BytePairs:
    """A tokenizer over tables, with as much of the library's interface as is used here.

    Attributes:
        encode_special_tokens: read control tokens in a text as plain text; off, as in the library, unless switched on.
        special_ids: of the control tokens.
    """

    def __init__(self, tables: TokenTables) -> None:
        self.encode_special_tokens = False
        self._tables = tables
        added = json.loads(tables.added.tobytes())
        self._added = {text: index for text, index, _ in added}
        self.special_ids = [index for _, index, special in added if special]
        self._special = frozenset(self.special_ids)
        # By their first characters: how long they are, the longest first.
        lengths: dict[str, set[int]] = {}
        for text in self._added:
            lengths.setdefault(text[0], set()).add(len(text))
        self._lengths = {first: sorted(found, reverse=True) for first, found in lengths.items()}
        self._merges: dict[int, _Merge] = {}

    def encode(self, text: str, *, add_special_tokens: bool = False) -> Encoding:
        """The ids of ``text``. Nothing is put around them: ``add_special_tokens`` must be False."""
        if add_special_tokens:
            raise ValueError("control tokens are the caller's")
        ids: list[int] = []
        begin = 0
        for start, end, index in self._find_added(text):
            ids += self._merge(text[begin:start])
            ids.append(index)
            begin = end
        return Encoding(ids + self._merge(text[begin:]))

    def token_to_id(self, token: str) -> int | None:
        """The id of an added token, as control tokens are; None for all others."""
        return self._added.get(token)

    def in_graphs(self) -> list[bool]:
        """Which tokens can be part of the text of a graph, by id."""
        found: list[bool] = self._tables.in_graphs.astype(np.bool_).tolist()
        return found

    def spellings(self) -> list[bytes]:
        """What every token spells, by id."""
        return self._tables.spellings()

    def _find_added(self, text: str) -> Iterator[tuple[int, int, int]]:
        """Begin, end and id of every added token in ``text``: the leftmost ones, the longest of them."""
        at = 0
        while at < len(text):
            end = at + 1
            for length in self._lengths.get(text[at], ()):
                index = self._added.get(text[at : at + length])
                if index is not None:
                    end = at + length
                    # Nothing is looked for inside one that is plain text.
                    if not (self.encode_special_tokens and index in self._special):
                        yield at, end, index
                    break
            at = end

    def _merge(self, text: str) -> list[int]:
        """The ids of ``text`` that holds no added token."""
        ids = self._symbols(text.replace(" ", "▁"))
        if len(ids) < 2:
            return ids
        # A list of symbols that are linked, since they vanish in the middle. The end is a neighbour of nothing.
        left, right = list(range(-1, len(ids) - 1)), list(range(1, len(ids) + 1))
        known = self._look_up(ids)
        queue = [(merge[0], at, merge[1]) for at, merge in enumerate(known) if merge]
        heapify(queue)
        while queue:
            _, at, index = heappop(queue)
            after = right[at]
            # Whether both are there still, and as they were; of a symbol that vanished, nothing is right.
            if after >= len(ids) or after < 0 or self._become(ids[at], ids[after], index) is None:
                continue
            ids[at] = index
            right[at] = following = right[after]
            right[after] = -1
            if following < len(ids):
                left[following] = at
                merge = self._pair(index, ids[following])
                if merge:
                    heappush(queue, (merge[0], at, merge[1]))
            if left[at] >= 0:
                merge = self._pair(ids[left[at]], index)
                if merge:
                    heappush(queue, (merge[0], left[at], merge[1]))
        return [index for at, index in enumerate(ids) if right[at] >= 0]

    def _symbols(self, text: str) -> list[int]:
        """The ids of the characters of ``text``, or of the bytes of those that are no tokens."""
        if not text:
            return []
        tables = self._tables
        codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        places = np.minimum(np.searchsorted(tables.chars, codes), len(tables.chars) - 1)
        known = tables.chars[places] == codes
        ids: list[int] = tables.char_ids[places].tolist()
        if known.all():
            return ids
        found: list[int] = []
        for char, index, is_known in zip(text, ids, known.tolist(), strict=True):
            if is_known:
                found.append(index)
            else:
                found += tables.byte_ids[list(char.encode())].tolist()
        return found

    def _look_up(self, ids: list[int]) -> list[_Merge]:
        """What each of ``ids`` becomes together with the next one."""
        tables, symbols = self._tables, np.array(ids, np.uint64)
        keys = symbols[:-1] << np.uint64(32) | symbols[1:]
        places = np.minimum(np.searchsorted(tables.pairs, keys), len(tables.pairs) - 1)
        rows = zip(
            (tables.pairs[places] == keys).tolist(),
            tables.ranks[places].tolist(),
            tables.merged[places].tolist(),
            strict=True,
        )
        return [(rank, index) if found else None for found, rank, index in rows]

    def _pair(self, left: int, right: int) -> _Merge:
        key = left << 32 | right
        if key not in self._merges:
            (self._merges[key],) = self._look_up([left, right])
        return self._merges[key]

    def _become(self, left: int, right: int, index: int) -> _Merge:
        """What the two become, if that is ``index``."""
        merge = self._pair(left, right)
        return merge if merge and merge[1] == index else None
