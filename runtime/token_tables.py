"""The tables of a byte-pair tokenizer of Gemma's kind: made of its ``tokenizer.json`` once, kept in the user's cache.

The library `tokenizers` reads the 33 MB of JSON of Gemma for two seconds and holds 300 MB of memory; the tables are
13 MB and read in a few hundredths of a second. `byte_pairs.BytePairs` makes the same ids of a text as the library does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .graph.charset import CHARSET, writes_graphs
from .user_cache import cache_name, read_cached, write_cached

# Changes whenever the tables are made or laid out in another way.
_VERSION = 2
_SPACE = "▁"
DECODER = [
    {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
    {"type": "ByteFallback"},
    {"type": "Fuse"},
]
# All that the tables take for granted; what they hold themselves is left out.
_EXPECTED = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE},
    # It never finds one: the normalizer has left no space.
    "pre_tokenizer": {
        "type": "Split",
        "pattern": {"String": " "},
        "behavior": "MergedWithPrevious",
        "invert": False,
    },
    "decoder": {"type": "Sequence", "decoders": DECODER},
}
_EXPECTED_MODEL = {
    "type": "BPE",
    "dropout": None,
    "continuing_subword_prefix": None,
    "end_of_word_suffix": None,
    "byte_fallback": True,
    "ignore_merges": False,
}
_PLAIN = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}


class TokenTables(NamedTuple):
    """What a tokenizer knows, as arrays.

    Attributes:
        spelling: uint8, what all tokens spell, in UTF-8, one behind the other.
        ends: uint32 [ids], where that of each id ends; what has no id between others spells nothing.
        in_graphs: uint8 [ids], 1 for what can be part of the text of a graph (`charset.writes_graphs`).
        chars: uint32, the code points that are tokens, ascending.
        char_ids: uint32, their ids.
        byte_ids: uint32 [256], the ids of single bytes.
        pairs: uint64, ``left id << 32 | right id`` of tokens that merge, ascending.
        ranks: uint32, which merges come first.
        merged: uint32, the ids of what they become.
        added: uint8, JSON: the tokens that are found before any merging, with their ids and whether they are control
            tokens.
    """

    spelling: NDArray[np.uint8]
    ends: NDArray[np.uint32]
    in_graphs: NDArray[np.uint8]
    chars: NDArray[np.uint32]
    char_ids: NDArray[np.uint32]
    byte_ids: NDArray[np.uint32]
    pairs: NDArray[np.uint64]
    ranks: NDArray[np.uint32]
    merged: NDArray[np.uint32]
    added: NDArray[np.uint8]

    def spellings(self) -> list[bytes]:
        """What every token spells, by id."""
        text, ends = self.spelling.tobytes(), self.ends.tolist()
        return [text[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


_TYPES = ("u1", "<u4", "u1", "<u4", "<u4", "<u4", "<u8", "<u4", "<u4", "u1")
# On disk the widest come first, so that all lie as their types ask for.
_ORDER = sorted(range(len(_TYPES)), key=lambda index: -np.dtype(_TYPES[index]).itemsize)


def kept_tables(path: Path, sha256: str) -> TokenTables | None:
    """The tables of the tokenizer at ``path``: from the user's cache, else made and kept there; None where it is of
    another kind.

    Args:
        path: a ``tokenizer.json``; it is read only where the cache has nothing.
        sha256: its digest, in hex.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no JSON.
    """
    name = cache_name("tokens", _VERSION, "".join(sorted(CHARSET)), sha256)
    kept = read_cached(name)
    if kept is not None:
        return _unpack(kept)
    data = path.read_bytes()
    tables = make_tables(json.loads(data))
    # A bundle may be opened without comparing its files: another file's tables must not be kept for this one.
    if tables is not None and hashlib.sha256(data).hexdigest() == sha256:
        write_cached(name, _pack(tables))
    return tables


def make_tables(document: Any) -> TokenTables | None:
    """The tables of a decoded ``tokenizer.json``; None where it holds anything that they do not allow for."""
    try:
        if not _is_known(document):
            return None
        vocabulary: dict[str, int] = document["model"]["vocab"]
        return TokenTables(
            *_spelling(vocabulary, document["added_tokens"]),
            *_characters(vocabulary),
            np.array([vocabulary[f"<0x{byte:02X}>"] for byte in range(256)], np.uint32),
            *_merges(vocabulary, document["model"]["merges"]),
            _added(document["added_tokens"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        # Left to the library, which says what is wrong with it.
        return None


def _is_known(document: Mapping[str, Any]) -> bool:
    model, added = document["model"], document["added_tokens"]
    vocabulary = model["vocab"]
    names = [token["content"] for token in added]
    return (
        all(document[key] == value for key, value in _EXPECTED.items())
        and all(model.get(key) == value for key, value in _EXPECTED_MODEL.items())
        and all(token[key] is value for token in added for key, value in _PLAIN.items())
        and all(vocabulary.get(token["content"], token["id"]) == token["id"] for token in added)
        and model["merges"]
        and min(map(len, [*vocabulary, *names])) == 1
        and len(set(names)) == len(names)
        and len({*vocabulary.values(), *(token["id"] for token in added)}) == len({*vocabulary, *names})
    )


def _spelling(
    vocabulary: Mapping[str, int], added: list[Any]
) -> tuple[NDArray[np.uint8], NDArray[np.uint32], NDArray[np.uint8]]:
    texts = {index: text for text, index in vocabulary.items()} | {token["id"]: token["content"] for token in added}
    spelled = [spell(texts[index]) if index in texts else b"" for index in range(max(texts) + 1)]
    ends = np.cumsum([len(text) for text in spelled]).astype(np.uint32)
    in_graphs = np.fromiter(map(writes_graphs, spelled), np.uint8, len(spelled))
    return np.frombuffer(b"".join(spelled), np.uint8), ends, in_graphs


def spell(token: str) -> bytes:
    """What ``token`` of a vocabulary stands for: a byte, or text whose spaces are written as ``▁``."""
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        return bytes([int(token[3:5], 16)])
    return token.replace(_SPACE, " ").encode()


def _characters(vocabulary: Mapping[str, int]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    single = sorted((ord(text), index) for text, index in vocabulary.items() if len(text) == 1)
    chars, ids = np.array(single, np.uint32).reshape(-1, 2).T
    return np.ascontiguousarray(chars), np.ascontiguousarray(ids)


def _merges(vocabulary: Mapping[str, int], merges: list[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    found = {}
    for rank, merge in enumerate(merges):
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        found[vocabulary[left] << 32 | vocabulary[right]] = rank, vocabulary[left + right]
    pairs = np.fromiter(found, np.uint64, len(found))
    values = np.array(list(found.values()), np.uint32).reshape(-1, 2)
    order = np.argsort(pairs)
    return pairs[order], np.ascontiguousarray(values[order, 0]), np.ascontiguousarray(values[order, 1])


def _added(added: list[Any]) -> NDArray[np.uint8]:
    tokens = [(token["content"], int(token["id"]), bool(token["special"])) for token in added]
    return np.frombuffer(json.dumps(tokens).encode(), np.uint8)


def _pack(tables: TokenTables) -> bytes:
    sizes = np.array([array.nbytes for array in tables], "<u8")
    return b"".join([sizes.tobytes(), *(tables[index].astype(_TYPES[index]).tobytes() for index in _ORDER)])


def _unpack(content: bytes) -> TokenTables:
    sizes = np.frombuffer(content, "<u8", len(_TYPES)).tolist()
    begin, arrays = len(_TYPES) * 8, dict[int, NDArray[Any]]()
    for index in _ORDER:
        kind = np.dtype(_TYPES[index])
        arrays[index] = np.frombuffer(content, kind, sizes[index] // kind.itemsize, begin)
        begin += sizes[index]
    return TokenTables(*(arrays[index] for index in range(len(_TYPES))))
