"""The grammar that decoding is held to: whatever the weights say, what comes out is one well-formed graph.

The language is docs/graph.md's in the one style that DAGGER was trained on (fence, two-space list, a node a line), so
that two thirds of the tokens are forced. What a grammar without memory cannot say (an id is new, an argument names a
node before it, the answer comes once and last, all of it ends within the limit) is in the grammar because it is made
anew for every node, where its label begins: until then nothing of the next node is fixed, and a token may reach from
one into the other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .errors import ModelError, UsageError
from .graph.charset import ASCII, BENGALI, CHARSET
from .graph.node import FINAL_ID
from .graph.ops import OPS
from .spelling import Spelling

MAX_NODES = 48
MAX_ID_CHARS = 24
# A sign, 15 digits, a point and 10 more.
_NUMBER, _MAX_NUMBER_CHARS = r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,10})?", 27
# How long a label may be, in characters, and how many arguments a node may have. Less where the limit on tokens is
# near; the last of them has to be enough to come to an end.
MAX_ARGUMENTS = 16
_ROOMS = ((64, MAX_ARGUMENTS), (48, 8), (32, 4), (16, 3), (8, 2), (4, 2), (4, 1))
_LEAST = _ROOMS[-1]
# ratio_split is in the prompt, and models cannot have learnt it: no training graph could be run with it.
_OFFERED = [op for op in OPS.values() if op.name not in {"const", "ratio_split"}]

_OPENING = '```json\n{\n  "nodes": [\n    {"id": "'
_SEPARATOR = '"},\n    {"id": "'
_CLOSING = '"}\n  ]\n}\n```'
_LABEL_KEY = '"label": "'
# How many tokens these texts take at most, and the keys between two labels with an operation and a flag, however a
# model cuts them where the tokens are not forced. Computed for the demo's tokenizer and Gemma's, by tests/runtime.
_OPEN, _CLOSE, _KEYS = 16, 9, 54
_BYTES_A_CHAR = 3
# Brackets and fences have no place in a label, and tokens such as <unused0> are spelled with them.
_LABEL_CHARS = CHARSET - frozenset('"\\\n<>[]{}`')
_LABEL_BEGINS = frozenset(char for char in BENGALI | ASCII if char.isalnum())
_ID = re.compile(rb'\{"id": "(\w+)"')
# Text from the last label's beginning on that ends in the label, which has no quotes, or in an id.
_IN_WORDS = re.compile(rb'[^"]*\Z|(?s:.*)"id": "\w*\Z')


class GraphGrammar:
    """What may come next in the text of a graph, token by token: a `decode.Constraint`.

    Args:
        spelling: of the bundle's tokenizer.
        budget: tokens that the text may have; the graph is closed before they are used up.
        words: all tokens but the core ones, as of `Spelling.bits_without`; None where there is no core.

    Attributes:
        text: all that was written, in UTF-8.
        ids: of the nodes whose heads (all before the label) are written.
        label_begin: where in ``text`` the last of these heads ends.

    Raises:
        UsageError: the budget is too small for the smallest graph.
    """

    def __init__(self, spelling: Spelling, budget: int, words: NDArray[np.uint8] | None = None) -> None:
        self._spelling, self._left, self._words = spelling, budget, words
        self.text, self.ids, self.label_begin = b"", list[str](), 0
        if budget < LEAST_BUDGET:
            least = f"allow {LEAST_BUDGET:,} or more"
            raise UsageError(f"a limit of {budget:,} new tokens leaves no room for a graph: {least}")
        # None where they were not asked for since the last token.
        self._forced: list[int] | None = None
        self._core_only: bool | None = None
        self._matcher = spelling.matcher(_lark(f"{_literal(_OPENING)} first_node", self.ids, _LEAST))

    @property
    def finished(self) -> bool:
        """Whether the graph is complete; nothing may come after it."""
        return self._is_last and self.text.endswith(_CLOSING.encode())

    @property
    def core_only(self) -> bool:
        """Whether the logits of core tokens are enough to choose what comes next."""
        if self._words is None:
            return False
        if self._core_only is None:
            self._core_only = bool(self.forced()) or self.finished or not self._allows_words(self._words)
        return self._core_only

    def forced(self) -> Sequence[int]:
        """The ids that come next whatever the model says; there may be none."""
        if self._forced is None:
            self._forced = [] if self.finished else self._matcher.compute_ff_tokens()
            self._check_matcher()
        return self._forced

    def allows(self, token: int) -> bool:
        """Whether ``token`` may come next."""
        if forced := self.forced():
            return token == forced[0]
        # Models have logits beyond the tokenizer's ids, which the matcher takes for an error that it never leaves.
        if self.finished or not 0 <= token < self._spelling.size:
            return False
        allowed: bool = self._matcher.validate_tokens([token]) == 1
        self._check_matcher()
        return allowed

    def mask(self, size: int) -> NDArray[np.bool_]:
        """Which of the tokens below ``size`` may come next, [size]."""
        allowed = np.zeros(size, np.bool_)
        if forced := self.forced():
            allowed[forced[0]] = True
            return allowed
        if self.finished:
            return allowed
        bits = np.unpackbits(np.frombuffer(self._matcher.compute_bitmask(), np.uint8), bitorder="little")
        known = min(size, self._spelling.size)
        allowed[:known] = bits[:known]
        self._check_matcher()
        return allowed

    def accept(self, token: int) -> None:
        """Writes ``token``.

        Raises:
            ValueError: it may not come next.
        """
        if not self.allows(token):
            raise ValueError(f"token {token} may not come next")
        self._forced = list(self.forced()[1:]) or None
        self._consume(token)
        begin = len(self.text)
        self.text += self._spelling.spell([token])
        self._left -= 1
        key = self.text.find(_LABEL_KEY.encode(), self.label_begin)
        if key >= 0:
            self._begin_label(key + len(_LABEL_KEY), begin, token)

    def fork(self) -> Self:
        """A copy that goes its own way."""
        copy = object.__new__(type(self))
        copy.__dict__ |= self.__dict__
        copy.ids = self.ids.copy()
        copy._matcher = self._matcher.deep_copy()
        return copy

    @property
    def _is_last(self) -> bool:
        return self.ids[-1:] == [FINAL_ID]

    def _begin_label(self, label_begin: int, token_begin: int, token: int) -> None:
        """Makes the grammar of the label that begins and of the next node's head; ``token`` may be in both already."""
        found = _ID.search(self.text, self.label_begin)
        assert found is not None
        self.ids.append(found[1].decode())
        self.label_begin = label_begin
        before = _literal(self.text[token_begin:label_begin].decode())
        if self._is_last:
            room, after = _last_label(self._left), _literal(_CLOSING)
        else:
            longest = max(map(len, self.ids))
            room, ordinary = _next_node(self._left, longest)
            ordinary = ordinary and len(self.ids) < MAX_NODES - 1
            after = f"{_literal(_SEPARATOR)} ({'node | ' if ordinary else ''}final_node)"
        self._matcher = self._spelling.matcher(_lark(f"{before} LABEL {after}", self.ids, room))
        self._forced = None
        self._consume(token)

    def _allows_words(self, words: NDArray[np.uint8]) -> bool:
        """Whether a token of ``words`` may come next."""
        if _IN_WORDS.match(self.text, self.label_begin):
            return True  # as its mask would say, which is ten times the work of others
        allowed = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        self._check_matcher()
        return bool((allowed[: len(words)] & words[: len(allowed)]).any())

    def _consume(self, token: int) -> None:
        self._core_only = None
        self._matcher.consume_token(token)
        self._check_matcher()

    def _check_matcher(self) -> None:
        """Raises ModelError where llguidance gave up (a limit of its own): from then on it allows the end alone."""
        if self._matcher.is_error():
            reason = self._matcher.get_error().partition("\n")[0]
            raise ModelError(f"the grammar failed after {len(self.text):,} bytes ({reason}): please report it")


def _next_node(left: int, longest: int) -> tuple[tuple[int, int], bool]:
    """The room that there is for a label and the head after it, and whether that need not be the last.

    Args:
        left: tokens.
        longest: characters of the longest id that there is.
    """
    for room in _ROOMS:
        if _label(room) + _head(room[1], longest) + _END <= left:
            return room, True
    for room in _ROOMS:
        if _label(room) + _KEYS + _arguments(room[1], longest) + _label(_LEAST) + _CLOSE <= left:
            return room, False
    return _LEAST, False


def _last_label(left: int) -> tuple[int, int]:
    """The room that there is for the last label."""
    return next((room for room in _ROOMS if _label(room) + _CLOSE <= left), _LEAST)


# How many tokens parts of a graph take at most: as many as they have bytes, where they are free.
def _head(arguments: int, longest: int) -> int:
    return _KEYS + MAX_ID_CHARS + max(_MAX_NUMBER_CHARS, _arguments(arguments, longest))


def _label(room: tuple[int, int]) -> int:
    return _BYTES_A_CHAR * room[0]


def _arguments(count: int, longest: int) -> int:
    return count * (longest + len('", "'))


# What a graph needs from the label of one node to its end, and in all.
_END = 2 * _label(_LEAST) + _KEYS + _arguments(1, MAX_ID_CHARS) + _CLOSE
LEAST_BUDGET = _OPEN + _head(1, MAX_ID_CHARS) + _END


def _lark(start: str, ids: Sequence[str], room: tuple[int, int]) -> str:
    """The grammar from ``start`` on, after nodes called ``ids``, in llguidance's kind of Lark.

    Literals are cut so that no two that may stand in the same place begin alike: its lexer takes the longest. A label
    after a head is only looked ahead at, as far as a token may reach into it.
    """
    label, arguments = room
    taken = "|".join([FINAL_ID, *ids])
    return "\n".join(
        (
            f"start: {start}",
            f"first_node: ID {_OP_KEY} const {_FLAG_KEY} flag",
            f"node: ID {_OP_KEY} (const | call) {_FLAG_KEY} flag" if ids else "",
            f"final_node: {_literal(FINAL_ID)} {_OP_KEY} call {_FLAG_KEY} {_literal('false')} label" if ids else "",
            f"const: {_VAL_KEY} NUMBER",
            f"call: {_calls(arguments)}" if ids else "",
            f"flag: ({_choice(['true', 'false'])}) label",
            f"label: {_literal(', ' + _LABEL_KEY)} AHEAD",
            f"ID: /[A-Za-z][A-Za-z0-9_]{{0,{MAX_ID_CHARS - 1}}}/ & ~/({taken})/",
            f"ARG: /({'|'.join(ids)})/" if ids else "",
            f"NUMBER: /{_NUMBER}/",
            f"LABEL: /[{_BEGINS}][{_CHARS}]{{0,{label - 1}}}/",
            f"AHEAD: /[{_BEGINS}][{_CHARS}]{{0,{_LEAST[0] - 1}}}/",
        )
    )


def _calls(most: int) -> str:
    """All operations on up to so many arguments."""
    calls = []
    for lowest, highest in sorted({(op.min_args, op.max_args or MAX_ARGUMENTS) for op in _OFFERED}):
        names = [op.name for op in _OFFERED if (op.min_args, op.max_args or MAX_ARGUMENTS) == (lowest, highest)]
        if lowest <= most:
            highest = min(highest, most)  # noqa: PLW2901
            more = f"({_NEXT_ARG} ARG){{{lowest - 1},{highest - 1}}}" if highest > 1 else ""
            calls.append(f"({_choice(names)}) {_ARGS_KEY} ARG {more} {_ARGS_END}")
    return " | ".join(calls)


def _choice(texts: Sequence[str]) -> str:
    return " | ".join(map(_literal, texts))


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _class(chars: frozenset[str]) -> str:
    """The inside of a character class; every character as its number, since signs have meanings there."""
    return "".join(f"\\u{ord(char):04x}" for char in sorted(chars))


_OP_KEY = _literal('", "op": "')
_VAL_KEY = _literal('const", "val": ')
_ARGS_KEY, _NEXT_ARG, _ARGS_END = _literal('", "args": ["'), _literal('", "'), _literal('"]')
_FLAG_KEY = _literal(', "distractor": ')
_BEGINS, _CHARS = _class(_LABEL_BEGINS), _class(_LABEL_CHARS)
