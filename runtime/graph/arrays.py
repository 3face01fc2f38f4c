"""The operations over arrays: a float64 array an argument, a row a graph or an input.

Each gives what the operation of `ops` gives, bit for bit, for a row where nothing is out of the ordinary. A row with
an error, a value past 2^53 or an argument that is cut to an integer is *odd*: its value here is NaN or past 2^53, and
the caller has it run again alone, where errors are worded and exactness is judged.

The functions are called inside ``np.errstate(all="ignore")``: NaN and infinity are how they say no.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from .node import Ties
from .ops import INTEGER_TOLERANCE, NEAR_ZERO, OPS, OperationError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
# A sequence of arrays, or an array with a row an argument.
Arguments = Sequence[Array] | Array
ArrayFunction = Callable[[Arguments], Array]

# Integers below it are exact in a double; one that is it may have been rounded to it.
EXACT_LIMIT = float(2**53)


def array_function(op: str, ties: Ties) -> ArrayFunction:
    """The operation of that name on float64 arrays whose shapes broadcast; ``ties`` as in `execute`."""
    return _round_away if op == "round" and ties == "away" else _FUNCTIONS[op]


def odd_rows(values: Array) -> Mask:
    """Which of ``values`` are out of the ordinary: NaN, infinite, 2^53 or past it."""
    return ~(np.abs(values) < EXACT_LIMIT)


def _unless(odd: Mask, values: Array) -> Array:
    return np.where(odd, np.nan, values)


def _identity(args: Arguments) -> Array:
    return args[0]


def _sum(args: Arguments) -> Array:
    total = args[0]
    for arg in args[1:-1]:
        total = total + arg
        total = _unless(odd_rows(total), total)
    # What the last addition does shows in its result.
    return total + args[-1] if len(args) > 1 else total


def _subtract(args: Arguments) -> Array:
    return args[0] - args[1]


def _multiply(args: Arguments) -> Array:
    product = args[0]
    for arg in args[1:-1]:
        product = product * arg
        product = _unless(odd_rows(product), product)
    return product * args[-1]


def _divide(args: Arguments) -> Array:
    return _unless(np.abs(args[1]) < NEAR_ZERO, args[0] / args[1])


def _absolute(args: Arguments) -> Array:
    return np.abs(args[0] if len(args) == 1 else args[0] - args[1])


def _mean(args: Arguments) -> Array:
    total = _sum(args)
    return _unless(odd_rows(total), total / len(args))


def _minimum(args: Arguments) -> Array:
    least = args[0]
    for arg in args[1:]:
        least = np.minimum(least, arg)
    return least


def _maximum(args: Arguments) -> Array:
    largest = args[0]
    for arg in args[1:]:
        largest = np.maximum(largest, arg)
    return largest


def _round_even(args: Arguments) -> Array:
    return np.rint(args[0])


def _round_away(args: Arguments) -> Array:
    size = np.abs(args[0])
    whole = np.floor(size)
    return np.copysign(np.where(size - whole >= 0.5, whole + 1, whole), args[0])


def _floor(args: Arguments) -> Array:
    return np.floor(args[0])


def _ceil(args: Arguments) -> Array:
    return np.ceil(args[0])


def _sqrt(args: Arguments) -> Array:
    return np.sqrt(args[0])


def _power(args: Arguments) -> Array:
    # numpy's own power may differ from the platform's in the last bit.
    return np.asarray(_POWERS(*args), dtype=np.float64)


def _one_power(base: float, exponent: float) -> float:
    try:
        return OPS["pow"].number((base, exponent))
    except (OperationError, OverflowError):
        return float("nan")


def _remainder(args: Arguments) -> Array:
    return _unless(np.abs(args[1]) < NEAR_ZERO, np.remainder(args[0], args[1]))


def _integers(value: Array) -> tuple[NDArray[np.int64], Mask]:
    """``value`` as gcd and lcm take it, and where it is odd: too large, or no integer."""
    usable = np.where(odd_rows(value), np.nan, value)
    nearest = np.rint(usable)
    odd = ~(np.abs(usable - nearest) <= INTEGER_TOLERANCE)
    return np.where(odd, 0.0, nearest).astype(np.int64), odd


def _gcd(args: Arguments) -> Array:
    common, odd = _integers(args[0])
    for arg in args[1:]:
        whole, is_odd = _integers(arg)
        common, odd = np.gcd(common, whole), odd | is_odd
    return _unless(odd, common.astype(np.float64))


def _lcm(args: Arguments) -> Array:
    first, odd = _integers(args[0])
    common = np.abs(first)
    for arg in args[1:]:
        whole, is_odd = _integers(arg)
        factor = np.abs(whole) // np.maximum(np.gcd(common, whole), 1)
        # Judged in doubles, since the product of two integers may not fit 64 bits.
        odd = odd | is_odd | odd_rows(common.astype(np.float64) * factor.astype(np.float64))
        common = common * np.where(odd, 0, factor)
    return _unless(odd, common.astype(np.float64))


def _ratio_split(args: Arguments) -> Array:
    share, whole = args[0] * args[1], _sum(args[1:])
    odd = odd_rows(share) | odd_rows(whole) | (whole == 0)
    for part in args[1:]:
        odd = odd | (part < 0)
    return _unless(odd, share / whole)


_POWERS = np.frompyfunc(_one_power, 2, 1)
_FUNCTIONS: dict[str, ArrayFunction] = {
    "identity": _identity,
    "add": _sum,
    "sum": _sum,
    "sub": _subtract,
    "mul": _multiply,
    "div": _divide,
    "abs": _absolute,
    "mean": _mean,
    "min": _minimum,
    "max": _maximum,
    "round": _round_even,
    "floor": _floor,
    "ceil": _ceil,
    "sqrt": _sqrt,
    "pow": _power,
    "mod": _remainder,
    "gcd": _gcd,
    "lcm": _lcm,
    "ratio_split": _ratio_split,
}
