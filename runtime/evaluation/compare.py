"""Two runs over the same questions, pair by pair: what changed, and whether chance would change as much."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from ..errors import UsageError
from ..graph import Graph
from .intervals import mcnemar, paired_difference
from .row_file import Run
from .rows import EvalRow, Header, Outcome, Settings
from .score import make, same_answer
from .summary import Group, group_of


class Pair(NamedTuple):
    """One question in both runs."""

    before: EvalRow
    after: EvalRow

    @property
    def same_answer(self) -> bool:
        """Whether both have the same answer, or neither has one."""
        one, other = self.before.answer, self.after.answer
        if one is None or other is None:
            return one is other
        return same_answer(one, other)

    @property
    def changed(self) -> bool:
        """Whether something happened that a user sees: another answer, or another outcome."""
        return not self.same_answer or self.before.outcome != self.after.outcome


class Paired(Struct, frozen=True):
    """The pairs of a group of questions.

    Attributes:
        before, after: the group in each run.
        both, only_before, only_after, neither: how many questions each run has right.
        difference, interval: accuracy after less before, with its 95 % interval (Newcombe's, for pairs).
        p: of McNemar's exact test: so often chance would split the changed ones as unevenly.
        same_answer: pairs with the same answer, those without any in both included.
        no_answer: pairs without any in both.
        same_text: pairs whose texts are equal.
        same_graph: pairs whose graphs are equal.
        same_but_labels: pairs whose graphs are equal when labels are left out, those of ``same_graph`` included.
        both_graphs: pairs in which both texts are graphs.
    """

    before: Group
    after: Group
    both: int
    only_before: int
    only_after: int
    neither: int
    difference: float
    interval: tuple[float, float]
    p: float
    same_answer: int
    no_answer: int
    same_text: int
    same_graph: int
    same_but_labels: int
    both_graphs: int


class Changed(Struct, frozen=True):
    """A question whose answer or outcome is another; outcomes and answers before and after."""

    set: str
    row: int
    question: str
    gold: int | float
    outcomes: tuple[Outcome, Outcome]
    answers: tuple[int | float | None, int | float | None]


class Comparison(Struct, frozen=True):
    """What `dagger-edge eval compare --format json` prints.

    Attributes:
        before, after: what each run was made with.
        differing: settings in which they differ, as text.
        total: all pairs.
        sets: by test set, where there are several.
        changed: the questions that changed: those that became wrong, then those that became right, then the rest.
        alone: rows that are in the first or in the second run alone.
    """

    before: Header
    after: Header
    differing: tuple[str, ...]
    total: Paired
    sets: tuple[Paired, ...]
    changed: tuple[Changed, ...]
    alone: tuple[int, int]


def compare(before: Run, after: Run) -> Comparison:
    """Compares the questions that both runs have.

    Raises:
        UsageError: they have none in common, or a row is another question in each.
    """
    pairs = pairs_of(before, after)
    names = list(dict.fromkeys(pair.before.set for pair in pairs))
    return Comparison(
        before=before.header,
        after=after.header,
        differing=tuple(_differing(before.header.settings, after.header.settings)),
        total=_paired("all", pairs),
        sets=tuple(_paired(name, [pair for pair in pairs if pair.before.set == name]) for name in names)
        if len(names) > 1
        else (),
        changed=tuple(_changed(pair) for pair in changed_pairs(pairs)),
        alone=(len(before.rows) - len(pairs), len(after.rows) - len(pairs)),
    )


def pairs_of(before: Run, after: Run) -> list[Pair]:
    """The rows that both runs have, in the order of the first. Raises as of `compare`."""
    others = {row.key: row for row in after.rows}
    pairs = [Pair(row, others[row.key]) for row in before.rows if row.key in others]
    for pair in pairs:
        if (pair.before.question, pair.before.gold) != (pair.after.question, pair.after.gold):
            raise UsageError(
                f"row {pair.before.row} of {pair.before.set} is another question in each run: only runs over the same"
                " test sets can be compared"
            )
    if not pairs:
        raise UsageError("the two runs have no question in common: they must be over the same test sets")
    return pairs


def changed_pairs(pairs: Iterable[Pair]) -> list[Pair]:
    """Those that changed: became wrong, became right, then the rest."""
    return sorted((pair for pair in pairs if pair.changed), key=_rank)


def _rank(pair: Pair) -> int:
    right = pair.before.outcome == "correct", pair.after.outcome == "correct"
    return {(True, False): 0, (False, True): 1}.get(right, 2)


def _paired(name: str, pairs: Sequence[Pair]) -> Paired:
    right = [(pair.before.outcome == "correct", pair.after.outcome == "correct") for pair in pairs]
    both, first = right.count((True, True)), right.count((True, False))
    second, neither = right.count((False, True)), right.count((False, False))
    graphs = [(make(pair.before.text).graph, make(pair.after.text).graph) for pair in pairs]
    read = [(one, other) for one, other in graphs if one is not None and other is not None]
    return Paired(
        before=group_of(name, [pair.before for pair in pairs]),
        after=group_of(name, [pair.after for pair in pairs]),
        both=both,
        only_before=first,
        only_after=second,
        neither=neither,
        difference=(second - first) / len(pairs),
        interval=paired_difference(both, first, second, neither),
        p=mcnemar(first, second),
        same_answer=sum(pair.same_answer for pair in pairs),
        no_answer=sum(pair.before.answer is None and pair.after.answer is None for pair in pairs),
        same_text=sum(pair.before.text == pair.after.text for pair in pairs),
        same_graph=sum(one.nodes == other.nodes for one, other in read),
        same_but_labels=sum(_unlabelled(one) == _unlabelled(other) for one, other in read),
        both_graphs=len(read),
    )


def _unlabelled(graph: Graph) -> tuple[object, ...]:
    return tuple(replace(node, label="") for node in graph.nodes)


def _changed(pair: Pair) -> Changed:
    before, after = pair
    return Changed(
        set=before.set,
        row=before.row,
        question=before.question,
        gold=before.gold,
        outcomes=(before.outcome, after.outcome),
        answers=(before.answer, after.answer),
    )


def _differing(before: Settings, after: Settings) -> Iterator[str]:
    for name in Settings.__struct_fields__:
        one, other = getattr(before, name), getattr(after, name)
        if one != other and name not in {"sets", "weights_sha256", "outputs_sha256"}:
            yield f"{name}: {_shown(one)} and {_shown(other)}"
    if before.weights_sha256 != after.weights_sha256:
        yield "weights: not the same file"


def _shown(value: object) -> str:
    return "none" if value is None else str(value)
