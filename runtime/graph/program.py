"""A graph that can be run, as numbered steps: what the quick ways of running it share.

Every node has a slot for its value, an ``identity`` that of its argument. A step takes the slots of two arguments
(twice the same where it needs one) and fills its own. An operation on more arguments becomes several steps, in the
order in which `ops` goes through them. Steps word no errors: a value out of the ordinary sends the graph to `execute`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from functools import lru_cache

from msgspec import Struct

from .node import FINAL_ID, Node, Number
from .ops import MAX_EXACT_INTEGER, OPS
from .structure import MAX_ARGS, MAX_NODES, check_nodes, literal_value

_PAIR_OPS = ("add", "sub", "mul", "div", "min", "max", "pow", "mod", "gcd", "lcm")
SINGLE_OPS = ("abs", "round", "floor", "ceil", "sqrt")
STEP_OPS = _PAIR_OPS + SINGLE_OPS

# The low bits of a step's first number are the operation's index in `STEP_OPS`, the others the step's place.
OP_BITS = 5
FIELDS = 4
MAX_STEPS = 2 ** (16 - OP_BITS)
# Slots below it make a step's last field small, and its four fields, seen as one double, no huge number.
MAX_SLOTS = 2**14
# No slot, and in a double the mark of a NaN, which no constant is: only the last word of a program ends with it.
END = 2**16 - 1

_CODES = {op: code for code, op in enumerate(STEP_OPS)} | {"sum": STEP_OPS.index("add")}
_PAIRS = {op: _CODES[op] for op in (*_PAIR_OPS, "sum")}
# Constants below it are finite and have few digits.
_PLAIN_LIMIT = 1e15
# Steps have four fields each, so the length of all fields has the place of the next step from this bit on.
_PLACE_SHIFT = OP_BITS - 2


class Program(Struct, frozen=True, gc=False):
    """A well-formed graph as steps.

    Attributes:
        values: for each slot its constant, or 0 where a step fills it.
        fields: four numbers for each step, one after the other: its place among the steps (from bit `OP_BITS` on) and
            operation (below, an index of `STEP_OPS`), the slot that it fills, the slots of its two arguments.
        answer: the slot of the final result.
        packed: the same in words of 8 bytes, to be joined with those of other graphs: a double for each slot, then
            four 16-bit numbers for each step, then four more: the number of slots and of steps, the answer's slot, and
            `END`. Empty where there are too many.
        has_huge: whether a constant is 2^53 or past it.
    """

    values: list[float]
    fields: list[int]
    answer: int
    packed: bytes
    has_huge: bool


class UnusualError(Exception):
    """Nodes that the quick road does not take: malformed, or with literals or huge numbers."""


def compile_nodes(nodes: tuple[Node, ...]) -> Program:
    """The program of ``nodes``. Raises GraphStructureError unless they can be run in their order."""
    try:
        return compile_plain(nodes, {})[0]
    except (UnusualError, KeyError):
        check_nodes(nodes)
        return compile_plain(nodes, _literals(nodes), math.inf)[0]


def _literals(nodes: tuple[Node, ...]) -> dict[str | Number, Number]:
    """The arguments of well-formed nodes that are numbers, with their values."""
    ids = {node.id for node in nodes}
    values = {arg: literal_value(arg, ids) for node in nodes for arg in node.args or ()}
    return {arg: value for arg, value in values.items() if value is not None}


def compile_plain(
    nodes: tuple[Node, ...], literals: Mapping[str | Number, Number], limit: float = _PLAIN_LIMIT
) -> tuple[Program, int, bool]:
    """The program of well-formed ``nodes`` whose constants are below ``limit``; ``literals`` are those among arguments.

    With it, for the reader: how many arguments the nodes have in all, and whether a constant is a double. Raises
    UnusualError, or KeyError for an argument that is no node, where it does not take them.
    """
    values: list[float] = []
    slots: dict[str | Number, int] = {}
    for arg, number in literals.items():
        slots[arg] = len(values)
        values.append(float(number))
    fields: list[int] = []
    arguments, has_doubles, lowest = 0, False, -limit
    for node in nodes:
        op, args = node.op, node.args
        if args is None:
            val = node.val
            if type(val) is not int:
                if type(val) is not float:
                    raise UnusualError
                has_doubles = True
            if op != "const" or not lowest < val < limit:
                raise UnusualError
            slots[node.id] = len(values)
            # As a double, for integers would grow without limit.
            values.append(val * 1.0)
            continue
        if node.val is not None:
            raise UnusualError
        if len(args) == 2 and op in _PAIRS:
            # Written out, as the next one, since most nodes are of this kind.
            arguments += 2
            filled = len(values)
            fields += len(fields) << _PLACE_SHIFT | _PAIRS[op], filled, slots[args[0]], slots[args[1]]
            values.append(0.0)
        elif op == "identity" and len(args) == 1:
            arguments += 1
            filled = slots[args[0]]
        else:
            arguments += len(args)
            filled = _Expansion(values, fields).add_node(op, [slots[arg] for arg in args])
        slots[node.id] = filled
    if not 0 < len(nodes) <= MAX_NODES or nodes[-1].id != FINAL_ID:
        raise UnusualError
    if len(slots) < len(nodes) + len(literals) or "" in slots:
        raise UnusualError
    answer = slots[FINAL_ID]
    has_huge = limit > MAX_EXACT_INTEGER and any(abs(value) >= MAX_EXACT_INTEGER for value in values)
    return Program(values, fields, answer, _pack(values, fields, answer), has_huge), arguments, has_doubles


def _pack(values: list[float], fields: list[int], answer: int) -> bytes:
    steps = len(fields) // FIELDS
    if steps > MAX_STEPS or len(values) > MAX_SLOTS:
        return b""
    return _packer(len(values), steps)(*values, *fields, len(values), steps, answer, END)


class _Expansion:
    """Adds the steps of the nodes that need several, or one argument only."""

    def __init__(self, values: list[float], fields: list[int]) -> None:
        self._values = values
        self._fields = fields

    def add_node(self, op: str, args: list[int]) -> int:
        """The slot of ``op`` on the slots ``args``. Raises UnusualError for what is no operation on so many."""
        if op == "const" or op not in OPS or not OPS[op].min_args <= len(args) <= (OPS[op].max_args or MAX_ARGS):
            raise UnusualError
        if op == "abs" and len(args) == 2:
            return self._add("abs", self._add("sub", *args))
        if op == "mean":
            total = self._chain("add", args)
            self._values.append(float(len(args)))
            return self._add("div", total, len(self._values) - 1)
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
        slot = len(self._values)
        self._values.append(0.0)
        place = len(self._fields) << _PLACE_SHIFT
        self._fields += place | _CODES[op], slot, first, first if second is None else second
        return slot


@lru_cache(maxsize=1024)
def _packer(slots: int, steps: int) -> Callable[..., bytes]:
    return struct.Struct(f"={slots}d{(steps + 1) * FIELDS}H").pack
