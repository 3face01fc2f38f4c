"""The graph language: reading, checking and executing computational graphs. Knows nothing of models."""

from ..errors import GraphError
from .batch import Answers, GraphBatch, execute_many
from .check import answer_path, check_flags, check_graph
from .errors import ExecutionError, GraphParseError, GraphStructureError
from .evaluate import evaluate
from .execute import execute
from .node import Node
from .numerals import format_number, to_ascii_digits, to_bengali_digits
from .ops import OPS, Op
from .question import QuestionNumber, find_numbers
from .question_check import check_question
from .repair import read
from .schema import Fix, Graph, GraphWarning, Reading, Result, Step
from .sweep import Influence, sensitivity, sweep, with_values

__all__ = [
    "OPS",
    "Answers",
    "ExecutionError",
    "Fix",
    "Graph",
    "GraphBatch",
    "GraphError",
    "GraphParseError",
    "GraphStructureError",
    "GraphWarning",
    "Influence",
    "Node",
    "Op",
    "QuestionNumber",
    "Reading",
    "Result",
    "Step",
    "answer_path",
    "check_flags",
    "check_graph",
    "check_question",
    "evaluate",
    "execute",
    "execute_many",
    "find_numbers",
    "format_number",
    "read",
    "sensitivity",
    "sweep",
    "to_ascii_digits",
    "to_bengali_digits",
    "with_values",
]
