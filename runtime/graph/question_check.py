"""A graph against its question: numbers from nowhere, numbers left out, answers that cannot be."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from fractions import Fraction

from .check import check_graph, node_warning
from .errors import quote
from .node import Node
from .numerals import format_number
from .question import CASES, QuestionNumber, read_numbers
from .schema import Graph, GraphWarning, Result
from .structure import literal_value
from .tokens import Token, plain_word, read_tokens
from .vocabulary import stems

# Constants that need no source: counts of hours, days, months and weeks, powers of ten, a dozen, the neutral ones.
WELL_KNOWN = frozenset(
    Fraction(text) for text in "0 1 7 12 24 30 31 52 60 100 365 366 1000 1440 3600 1/100 1/1000".split()
)
_MANY_DECIMALS = 200
_ROUNDING = 0.01
_INTEGRAL = 1e-9

# Numbers that a word holds without being one: both, twins, a diameter, the weekend, a decade, a yard, a square.
_IMPLIED = {
    **dict.fromkeys(stems("উভয় যমজ জমজ ব্যাস"), (2,)),
    **dict.fromkeys(stems("সপ্তাহ"), (2, 5)),
    **dict.fromkeys(stems("মাস"), (4,)),
    **dict.fromkeys(stems("ত্রিভুজ গজ"), (3,)),
    **dict.fromkeys(stems("বর্গ"), (2, 4)),
    **dict.fromkeys(stems("দশক"), (10,)),
    **dict.fromkeys(stems("আউন্স পাউন্ড"), (16,)),
}

# "How many" of things that are counted; কতটা and কতখানি ask how much.
_COUNTED = f"(?:{'|'.join(stems('টি জন গুলি গুলো গুলা বার খানা সংখ্যক'))})(?:{'|'.join(CASES)}|কে)?"
_COUNT_OF = re.compile(_COUNTED)
_COUNT_QUESTION = re.compile(
    f"(?:{'|'.join(stems('কত কয় ক'))}){_COUNTED}|(?:{'|'.join(stems('কয় ক'))})টা(?:{'|'.join(CASES)})?"
)
_QUESTION_WORDS = stems("কত কয়")
_MEAN = stems("গড়")
_IMPLIED_LETTERS = frozenset(stem[0] for stem in _IMPLIED)
_IMPLIED_LENGTHS = sorted({len(stem) for stem in _IMPLIED}, reverse=True)


def check_question(graph: Graph, question: str, result: Result | None = None) -> tuple[GraphWarning, ...]:
    """What a caller should know about ``graph`` as an answer to ``question``. Warnings, never errors:

    - ``const_not_in_question``: a constant or literal argument that no number, unit or multiple of the
      question explains, and that is no well-known factor;
    - ``number_not_in_graph``: a number of the question that no node mentions (``node`` is empty);
    - ``impossible_answer``: a negative or fractional answer where the question asks for a count; only with
      ``result``;
    - ``duplicate_label``: a label, not the empty one, that an earlier node has.

    Args:
        graph: in topological order.
        question: in Bengali, as it was asked; numbers count as digits of either script and as words.
        result: of running the graph; without it there is no ``impossible_answer``.

    Raises:
        GraphStructureError: the graph cannot be run.
    """
    check_graph(graph)
    tokens = read_tokens(question)
    numbers = read_numbers(question, tokens)
    constants = _constants(graph)
    warnings = [*_unexplained(constants, numbers, tokens), *_unmentioned(constants, numbers)]
    if result is not None:
        warnings += _impossible(graph, tokens, result)
    return (*warnings, *_repeated_labels(graph))


def _constants(graph: Graph) -> list[tuple[Node, Fraction]]:
    """Every constant and literal argument, each once a node, with the decimal value that it is written as."""
    ids = {node.id for node in graph.nodes}
    constants = []
    for node in graph.nodes:
        values = [node.val] if node.val is not None else [literal_value(arg, ids) for arg in node.args or ()]
        for value in dict.fromkeys(values):
            if value is not None:
                constants.append((node, Fraction(value) if isinstance(value, int) else Fraction(repr(value))))
    return constants


def _unexplained(
    constants: list[tuple[Node, Fraction]], numbers: Iterable[QuestionNumber], tokens: list[Token]
) -> Iterator[GraphWarning]:
    explained = {abs(form) for number in numbers for form in (number.value, *number.also)} | WELL_KNOWN
    explained.update(Fraction(count) for token in tokens for count in _implied(token))
    rough = sorted(float(value) for value in explained if _has_no_end(value))
    for node, value in constants:
        rounded = value.denominator != 1 and _near(rough, value)
        if abs(value) not in explained and not rounded:
            text = f"{format_number(value)} is not a number of the question, nor a well-known factor"
            yield node_warning("const_not_in_question", node, text)


def _unmentioned(constants: list[tuple[Node, Fraction]], numbers: Iterable[QuestionNumber]) -> Iterator[GraphWarning]:
    mentioned = {abs(value) for _, value in constants}
    rough = sorted(float(value) for value in mentioned if value.denominator != 1)
    seen: set[Fraction] = set()
    for number in numbers:
        if not number.expected or number.value in seen:
            continue
        seen.add(number.value)
        rounded = any(_has_no_end(form) and _near(rough, form) for form in (number.value, *number.also))
        if not rounded and mentioned.isdisjoint(map(abs, (number.value, *number.also))):
            yield GraphWarning("number_not_in_graph", "", f"no node mentions {quote(number.text)} of the question")


def _implied(token: Token) -> tuple[int, ...]:
    if token.word[:1] not in _IMPLIED_LETTERS:
        return ()
    word = plain_word(token)
    return next((_IMPLIED[word[:length]] for length in _IMPLIED_LENGTHS if word[:length] in _IMPLIED), ())


def _has_no_end(value: Fraction) -> bool:
    """Whether ``value`` has no finite decimals, so that a graph can only write it rounded: 0.33 for 1/3."""
    return pow(10, _MANY_DECIMALS, value.denominator) != 0 and value.denominator != 1


def _near(ordered: list[float], value: Fraction) -> bool:
    """Whether one of ``ordered`` is ``value``, rounded or cut to two decimals or more."""
    wanted = float(abs(value))
    index = bisect_left(ordered, wanted)
    return any(abs(other - wanted) < _ROUNDING for other in ordered[max(index - 1, 0) : index + 1])


def _impossible(graph: Graph, tokens: list[Token], result: Result) -> list[GraphWarning]:
    if not _asks_for_count(tokens):
        return []
    answer = result.answer
    whole = abs(answer - round(answer)) <= _INTEGRAL * max(1, abs(answer))
    # A mean of counts may have decimals, but is not below zero.
    averaged = any(plain_word(token).startswith(_MEAN) for token in tokens)
    if answer >= 0 and (whole or averaged):
        return []
    reason = "negative" if answer < 0 else "not a whole number"
    text = f"{result.answer_text} is {reason}, but the question asks for a count"
    return [node_warning("impossible_answer", graph.nodes[-1], text)]


def _asks_for_count(tokens: list[Token]) -> bool:
    """Whether the last "how many" or "how much" of the question is about things that are counted."""
    after = ""
    for token in reversed(tokens):
        word = plain_word(token)
        if word in _QUESTION_WORDS:
            return _COUNT_OF.fullmatch(after) is not None
        if _COUNT_QUESTION.fullmatch(word):
            return True
        if word.startswith(_QUESTION_WORDS[0]):
            return False
        after = word
    return False


def _repeated_labels(graph: Graph) -> Iterator[GraphWarning]:
    first: dict[str, str] = {}
    for node in graph.nodes:
        label = node.label.strip()
        owner = first.setdefault(label, node.id)
        if label and owner != node.id:
            text = f"its label {quote(label)} is the one of node {quote(owner)} too"
            yield node_warning("duplicate_label", node, text)
