"""The MSVAMP rows of the training set: real questions, gold graphs, and labels written for this project.

MSVAMP Bengali (microsoft/MathOctopus, MIT) is a test set: rows 0-499 are trained on here, and the model card
says so; rows 500-599 are held out for the demo's own report; rows 600-999 are not in the project at all.
"""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from ...runtime.graph import Graph, GraphError, Node, execute, to_ascii_digits, to_bengali_digits
from .compose import Problem
from .numbers import WORDS, Value
from .order import in_one_order

TRAINED_ROWS = range(500)
HELD_OUT_ROWS = range(500, 600)
LABELS = Path(__file__).parent / "data" / "msvamp_labels.jsonl"
_NUMBER = re.compile(r"[0-9০-৯]+(?:[.,][0-9০-৯]+)*")


@dataclass(frozen=True, slots=True)
class Row:
    """One question with its gold graph and answer; for held-out rows the labels are the placeholders."""

    index: int
    question: str
    graph: Graph
    answer: float


def read_rows(gold: Path, rows: range) -> list[Row]:
    """The rows of the gold file with an index in ``rows``, relabelled where labels exist, constants reordered."""
    labels = {record["row_index"]: record["labels"] for record in _json_lines(LABELS)}
    result = []
    for record in _json_lines(gold):
        if record["row_index"] not in rows:
            continue
        nodes = _relabel(Graph.parse(json.dumps(record["graph"])), labels.get(record["row_index"], {}))
        graph = _reading_order(record["question"], nodes)
        result.append(Row(record["row_index"], record["question"], graph, record["answer"]))
    return result


def vary(row: Row, rng: random.Random) -> Problem:
    """``row`` with other numbers of like size, where its answer stays positive and whole; else as it is."""
    for _ in range(8):
        problem = _with_new_numbers(row, rng)
        if problem is not None:
            return problem
    return Problem(row.question, row.graph, row.answer, "msvamp")


def _json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _relabel(graph: Graph, labels: dict[str, str]) -> list[Node]:
    return [replace(node, label=labels.get(node.id, node.label)) for node in graph.nodes]


def _position(question: str, value: Value | None) -> int:
    """Where ``value`` stands in the question; the end if it does not."""
    for match in _NUMBER.finditer(question):
        if to_ascii_digits(match.group()).replace(",", "") == str(value):
            return match.start()
    if isinstance(value, int) and 0 < value < len(WORDS):
        at = question.find(WORDS[value])
        if at >= 0:
            return at
    return len(question)


def _reading_order(question: str, nodes: list[Node]) -> Graph:
    constants = sorted((node for node in nodes if node.op == "const"), key=lambda node: _position(question, node.val))
    return in_one_order([*constants, *(node for node in nodes if node.op != "const")])


def _with_new_numbers(row: Row, rng: random.Random) -> Problem | None:
    constants = [node.val for node in row.graph.nodes if node.val is not None]
    # Only where text and graph name each whole number exactly once can they be changed together.
    in_text = sorted(to_ascii_digits(match.group()) for match in _NUMBER.finditer(row.question))
    if len(set(constants)) < len(constants) or in_text != sorted(map(str, constants)):
        return None
    if not all(isinstance(value, int) for value in constants):
        return None
    swap = {value: max(1, round(value * rng.uniform(0.5, 2.0)) + rng.randint(-2, 3)) for value in constants}
    bengali = rng.random() < 0.65

    def write(match: re.Match[str]) -> str:
        text = str(swap[int(to_ascii_digits(match.group()))])
        return to_bengali_digits(text) if bengali else text

    graph = Graph(
        nodes=tuple(node if node.val is None else replace(node, val=swap[node.val]) for node in row.graph.nodes)
    )
    try:
        answer = execute(graph).answer
    except GraphError:
        return None
    if answer <= 0 or answer != int(answer):
        return None
    return Problem(_NUMBER.sub(write, row.question), graph, float(answer), "msvamp")
