"""``dagger-edge schema``: JSON schemas of what goes in and what comes out, made of the types that do the work."""

from __future__ import annotations

import inspect
import json
import re
from typing import Annotated, Any, Literal

import click
import msgspec
from msgspec import Meta, Struct

from ..runtime.bench.compare import Comparison
from ..runtime.bench.plan import Prediction
from ..runtime.bench.rows import BenchResult
from ..runtime.doctor.report import Report
from ..runtime.graph import Result
from ..runtime.graph.node import FINAL_ID
from ..runtime.graph.numerals import MAX_DIGITS
from ..runtime.graph.ops import OPS
from ..runtime.graph.structure import MAX_ARGS, MAX_NODES
from ..runtime.kernels.report import MachineReport
from ..runtime.recipe import RecipeDocument
from .documents import Check, ErrorRow, ResultRow, Run, Show
from .served import SERVED, served_type

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_GRAPH = f"""A computational graph as strict reading takes it. Nodes stand in topological order: an argument names an
earlier node. Ids are unique, and the last node, and no other, has the id `{FINAL_ID}`. No schema can say these three
things: a text that is valid here can still be refused for them, for a key that is there twice, or for a number of more
than {MAX_DIGITS} digits or beyond a double."""
_ID = f"Not empty, and of no other node; {FINAL_ID} for the last one."
_ARGS = "Ids of earlier nodes; or numbers, also as text in ASCII digits."
_DISTRACTOR = "Whether the answer does not need the node."
_LABEL = "What the node is, in words."

# A line of a docstring's list of attributes, with the deeper lines that go on.
_ATTRIBUTE = re.compile(r"^    (\w+(?:, \w+)*): (.*(?:\n {5,}.*)*)", re.MULTILINE)

_COMMANDS: dict[str, type[Any]] = {
    "run": Run,
    "check": Check,
    "show": Show,
    "recipe": RecipeDocument,
    "measure": MachineReport,
    "bench": BenchResult,
    "bench-compare": Comparison,
    "bench-plan": Prediction,
    "doctor": Report,
}
_ROWS: dict[str, Any] = {"run-row": ResultRow[Run], "check-row": ResultRow[Check], "show-row": ResultRow[Show]}
NAMES = ("graph", *_COMMANDS, *_ROWS, *SERVED)


@click.command()
@click.argument("name", type=click.Choice(NAMES))
def command(name: str) -> None:
    """Print the JSON schema (draft 2020-12) of NAME.

    "graph" is what a model writes; "run", "check", "show", "measure" and "doctor" are what these commands print with
    --json, "run-row" and the like a row of it with --lines; "recipe" is what `export --recipe` reads. "bench" and the
    like are what `bench`, `bench compare` and `bench plan` print with --format json. "solve" and "vote" are what
    `solve` prints with --json; the others of these names are the server's (docs/server.md).
    """
    click.echo(render_schema(name), nl=False)


def render_schema(name: str) -> str:
    """The schema of ``name``, one of `NAMES`, as it is published: indented JSON and a newline."""
    if name == "graph":
        body = _graph_schema()
    elif name in _COMMANDS:
        body = msgspec.json.schema(_COMMANDS[name])
    elif name in SERVED:
        body = msgspec.json.schema(served_type(name))
    else:
        command_name = name.removesuffix("-row")
        (result, error), parts = msgspec.json.schema_components([_ROWS[name], ErrorRow])
        body = {
            "description": f"A row of `dagger-edge {command_name} --lines --json`: a result or an error.",
            "anyOf": [result, error],
            "$defs": parts,
        }
    head = {"$schema": DIALECT, "$id": f"urn:dagger-edge:schema:{name}", "title": f"dagger-edge {name}"}
    schema = {**head, **body}
    schema = {**plain(schema), "$defs": plain_parts(schema["$defs"])}
    return json.dumps(schema, ensure_ascii=False, indent=2) + "\n"


def _graph_schema() -> dict[str, Any]:
    families: dict[tuple[int, int], list[str]] = {}
    for op in OPS.values():
        if op.name != "const":
            families.setdefault((op.min_args, op.max_args or MAX_ARGS), []).append(op.name)
    kinds = [_const_type(), *(_call_type(ops, arity) for arity, ops in sorted(families.items()))]
    items, parts = msgspec.json.schema_components(kinds)
    nodes = {"type": "array", "minItems": 1, "maxItems": MAX_NODES, "items": {"anyOf": list(items)}}
    return {
        "description": _GRAPH,
        "type": "object",
        "properties": {"nodes": nodes},
        "required": ["nodes"],
        "additionalProperties": False,
        "$defs": parts,
    }


def _const_type() -> type[Struct]:
    """A node that is a number."""
    return _node_type("Constant", "A number of the question, or a well-known factor.", ["const"], ("val", int | float))


def _call_type(ops: list[str], arity: tuple[int, int]) -> type[Struct]:
    """A node of one of ``ops``, which all take from ``arity[0]`` to ``arity[1]`` arguments."""
    low, high = arity
    args = Annotated[tuple[str | int | float, ...], Meta(min_length=low, max_length=high, description=_ARGS)]
    takes = OPS[ops[0]].arity if high < MAX_ARGS else f"{low} to {MAX_ARGS} arguments"
    return _node_type(f"Operation on {takes}", f"One of the operations that take {takes}.", ops, ("args", args))


def _node_type(name: str, description: str, ops: list[str], content: tuple[str, Any]) -> type[Struct]:
    """The type of a node as it is written, its keys in the order in which models write them."""
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = [
        ("id", Annotated[str, Meta(min_length=1, description=_ID)]),
        ("op", Literal[tuple(ops)]),
        content,
        ("distractor", Annotated[bool, Meta(description=_DISTRACTOR)], False),
        ("label", Annotated[str, Meta(description=_LABEL)], ""),
    ]
    return msgspec.defstruct(name, fields, namespace={"__doc__": description}, forbid_unknown_fields=True)


def plain_parts(parts: dict[str, Any]) -> dict[str, Any]:
    """The schemas of types, by their names; see `plain`."""
    made: dict[str, Any] = plain(parts)
    if "Run" in made:
        # Its type inherits attributes from Result, but not the docstring.
        _describe(made["Run"]["properties"], inspect.getdoc(Result) or "")
    return made


def plain(value: Any) -> Any:
    """``value`` with every docstring as running text, what it says of the attributes at the properties themselves."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    made = {key: plain(item) for key, item in value.items()}
    if isinstance(value.get("description"), str):
        head, _, attributes = inspect.cleandoc(value["description"]).partition("\nAttributes:\n")
        made["description"] = _running(head)
        _describe(made.get("properties", {}), attributes)
    return made


def _describe(properties: dict[str, Any], attributes: str) -> None:
    """Give ``properties`` what a docstring's list of attributes says of them."""
    for names, text in _ATTRIBUTE.findall(attributes):
        for name in names.split(", "):
            if name in properties:
                properties[name] = {"description": _running(text), **properties[name]}


def _running(text: str) -> str:
    paragraphs = text.replace("``", "`").strip().split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
