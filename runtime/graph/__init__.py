"""The graph language: reading, checking and executing computational graphs. Knows nothing of models."""

from ..errors import GraphError
from .check import answer_path, check_flags, check_graph
from .errors import ExecutionError, GraphParseError, GraphStructureError
from .execute import execute
from .numerals import format_number, to_ascii_digits, to_bengali_digits
from .ops import OPS, Op
from .parse import read_graph
from .schema import Graph, GraphWarning, Node, Result, Step

__all__ = [
    "OPS",
    "ExecutionError",
    "Graph",
    "GraphError",
    "GraphParseError",
    "GraphStructureError",
    "GraphWarning",
    "Node",
    "Op",
    "Result",
    "Step",
    "answer_path",
    "check_flags",
    "check_graph",
    "execute",
    "format_number",
    "read_graph",
    "to_ascii_digits",
    "to_bengali_digits",
]
