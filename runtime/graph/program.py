"""A graph that can be run, as numbered steps: what the quick ways of running it share.

Every value has a slot: the constants first, then the result of each step. A step takes the slots of two arguments
(twice the same where it needs one) and fills its own. An operation on more arguments becomes several steps, in the
order in which `ops` goes through them; ``identity`` becomes none. Steps word no errors: a value out of the ordinary
sends the graph to `execute`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from functools import lru_cache

from msgspec import Struct

from .node import FINAL_ID, Node, Number
from .ops import OPS
from .structure import MAX_ARGS, MAX_NODES, check_nodes, literal_value

_PAIR_OPS = ("add", "sub", "mul", "div", "min", "max", "pow", "mod", "gcd", "lcm")
SINGLE_OPS = ("abs", "round", "floor", "ceil", "sqrt")
STEP_OPS = _PAIR_OPS + SINGLE_OPS

# A record's word for a step: operation, position among the steps, and the two slots.
OP_BITS = 5
SLOT_BITS = 16
MAX_STEPS = 2 ** (16 - OP_BITS)

_CODES = {op: code for code, op in enumerate(STEP_OPS)} | {"sum": STEP_OPS.index("add")}
_PAIRS = {op: _CODES[op] for op in (*_PAIR_OPS, "sum")}
_NUMBER_TYPES = frozenset({int, float})
# Constants below it are finite and have few digits.
_PLAIN_LIMIT = 1e15
# Where steps are numbered from until the number of constants is known.
_FIRST_STEP = 2**20


class Program(Struct, frozen=True):
    """A well-formed graph as steps.

    Attributes:
        constants: the values of the first slots.
        ops: for each step, the index of its operation in `STEP_OPS`.
        firsts: for each step, the slot of its first argument.
        seconds: for each step, the slot of its second argument, or of the first again.
        answer: the slot of the final result.
        record: the same in words of 8 bytes, one a slot: constants as doubles, steps, and a last word of the answer
            and the number of constants. None where a number does not fit.
    """

    constants: list[Number]
    ops: list[int]
    firsts: list[int]
    seconds: list[int]
    answer: int
    record: bytes | None


class _UnusualError(Exception):
    """Nodes that the quick road does not take: malformed, or with literals or huge numbers."""


def compile_nodes(nodes: tuple[Node, ...]) -> Program:
    """The program of ``nodes``. Raises GraphStructureError unless they can be run in their order."""
    try:
        return _compile(nodes, {}, _PLAIN_LIMIT)
    except (_UnusualError, KeyError):
        check_nodes(nodes)
        return _compile(nodes, _literals(nodes), math.inf)


def _literals(nodes: tuple[Node, ...]) -> dict[str | Number, Number]:
    """The arguments of well-formed nodes that are numbers, with their values."""
    ids = {node.id for node in nodes}
    values = {arg: literal_value(arg, ids) for node in nodes for arg in node.args or ()}
    return {arg: value for arg, value in values.items() if value is not None}


def _compile(nodes: tuple[Node, ...], literals: dict[str | Number, Number], limit: float) -> Program:
    """The program of ``nodes``. Raises _UnusualError, or KeyError for an unknown argument, where it takes them not."""
    constants = list(literals.values())
    slots: dict[str | Number, int] = {arg: slot for slot, arg in enumerate(literals)}
    steps = _Steps()
    ops, firsts, seconds = steps.ops, steps.firsts, steps.seconds
    for node in nodes:
        args = node.args
        if args is None:
            val = node.val
            if node.op != "const" or type(val) not in _NUMBER_TYPES or not -limit < val < limit:  # type: ignore[operator]
                raise _UnusualError
            slots[node.id] = len(constants)
            constants.append(val)  # type: ignore[arg-type]
        elif node.val is not None:
            raise _UnusualError
        elif len(args) == 2 and node.op in _PAIRS:
            # Written out, since most steps are of this kind.
            firsts.append(slots[args[0]])
            seconds.append(slots[args[1]])
            slots[node.id] = _FIRST_STEP + len(ops)
            ops.append(_PAIRS[node.op])
        else:
            slots[node.id] = steps.expand(node.op, [slots[arg] for arg in args], constants)
    if len(slots) < len(nodes) + len(literals) or not 0 < len(nodes) <= MAX_NODES or nodes[-1].id != FINAL_ID:
        raise _UnusualError
    return steps.program(constants, slots[FINAL_ID])


class _Steps:
    """Steps so far. Their own slots count from `_FIRST_STEP` until all constants are known."""

    def __init__(self) -> None:
        self.ops: list[int] = []
        self.firsts: list[int] = []
        self.seconds: list[int] = []

    def expand(self, op: str, args: list[int], constants: list[Number]) -> int:
        """Add the steps of any operation and return its slot. Raises _UnusualError for what is none."""
        if op not in OPS or not OPS[op].min_args <= len(args) <= (OPS[op].max_args or MAX_ARGS):
            raise _UnusualError
        if op == "identity":
            return args[0]
        if op == "abs" and len(args) == 2:
            return self._add("abs", self._add("sub", *args))
        if op == "mean":
            constants.append(len(args))
            return self._add("div", self._chain("add", args), len(constants) - 1)
        if op == "ratio_split":
            for part in args[1:]:
                self._add("sqrt", part)  # a negative part has none
            return self._add("div", self._add("mul", args[0], args[1]), self._chain("add", args[1:]))
        return self._add(op, args[0]) if op in SINGLE_OPS else self._chain(op, args)

    def _chain(self, op: str, args: list[int]) -> int:
        slot = args[0]
        for arg in args[1:]:
            slot = self._add(op, slot, arg)
        return slot

    def _add(self, op: str, first: int, second: int | None = None) -> int:
        self.ops.append(_CODES[op])
        self.firsts.append(first)
        self.seconds.append(first if second is None else second)
        return _FIRST_STEP + len(self.ops) - 1

    def program(self, constants: list[Number], answer: int) -> Program:
        """The finished program, slots counted from the constants on."""
        shift = _FIRST_STEP - len(constants)
        firsts = [slot if slot < _FIRST_STEP else slot - shift for slot in self.firsts]
        seconds = [slot if slot < _FIRST_STEP else slot - shift for slot in self.seconds]
        if answer >= _FIRST_STEP:
            answer -= shift
        record = None
        if len(self.ops) <= MAX_STEPS and len(constants) + len(self.ops) < 2**SLOT_BITS:
            words = [
                op | index << OP_BITS | first << 16 | second << 16 + SLOT_BITS
                for index, (op, first, second) in enumerate(zip(self.ops, firsts, seconds, strict=True))
            ]
            record = _packer(len(constants), len(words) + 1)(*constants, *words, answer | len(constants) << SLOT_BITS)
        return Program(constants, self.ops, firsts, seconds, answer, record)


@lru_cache(maxsize=1024)
def _packer(doubles: int, words: int) -> Callable[..., bytes]:
    return struct.Struct(f"={doubles}d{words}Q").pack
