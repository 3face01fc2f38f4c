"""Whether a graph can be run, and what its distractor flags say about it."""

from __future__ import annotations

from .errors import quote
from .node import FINAL_ID, Node
from .schema import Graph, GraphWarning


def check_graph(graph: Graph) -> None:
    """Raises GraphStructureError, naming node, field and reason, unless ``graph`` can be run in its order."""
    _ = graph.program


def answer_path(graph: Graph) -> tuple[str, ...]:
    """The ids that the final result depends on, itself included, in the graph's order."""
    needed = {FINAL_ID}
    for node in reversed(graph.nodes):
        if node.id in needed:
            needed.update(arg for arg in node.args or () if isinstance(arg, str))
    return tuple(node.id for node in graph.nodes if node.id in needed)


def check_flags(graph: Graph) -> tuple[GraphWarning, ...]:
    """Warnings where a distractor flag contradicts the graph: ``distractor_used`` and ``unused_unmarked``."""
    path = set(answer_path(graph))
    warnings = []
    for node in graph.nodes:
        if node.distractor and node.id in path:
            message = "marked as a distractor, but the answer depends on it"
            warnings.append(node_warning("distractor_used", node, message))
        elif not node.distractor and node.id not in path:
            message = "not marked as a distractor, but the answer does not depend on it"
            warnings.append(node_warning("unused_unmarked", node, message))
    return tuple(warnings)


def node_warning(code: str, node: Node, text: str) -> GraphWarning:
    """A warning about ``node`` whose message names it."""
    return GraphWarning(code, node.id, f"node {quote(node.id)}: {text}")
