"""The graph language: reading, checking and executing computational graphs. Knows nothing of models."""

from ..errors import GraphError
from .check import answer_path, check_flags, check_graph
from .errors import ExecutionError, GraphParseError, GraphStructureError
from .execute import execute
from .numerals import format_number, to_ascii_digits, to_bengali_digits
from .ops import OPS, Op
from .repair import read
from .schema import Fix, Graph, GraphWarning, Node, Reading, Result, Step

__all__ = [
    "OPS",
    "ExecutionError",
    "Fix",
    "Graph",
    "GraphError",
    "GraphParseError",
    "GraphStructureError",
    "GraphWarning",
    "Node",
    "Op",
    "Reading",
    "Result",
    "Step",
    "answer_path",
    "check_flags",
    "check_graph",
    "execute",
    "format_number",
    "read",
    "to_ascii_digits",
    "to_bengali_digits",
]
