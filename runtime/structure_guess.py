"""What the text of a graph probably goes on with, from what graphs are: the next id, the question's next number, nodes
that nothing has used yet. These are guesses at text; decoding verifies them token by token."""

from __future__ import annotations

import re
from collections import Counter
from functools import cached_property
from typing import NamedTuple

from .graph.node import FINAL_ID
from .graph.numerals import format_number
from .graph.ops import OPS
from .graph.question import find_numbers

# How the answer is called in the prompt's example, and in the graphs that DAGGER was trained on.
_LAST_LABEL = "চূড়ান্ত উত্তর"
_BEGIN = '{"id": "'
_HEAD = re.compile(
    r'\{"id": "(?P<id>\w+)", "op": "(?P<op>\w+)", (?:"val": (?P<val>[-0-9.]+)|"args": \[(?P<args>[^\]]*)\]),'
    r' "distractor": (?P<flag>\w+)'
)
_ARGS = re.compile(r'"op": "(?P<op>\w+)", "args": \["(?P<done>(?:\w+", ")*)(?P<typed>\w*)(?P<quote>"?)$')


class Guess(NamedTuple):
    """Text that may come next, and the kind of place that it is for, by which its success is counted."""

    text: str
    place: str


class StructureGuess:
    """Guesses for the graph of one question, whose numbers are the constants, in order as a rule."""

    def __init__(self, question: str) -> None:
        self._numbers = [format_number(number.value) for number in find_numbers(question) if number.expected]
        # The beginning of the last text, and the nodes in it: the next one begins like it as a rule.
        self._read, self._nodes = "", list[dict[str, str | None]]()

    def after(self, text: str) -> Guess | None:
        """What ``text``, the graph so far, may go on with."""
        begin = text.rfind(_BEGIN)
        if begin < 0:
            return None
        state = _State(self._heads(text, begin), self._numbers)
        node = text[begin + len(_BEGIN) :]
        if '"' not in node:
            return _rest(node, "final" if state.ends else "id", state.next_id)
        is_last = node.startswith(FINAL_ID)
        _, key, typed = node.rpartition('"op": "')
        if key and '"' not in typed:
            op = "identity" if is_last else "const" if state.numbers else ""
            return _rest(typed, f"op {op}", op and f'{op}",')
        if arguments := _ARGS.search(node):
            return _argument(arguments, state)
        _, key, typed = node.rpartition('"val":')
        if key and "," not in typed:
            return _rest(typed, "val", f" {state.numbers[0]}," if state.numbers else "")
        _, key, typed = node.rpartition('"distractor":')
        if key and "," not in typed:
            return _rest(typed, "flag of const" if '"val"' in node else "flag", " false,")
        _, key, typed = node.rpartition('"label": "')
        if key and is_last:
            return _rest(typed, "last label", f'{_LAST_LABEL}"}}')
        return None

    def _heads(self, text: str, end: int) -> list[dict[str, str | None]]:
        """The nodes whose heads are in ``text`` before ``end``, where another one begins."""
        if end < len(self._read) or not text.startswith(self._read):
            self._read, self._nodes = "", []
        self._nodes += [match.groupdict() for match in _HEAD.finditer(text, len(self._read), end)]
        self._read = text[:end]
        return self._nodes


class _State:
    """Nodes whose heads are written, and numbers of the question that are not."""

    def __init__(self, nodes: list[dict[str, str | None]], numbers: list[str]) -> None:
        self._nodes = nodes
        written = Counter(node["val"] for node in nodes if node["val"])
        self.numbers = []
        for number in numbers:
            if written[number]:
                written[number] -= 1
            else:
                self.numbers.append(number)

    @cached_property
    def unused(self) -> list[str]:
        """Ids of nodes that the answer may need, and that no node names."""
        named = {arg for node in self._nodes for arg in re.findall(r"\w+", node["args"] or "")}
        return [str(node["id"]) for node in self._nodes if node["flag"] == "false" and node["id"] not in named]

    @property
    def ends(self) -> bool:
        """Whether all is used, and one operation is left to be the answer."""
        return not self.numbers and self._nodes[-1:] != [] and bool(self._nodes[-1]["args"]) and len(self.unused) == 1

    @property
    def next_id(self) -> str:
        """The id that comes next, and what closes it: tokens reach over both."""
        if self.ends:
            return f'{FINAL_ID}",'
        counted = [int(found[1]) for node in self._nodes if (found := re.fullmatch(r"n(\d{1,4})", str(node["id"])))]
        return f'n{max(counted, default=0) + 1}",'


def _argument(found: re.Match[str], state: _State) -> Guess | None:
    """The next argument of a list that is not closed."""
    done, typed, op = re.findall(r"\w+", found["done"]), found["typed"], OPS.get(found["op"])
    if op is None:
        return None
    last = len(done) + 1 >= (op.max_args or max(2, op.min_args))
    if found["quote"]:
        return Guess("]," if last else ', "', "argument list")
    left = [node for node in state.unused if node not in done]
    wanted = next((node for node in left if node.startswith(typed)), "") if not last or op.min_args > 1 else ""
    if op.max_args == 1:
        wanted = state.unused[-1] if state.unused else ""
    return _rest(typed, f"argument {len(done)}", wanted + ('"],' if last else '", "') if wanted else "")


def _rest(typed: str, place: str, text: str) -> Guess | None:
    """What ``text`` has after ``typed``, if it begins so and there is more."""
    return Guess(text[len(typed) :], place) if text.startswith(typed) and len(text) > len(typed) else None
