"""The operations of the graph language: one table of names, arities, aliases and functions. No ``eval``.

Each operation has two functions. ``number`` works on Python numbers with the values of the authors' executor
(dipta007/DAGGER, src/eval/helpers.py): constants arrive as doubles; rounding, gcd and lcm give ints, which
Python keeps exact. ``exact`` works on rational numbers; where no rational result exists (a root) it gives a
float.

A vectorised form is one more column of this table: the same operators over float64 arrays, a row a graph.
Ints and doubles differ only past 2^53, so it would send rows that it must flag ``inexact`` back through here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from .node import Ties

Rational = Fraction | int
NumberFunction = Callable[[Sequence[float]], float]
ExactFunction = Callable[[Sequence[Fraction]], Rational | float]

# A divisor below this is zero, as in the authors' executor.
NEAR_ZERO = 1e-10
INTEGER_TOLERANCE = 1e-9
MAX_EXACT_BITS = 4096
# Up to it every integer is a double.
MAX_EXACT_INTEGER = 2**53
# A double overflows from 2^1024 up.
OVERFLOW_BITS = 1024

_N = TypeVar("_N", float, Fraction)


class OperationError(ArithmeticError):
    """An operation without a finite real result; the executor adds node and values. Its text is why."""


@dataclass(frozen=True, slots=True)
class Op:
    """One operation. ``max_args`` is None where any number above ``min_args`` will do.

    ``infix`` is how it stands between its arguments in a trace. ``rounds``: it can lose an integer result to
    rounding on the way. ``integers``: arguments are made integers first, see ``to_integer``.
    """

    name: str
    min_args: int
    max_args: int | None
    number: NumberFunction
    exact: ExactFunction
    aliases: tuple[str, ...] = ()
    infix: str = ""
    rounds: bool = False
    integers: bool = False

    @property
    def arity(self) -> str:
        """The number of arguments in words, for messages."""
        if self.max_args is None:
            return f"{self.min_args} or more arguments"
        if self.min_args == self.max_args:
            return f"{self.min_args} argument{'s' if self.min_args != 1 else ''}"
        return f"{self.min_args} to {self.max_args} arguments"


def is_integral(value: float) -> bool:
    """Whether ``value`` is an integer, as an int or as a double."""
    return isinstance(value, int) or value.is_integer()


def to_integer(value: float | Fraction) -> tuple[int, bool]:
    """``value`` as gcd and lcm take it, and whether that truncated it.

    Within 1e-9 of an integer it is that integer; any other is cut towards zero, as the authors do.
    """
    nearest = round(value)
    if abs(float(value - nearest)) <= INTEGER_TOLERANCE:
        return nearest, False
    return math.trunc(value), True


def canonical_name(name: str) -> str | None:
    """The op that ``name`` means when case, white space and the aliases that models write are allowed for."""
    return _NAMES.get(name.strip().lower())


def find_op(name: str, ties: Ties) -> Op:
    """The operation of that name; ``ties`` is how ``round`` takes a number halfway between two integers."""
    return _ROUND_AWAY if name == "round" and ties == "away" else OPS[name]


def _identity(args: Sequence[_N]) -> _N:
    return args[0]


def _sum(args: Sequence[_N]) -> _N:
    # Not the built-in: from Python 3.12 on it compensates, and results would depend on the version.
    total = args[0]
    for arg in args[1:]:
        total = total + arg
        check_size(total)
    return total


def _subtract(args: Sequence[_N]) -> _N:
    return args[0] - args[1]


def _multiply(args: Sequence[_N]) -> _N:
    product = args[0]
    for arg in args[1:]:
        product = product * arg
        check_size(product)
    return product


def _divide(args: Sequence[_N]) -> _N:
    if abs(float(args[1])) < NEAR_ZERO:
        raise OperationError("division by zero (a divisor below 1e-10)")
    return args[0] / args[1]


def _absolute(args: Sequence[_N]) -> _N:
    return abs(args[0] if len(args) == 1 else args[0] - args[1])


def _sum_exact(args: Sequence[Fraction]) -> Fraction:
    # Over one denominator: reducing after every addition takes most of the time.
    denominator = math.lcm(*(arg.denominator for arg in args))
    total = Fraction(sum(arg.numerator * (denominator // arg.denominator) for arg in args), denominator)
    check_size(total)
    return total


def _mean(args: Sequence[_N]) -> _N:
    return _sum(args) / len(args)


def _mean_exact(args: Sequence[Fraction]) -> Fraction:
    return _sum_exact(args) / len(args)


def _minimum(args: Sequence[_N]) -> _N:
    return min(args)


def _maximum(args: Sequence[_N]) -> _N:
    return max(args)


def _round_even(args: Sequence[_N]) -> int:
    return round(args[0])


def _round_away(args: Sequence[_N]) -> int:
    size = abs(args[0])
    whole = math.floor(size)
    # The difference is exact, where size + 0.5 may round up.
    nearest = whole + 1 if size - whole >= 0.5 else whole
    return nearest if args[0] >= 0 else -nearest


def _floor(args: Sequence[_N]) -> int:
    return math.floor(args[0])


def _ceil(args: Sequence[_N]) -> int:
    return math.ceil(args[0])


def _sqrt(args: Sequence[float]) -> float:
    if args[0] < 0:
        raise OperationError("the square root of a negative number is not real")
    return math.sqrt(args[0])


def _sqrt_exact(args: Sequence[Fraction]) -> Fraction | float:
    value = args[0]
    nearest = _sqrt([float(value)])
    root = Fraction(math.isqrt(value.numerator), math.isqrt(value.denominator))
    return root if root * root == value else nearest


def _power(args: Sequence[float]) -> float:
    base, exponent = args
    if base == 0 and exponent < 0:
        raise OperationError("zero to a negative power is infinite")
    if is_integral(base) and is_integral(exponent) and exponent >= 0:
        whole = _integer_power(int(base), int(exponent))
        if isinstance(base, int) and isinstance(exponent, int):
            return whole
        # Exact where the platform's pow may be off by one. What no double holds is the reference's: the platform's.
        if float(whole) == whole:
            return float(whole)
    power: float | complex = base**exponent
    if isinstance(power, complex):
        raise OperationError("a negative number to a fractional power is not real")
    return power


def _integer_power(base: int, exponent: int) -> int:
    """base ** exponent, refused before the work where it must overflow a double."""
    if (abs(base).bit_length() - 1) * exponent >= OVERFLOW_BITS:
        raise OverflowError
    power: int = base**exponent
    return power


def _power_exact(args: Sequence[Fraction]) -> Fraction | float:
    base, exponent = args
    if base == 0 and exponent < 0:
        raise OperationError("zero to a negative power is infinite")
    if exponent.denominator != 1:
        return _power([float(base), float(exponent)])
    size_bits = max(base.numerator.bit_length(), base.denominator.bit_length()) - 1
    if size_bits * abs(exponent.numerator) > MAX_EXACT_BITS:
        raise OperationError(f"a power of more than {MAX_EXACT_BITS} bits is too large for exact mode")
    return Fraction(base**exponent.numerator)


def _remainder(args: Sequence[_N]) -> _N:
    if abs(float(args[1])) < NEAR_ZERO:
        raise OperationError("remainder by zero (a divisor below 1e-10)")
    return args[0] % args[1]


def _gcd(args: Sequence[_N]) -> int:
    return math.gcd(*(to_integer(arg)[0] for arg in args))


def _lcm(args: Sequence[_N]) -> int:
    return math.lcm(*(to_integer(arg)[0] for arg in args))


def _ratio_split(args: Sequence[_N]) -> _N:
    total, parts = args[0], args[1:]
    if min(parts) < 0:
        raise OperationError("a part of a ratio cannot be negative")
    whole = _sum(parts)
    if whole == 0:
        raise OperationError("the parts of the ratio add up to zero")
    return total * parts[0] / whole


def check_size(value: float | Fraction) -> None:
    """Raises OverflowError if ``value`` overflows a double, OperationError if its exact form is too long."""
    if not math.isfinite(float(value)):
        raise OverflowError
    if isinstance(value, Fraction):
        size_bits = max(value.numerator.bit_length(), value.denominator.bit_length())
        if size_bits > MAX_EXACT_BITS:
            raise OperationError(f"a number of more than {MAX_EXACT_BITS} bits is too large for exact mode")


_ROUND_AWAY = Op("round", 1, 1, _round_away, _round_away, ("rounding",))

_TABLE = (
    # const is never applied: the executor takes its val. Its entry gives the arity and the aliases.
    Op("const", 0, 0, _identity, _identity, ("constant", "value")),
    Op("identity", 1, 1, _identity, _identity, ("id", "pass")),
    Op("add", 2, None, _sum, _sum_exact, ("addition", "plus"), "+", rounds=True),
    Op("sum", 1, None, _sum, _sum_exact, (), "+", rounds=True),
    Op("sub", 2, 2, _subtract, _subtract, ("subtract", "subtraction", "minus"), "-", rounds=True),
    Op("mul", 2, None, _multiply, _multiply, ("multiply", "mult", "product", "times"), "×", rounds=True),
    Op("div", 2, 2, _divide, _divide, ("divide", "division"), "÷"),
    Op("abs", 1, 2, _absolute, _absolute, ("absolute",), rounds=True),
    Op("mean", 1, None, _mean, _mean_exact, ("average", "avg"), rounds=True),
    Op("min", 1, None, _minimum, _minimum, ("minimum",)),
    Op("max", 1, None, _maximum, _maximum, ("maximum",)),
    Op("round", 1, 1, _round_even, _round_even, ("rounding",)),
    Op("floor", 1, 1, _floor, _floor),
    Op("ceil", 1, 1, _ceil, _ceil, ("ceiling",)),
    Op("sqrt", 1, 1, _sqrt, _sqrt_exact, ("square_root",)),
    Op("pow", 2, 2, _power, _power_exact, ("power", "exponent"), "^"),
    Op("mod", 2, 2, _remainder, _remainder, ("modulo", "remainder"), "mod"),
    Op("gcd", 2, None, _gcd, _gcd, integers=True),
    Op("lcm", 2, None, _lcm, _lcm, integers=True),
    Op("ratio_split", 3, None, _ratio_split, _ratio_split, rounds=True),
)

OPS = {op.name: op for op in _TABLE}
_NAMES = {name: op.name for op in _TABLE for name in (op.name, *op.aliases)}
