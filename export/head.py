"""A pruned output head: which tokens can be part of the text of a graph, and so keep their rows.

Most of Gemma's vocabulary is of other scripts. A grammar for graphs never asks for those tokens, so their rows need
not be read at every step. ``grammar`` keeps every token that is made of `CHARSET` alone: under such a grammar it
loses nothing. ``short`` keeps fewer pieces of Latin words. It still spells every such text, but not always in the
tokens that the model would have chosen.

Most places of a graph have room for keys, operations and digits alone. The rows of these come first, and are a product
of their own, so that the others, of words, are read where words may come (`runtime.logits`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ..runtime.errors import UsageError
from ..runtime.graph import OPS, Graph, Node
from ..runtime.graph.charset import ASCII, CHARSET, writes_graphs
from ..runtime.graph.node import FINAL_ID
from ..runtime.manifest import HeadName
from ..runtime.token_tables import spell
from .storage.base import TILE

_SPACE = "▁"
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
# Entries that no text of the training had. Text that holds their name can be spelled without them.
_RESERVED = re.compile(r"<unused\d+>|<mask>|\[multimodal\]")
_LETTER = re.compile("[A-Za-z]")
# Latin pieces that ``short`` keeps: of so many letters, or among the first entries. BPE numbers its pieces in the
# order in which it made them, common ones first.
_SHORT_LETTERS, _COMMON_IDS = 2, 24_576
_DIGITS = re.compile("[0-9]+")


@dataclass(frozen=True, slots=True, eq=False)
class HeadCut:
    """The rows that a head keeps.

    Attributes:
        name: which cut, for the manifest.
        kept: the ids that have a row, int64 [rows], in the order of the rows.
        vocabulary: how many ids there are.
        core: how many of the rows, the first ones, are of the tokens that a graph's structure is written with.
    """

    name: str
    kept: NDArray[np.int64]
    vocabulary: int
    core: int

    @classmethod
    def choose(cls, name: HeadName, tokenizer: Path, vocabulary: int, stop: Collection[int]) -> Self | None:
        """The cut ``name`` for a tokenizer; None where all rows stay.

        Args:
            name: ``all``, ``grammar`` or ``short``.
            tokenizer: path of ``tokenizer.json``.
            vocabulary: rows of the model's embedding; it may have more than the tokenizer has entries.
            stop: ids that end an answer.

        Raises:
            UsageError: a character of `CHARSET` could no longer be written: this is no tokenizer like Gemma's.
        """
        if name == "all":
            return None
        opened = Tokenizer.from_file(str(tokenizer))
        texts = {index: text for index, text in _texts(opened).items() if index < vocabulary}
        kept = {index for index, text in texts.items() if writes_graphs(spell(text))}
        if name == "short":
            kept = {index for index in kept if _is_short(index, texts[index])} | kept & _style_ids(opened)
        _check_spelling({texts[index] for index in kept})
        kept.update(index for index in stop if index < vocabulary)  # others are an error of the manifest
        core = _core_first(sorted(kept), texts)
        return cls(name, np.concatenate(core), vocabulary, len(core[0]))

    @property
    def rows(self) -> int:
        """How many rows the head keeps."""
        return len(self.kept)

    @property
    def stored_ids(self) -> NDArray[np.int64]:
        """All ids in the order in which a shared table is stored: those that the head reads first, int64 [vocab]."""
        removed = np.ones(self.vocabulary, np.bool_)
        removed[self.kept] = False
        return np.concatenate([self.kept, np.flatnonzero(removed)])

    @property
    def row_of_id(self) -> NDArray[np.int64]:
        """The row of every id in that order, int64 [vocab]."""
        row = np.empty(self.vocabulary, np.int64)
        row[self.stored_ids] = np.arange(self.vocabulary)
        return row


def _texts(tokenizer: Tokenizer) -> Mapping[int, str]:
    """What every token stands for in a text, by its id; control tokens and reserved entries are left out."""
    special = {index for index, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    return {
        index: text.replace(_SPACE, " ")
        for text, index in tokenizer.get_vocab(with_added_tokens=True).items()
        if index not in special and not _RESERVED.fullmatch(text)
    }


def _is_short(index: int, text: str) -> bool:
    """Whether ``short`` keeps a token that ``grammar`` keeps."""
    latin = ASCII.issuperset(text) and not _BYTE.fullmatch(text)
    return not latin or index < _COMMON_IDS or len(_LETTER.findall(text)) <= _SHORT_LETTERS


def _style(label: str) -> str:
    """A graph with all fields and operations as models are trained to write them."""
    inputs = [Node(f"n{number}", "const", val=number, distractor=number == 1) for number in (1, 2, -3.5)]
    operations = [Node(f"n{number}", name, args=("n1", "n2", "n3")) for number, name in enumerate(OPS, 4)]
    graph = Graph((*inputs, *operations, Node(FINAL_ID, "identity", args=("n1",), label=label)))
    return graph.to_json(fenced=True)


def _style_ids(tokenizer: Tokenizer) -> set[int]:
    """The tokens of a graph's fence, fields, operations and ids."""
    return set(tokenizer.encode(_style("চূড়ান্ত উত্তর"), add_special_tokens=False).ids)


def _core_first(kept: Sequence[int], texts: Mapping[int, str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The ids of ``kept`` that are pieces of a graph's structure, whatever its numbers, and the others.

    The first are filled up to whole tiles; there are none where that would be all.
    """
    structure = _alike(_style(""))
    pieces = [index for index in kept if (text := texts.get(index)) and _alike(_as_ascii(text)) in structure]
    chosen = set(pieces)
    others = [index for index in kept if index not in chosen]
    missing = -len(pieces) % TILE
    core, words = sorted([*pieces, *others[:missing]]), others[missing:]
    if not words:
        core, words = [], list(kept)
    return np.array(core, np.int64), np.array(words, np.int64)


def _alike(text: str) -> str:
    """``text`` with the same digit for every number."""
    return _DIGITS.sub("1", text)


def _as_ascii(text: str) -> str:
    """What a token of a single byte stands for where that is a character; ``text`` as it is otherwise."""
    byte = _BYTE.fullmatch(text)
    return chr(int(byte[1], 16)) if byte else text


def _check_spelling(texts: set[str]) -> None:
    for character in sorted(CHARSET):
        if character not in texts and not {f"<0x{byte:02X}>" for byte in character.encode()} <= texts:
            raise UsageError(f"the tokenizer has neither a token nor bytes for {character!r}: export with --head all")
