"""Patterns of traced nodes: a few constructors, and one function that matches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from onnx import helper

from .traced import TracedGraph, unexpected

# What stands for a tensor in a pattern: a variable's name ("_" matches anything), a constant's value, or a node.
Pattern = "str | float | Node | OneOf"
Found = Mapping[str, str]

_COMMUTATIVE = frozenset({"Add", "Mul"})


@dataclass(frozen=True, slots=True)
class Node:
    """A node of one kind with patterns for all of its inputs; attributes that are not named are not looked at."""

    kind: str
    inputs: tuple[Any, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OneOf:
    """Any of several patterns, tried in order."""

    choices: tuple[Any, ...]


def node(kind: str, *inputs: Any, **attributes: Any) -> Node:
    """The pattern of one node. An attribute given as a set may have any of its values."""
    return Node(kind, inputs, attributes)


def find(graph: TracedGraph, scope: str, pattern: Node) -> tuple[str, Found]:
    """The one tensor made in ``scope`` that matches ``pattern``, and what its variables stand for.

    Raises:
        BundleError: none matches, or several do.
    """
    results = []
    for candidate in graph.nodes_of(scope):
        if candidate.op_type == pattern.kind:
            found = match(graph, candidate.output[0], pattern)
            if found is not None:
                results.append((candidate.output[0], found))
    if len(results) != 1:
        raise unexpected(scope, f"{len(results)} places look as expected, not one")
    return results[0]


def match(graph: TracedGraph, tensor: str, pattern: Any, found: Found | None = None) -> Found | None:
    """What the variables of ``pattern`` stand for where it matches ``tensor``, else None."""
    return next(_matches(graph, tensor, pattern, found or {}), None)


def _matches(graph: TracedGraph, tensor: str, pattern: Any, found: Found) -> Iterator[Found]:
    if isinstance(pattern, str):
        if pattern == "_":
            yield found
        elif found.get(pattern, tensor) == tensor:
            yield {**found, pattern: tensor}
    elif isinstance(pattern, OneOf):
        for choice in pattern.choices:
            yield from _matches(graph, tensor, choice, found)
    elif isinstance(pattern, Node):
        yield from _node_matches(graph, tensor, pattern, found)
    else:
        value = graph.value(tensor)
        if value is not None and value.size == 1 and value.reshape(())[()] == np.asarray(pattern, value.dtype):
            yield found


def _node_matches(graph: TracedGraph, tensor: str, pattern: Node, found: Found) -> Iterator[Found]:
    made_by = graph.producer(tensor)
    if made_by is None or made_by.op_type != pattern.kind or len(made_by.input) != len(pattern.inputs):
        return
    attributes = {item.name: helper.get_attribute_value(item) for item in made_by.attribute}
    for name, wanted in pattern.attributes.items():
        if attributes.get(name) not in (wanted if isinstance(wanted, set) else (wanted,)):
            return
    orders = permutations(pattern.inputs) if pattern.kind in _COMMUTATIVE else (pattern.inputs,)
    for inputs in orders:
        yield from _all_match(graph, tuple(made_by.input), tuple(inputs), found)


def _all_match(
    graph: TracedGraph, tensors: tuple[str, ...], patterns: tuple[Any, ...], found: Found
) -> Iterator[Found]:
    if not tensors:
        yield found
        return
    for first in _matches(graph, tensors[0], patterns[0], found):
        yield from _all_match(graph, tensors[1:], patterns[1:], first)
