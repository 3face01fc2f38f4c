"""Running a graph: the value of every node, the answer, and what a caller should know about them.

Values are what the authors' executor computes: doubles, and Python ints where rounding, gcd or lcm made them.
Exact mode runs the same graph on rational numbers, with ``45.6`` meaning 228/5; the oracle of the fast mode.

Nodes off the answer's path are run too, for the trace; one that fails costs a warning, not the answer.
"""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import dataclass, field
from fractions import Fraction
from typing import get_args

from ..errors import UsageError
from .check import answer_path, check_flags, check_graph, node_warning
from .errors import ExecutionError, printable, quote
from .node import FINAL_ID, Node, Ties
from .numerals import format_number, plain_value, to_bengali_digits
from .ops import MAX_EXACT_INTEGER, Op, OperationError, check_size, find_op, to_integer
from .schema import Graph, GraphWarning, Result, Step
from .structure import literal_value

_MAX_SHOWN_ARGUMENTS = 8
_MAX_SHOWN_DIGITS = 40

Value = float | Fraction


def execute(graph: Graph, *, exact: bool = False, ties: Ties = "even") -> Result:
    """Run ``graph`` and return every value of it.

    The operations are those of docs/graph.md: of the DAGGER prompt (arXiv 2601.06853), with the numbers of the
    authors' executor (dipta007/DAGGER, src/eval/helpers.py) but for the cases in docs/quirks.md.

    Args:
        graph: in topological order, as `read` and ``Graph.parse`` give it.
        exact: compute on rational numbers, not on doubles; a root that has none is a double, flagged ``inexact``.
        ties: how ``round`` takes halves: to the even neighbour (as the reference), or away from zero.

    Raises:
        GraphStructureError: the graph cannot be run in its order.
        ExecutionError: a node of the answer's path has no finite real value.
        UsageError: ``ties`` is neither ``"even"`` nor ``"away"``.
    """
    check_ties(ties)
    check_graph(graph)
    run = Run({node.id for node in graph.nodes}, exact=exact, ties=ties)
    path = answer_path(graph)
    steps = []
    for node in graph.nodes:
        try:
            steps.append(run.step(node))
        except ExecutionError as error:
            if node.id in path:
                raise
            steps.append(run.failed(node, error))
    answer = run.values[FINAL_ID]
    text = format_number(answer)
    return Result(
        answer=plain_value(answer),
        answer_text=text,
        answer_text_bn=to_bengali_digits(text),
        exact=exact,
        values={step.id: step.value for step in steps},
        order=tuple(node.id for node in graph.nodes),
        path=path,
        distractors=tuple(node.id for node in graph.nodes if node.distractor),
        warnings=(*check_flags(graph), *run.warnings),
        trace=tuple(steps),
    )


def check_ties(ties: str) -> None:
    """Raises UsageError for a way of rounding halves that there is not."""
    if ties not in get_args(Ties):
        raise UsageError(f'ties is "even" or "away", not {ties!r}')


@dataclass(slots=True)
class Run:
    """A run, node by node: values so far, in numbers and in text, and which of them are not exact.

    Attributes:
        ids: those of nodes. An argument that is none of them is read as a number.
        exact, ties: as of `execute`.
    """

    ids: Set[str]
    exact: bool = False
    ties: Ties = "even"
    values: dict[str, Value] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    inexact: set[str] = field(default_factory=set)
    warnings: list[GraphWarning] = field(default_factory=list)

    def step(self, node: Node) -> Step:
        """Run one node whose arguments have been run. Raises ExecutionError."""
        if node.val is not None:
            value = self._constant(node, node.val)
            text = expression = format_number(value)
        else:
            op = find_op(node.op, self.ties)
            args = node.args or ()
            value = self._apply(node, op, [self._argument(node, arg) for arg in args])
            text = format_number(value)
            expression = _expression(op, [self._text(arg) for arg in args])
        self.values[node.id] = value
        self.texts[node.id] = text
        return Step(node.id, node.op, node.label, expression, plain_value(value), text)

    def failed(self, node: Node, error: ExecutionError) -> Step:
        """Note that ``node`` has no value, which the answer does not need."""
        self._warn("unused_failed", node, f"no value ({error.reason}); the answer does not depend on it")
        expression = f"{node.op}({', '.join(error.arguments)})"
        return Step(node.id, node.op, node.label, expression, None, "")

    def _constant(self, node: Node, val: float) -> Value:
        # Compared before it becomes a double, which would hide that 2^53 + 1 is not one.
        self._note_exactness(node, lost=not self.exact and abs(val) > MAX_EXACT_INTEGER)
        return self._number(val)

    def _number(self, value: float) -> Value:
        """A number of the text: a double as in the reference, or the decimal fraction that was written."""
        return Fraction(repr(value)) if self.exact else float(value)

    def _argument(self, node: Node, arg: str | float) -> Value:
        literal = literal_value(arg, self.ids)
        if literal is not None:
            return self._number(literal)
        source = str(arg)
        if source not in self.values:
            raise _error(f"its argument {quote(source)} has no value", node, [])
        return self.values[source]

    def _text(self, arg: str | float) -> str:
        literal = literal_value(arg, self.ids)
        return self.texts[str(arg)] if literal is None else format_number(self._number(literal))

    def _apply(self, node: Node, op: Op, args: list[Value]) -> Value:
        """The value of ``op`` on ``args``, with the warnings that it deserves."""
        try:
            value, lost = _exact_value(op, args) if self.exact else _number_value(op, args)
            check_size(value)
        except OperationError as error:
            raise _error(str(error), node, args) from None
        except OverflowError:
            raise _error("the result is too large for a double", node, args) from None
        self._note_exactness(node, lost=lost)
        if op.integers and any(to_integer(arg)[1] for arg in args):
            self._warn("truncated", node, f"{op.name} is for integers; what follows the point was cut off")
        if op.name == "ratio_split":
            self._warn("ratio_split", node, "read as total × part ÷ sum of the parts; the authors never ran it")
        return value

    def _note_exactness(self, node: Node, *, lost: bool) -> None:
        """Flag a node that lost exactness itself, or got it lost from an argument."""
        if lost:
            reason = "no exact value" if self.exact else "passes 2^53, where doubles lose integers"
        elif any(self._is_inexact(arg) for arg in node.args or ()):
            reason = "depends on an inexact value"
        else:
            return
        self.inexact.add(node.id)
        self._warn("inexact", node, reason)

    def _is_inexact(self, arg: str | float) -> bool:
        literal = literal_value(arg, self.ids)
        if literal is None:
            return arg in self.inexact
        return not self.exact and abs(literal) > MAX_EXACT_INTEGER

    def _warn(self, code: str, node: Node, message: str) -> None:
        self.warnings.append(node_warning(code, node, message))


def _exact_value(op: Op, args: list[Value]) -> tuple[Fraction, bool]:
    """The rational value, and whether it is only the double nearest to one that is not rational."""
    value = op.exact([Fraction(arg) for arg in args])
    return Fraction(value), isinstance(value, float)


def _number_value(op: Op, args: list[Value]) -> tuple[float, bool]:
    """The value in doubles and ints, and whether it lost exactness."""
    numbers = [arg for arg in args if not isinstance(arg, Fraction)]
    value = op.number(numbers)
    check_size(value)
    return value, _lost_integer(op, numbers, value)


def _lost_integer(op: Op, args: list[float], value: float) -> bool:
    """Whether ``value`` is past 2^53, or integers on the way to it were rounded."""
    if abs(value) > MAX_EXACT_INTEGER:
        return True
    # No sum or product on the way can be larger than this product.
    if not op.rounds or math.prod(1.0 + abs(arg) for arg in args) <= MAX_EXACT_INTEGER:
        return False
    rationals = [Fraction(arg) for arg in args]
    if any(arg.denominator != 1 for arg in rationals):
        return False
    true_value = Fraction(op.exact(rationals))
    return value != (true_value if true_value.denominator == 1 else float(true_value))


def _expression(op: Op, texts: list[str]) -> str:
    """``op`` with values in place of ids, such as ``122195 × 45.6``."""
    if op.name == "identity":
        return texts[0]
    if op.infix and len(texts) > 1:
        return f" {op.infix} ".join(f"({text})" if _needs_brackets(text) else text for text in texts)
    return f"{op.name}({', '.join(texts)})"


def _needs_brackets(text: str) -> bool:
    return text.startswith("-") or "/" in text


def _error(reason: str, node: Node, args: list[Value]) -> ExecutionError:
    texts = [_short_number(arg) for arg in args[:_MAX_SHOWN_ARGUMENTS]]
    if len(args) > _MAX_SHOWN_ARGUMENTS:
        texts.append(f"… {len(args)} in all")
    return ExecutionError(reason, node=node.id, op=printable(node.op), arguments=tuple(texts))


def _short_number(value: Value) -> str:
    """``value`` for a message: as a double where an int or a fraction would fill lines."""
    text = format_number(value)
    return text if len(text) <= _MAX_SHOWN_DIGITS else repr(float(value))
