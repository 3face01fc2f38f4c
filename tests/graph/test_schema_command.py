"""The published JSON schemas: they are the types', and they take what the package takes and prints."""

import copy
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from graph_samples import EXAMPLE, call, const, graph_of, messy_graph, text_of, well_formed_graphs
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from dagger_edge.cli import check, run, schema, show
from dagger_edge.runtime.graph import OPS, Graph, GraphParseError

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "schema"
GOLD = [ROOT / "tests" / "data" / f"{name}_bn_gold.jsonl" for name in ("msvamp", "mgsm")]


def validator(name):
    return Draft202012Validator(json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8")))


GRAPH = validator("graph")
DISTRACTOR_USED = graph_of(const("a", 1, distractor=True), call("x", "div", 1, 0), call("it", "add", "a", 10**20))
FAILING = graph_of(call("it", "div", 1, 0))
TEXTS = [EXAMPLE, f"x {EXAMPLE}", DISTRACTOR_USED.to_json(), FAILING.to_json(), "no graph"]


@pytest.mark.parametrize("name", schema.NAMES)
def test_the_published_schemas_are_those_of_the_types(name):
    """A field that the published schema does not know: run `dagger-edge schema NAME > docs/schema/NAME.schema.json`."""
    done = CliRunner().invoke(schema.command, [name])
    assert (FOLDER / f"{name}.schema.json").read_text(encoding="utf-8") == done.stdout
    Draft202012Validator.check_schema(json.loads(done.stdout))


def test_no_schema_is_published_that_nothing_makes():
    """A file that stays behind when its type is gone."""
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.schema.json" for name in schema.NAMES}


@pytest.mark.parametrize("path", GOLD, ids=lambda path: path.stem)
def test_gold_graphs_and_their_results(path):
    """A schema that refuses a real graph, or the result of one."""
    for line in path.read_text(encoding="utf-8").splitlines():
        GRAPH.validate(json.loads(line)["graph"])
    for module, name in ((run, "run"), (check, "check")):
        done = CliRunner().invoke(module.command, [str(path), "--json"])
        row = validator(f"{name}-row")
        for line in done.stdout.splitlines():
            row.validate(json.loads(line))


@given(well_formed_graphs() | st.randoms().map(messy_graph))
def test_every_well_formed_graph_is_valid(graph):
    """A schema narrower than the language: literals, operations, numbers of arguments."""
    GRAPH.validate(json.loads(graph.to_json()))


def test_every_operation_is_in_the_schema():
    """An operation that is executed and not published."""
    published = {op for kind in GRAPH.schema["$defs"].values() for op in kind["properties"]["op"]["enum"]}
    assert published == set(OPS)


CONST = {"id": "n1", "op": "const", "val": 5, "distractor": False, "label": "আম"}
FINAL = {"id": "final_result", "op": "add", "args": ["n1", "n1"]}
WRONG_NODES = {
    "no id": {"op": "const", "val": 5},
    "empty id": {**CONST, "id": ""},
    "id a number": {**CONST, "id": 1},
    "no op": {"id": "n1", "val": 5},
    "alias": {**CONST, "op": "constant"},
    "no val": {"id": "n1", "op": "const"},
    "val text": {**CONST, "val": "5"},
    "val true": {**CONST, "val": True},
    "val null": {**CONST, "val": None},
    "const with args": {**CONST, "args": []},
    "another key": {**CONST, "unit": "kg"},
    "distractor text": {**CONST, "distractor": "false"},
    "label null": {**CONST, "label": None},
    "no args": {"id": "n1", "op": "add"},
    "val and args": {"id": "n1", "op": "add", "args": [1, 2], "val": 3},
    "too few": {"id": "n1", "op": "add", "args": [1]},
    "too many": {"id": "n1", "op": "sub", "args": [1, 2, 3]},
    "none": {"id": "n1", "op": "sum", "args": []},
    "65 arguments": {"id": "n1", "op": "sum", "args": [1] * 65},
    "a node as argument": {"id": "n1", "op": "sum", "args": [{"id": "x", "op": "const", "val": 1}]},
    "true as argument": {"id": "n1", "op": "sum", "args": [True]},
    "args no list": {"id": "n1", "op": "sum", "args": "n0"},
    "no object": "n1",
}


@pytest.mark.parametrize("name", WRONG_NODES)
def test_a_malformed_node_is_refused(name):
    """A schema wider than it need be, so that what it lets through is refused later."""
    wrong = {"nodes": [WRONG_NODES[name], FINAL]}
    assert not GRAPH.is_valid(wrong)
    with pytest.raises(GraphParseError):
        Graph.parse(json.dumps(wrong))


@pytest.mark.parametrize(
    "graph",
    [{}, [], {"nodes": []}, {"nodes": {}}, {"nodes": [FINAL], "answer": 5}, {"nodes": [CONST] * 257}],
)
def test_a_malformed_graph_is_refused(graph):
    """Limits and keys of the whole graph that are not published."""
    assert not GRAPH.is_valid(graph)
    with pytest.raises(GraphParseError):
        Graph.parse(json.dumps(graph))


def test_what_no_schema_can_say_is_still_refused():
    """A schema taken for all there is to check: its description names these."""
    for nodes in ([FINAL], [CONST, CONST, FINAL], [FINAL, CONST], [CONST]):
        graph = {"nodes": nodes}
        assert GRAPH.is_valid(graph)
        with pytest.raises(GraphParseError):
            Graph.parse(text_of(*nodes))


@pytest.mark.parametrize(
    ("module", "name", "args"),
    [
        (run, "run", ()),
        (run, "run", ("--exact", "--sensitivity")),
        (check, "check", ("--question", "৫টি আম")),
        (show, "show", ()),
        (show, "show", ("--format", "svg")),
    ],
)
def test_everything_printed_is_valid(module, name, args):
    """A document or a row, of any outcome, that the published schema refuses."""
    for text in TEXTS:
        done = CliRunner().invoke(module.command, ["-", "--json", *args], input=text)
        for line in done.stdout.splitlines():
            validator(name).validate(json.loads(line))
    data = "\n".join([*(json.dumps({"id": {"n": 1}, "output": text}) for text in TEXTS), "{oops", '{"id": 1}'])
    done = CliRunner().invoke(module.command, ["-", "--lines", "--json", *args], input=data)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {key for row in rows for key in row} == {"line", "id", "result", "error"}
    for row in rows:
        validator(f"{name}-row").validate(row)


def test_files_of_drawings_are_valid(tmp_path):
    """Rows with --out that the published schema refuses."""
    args = ["-", "--lines", "--json", "--out", str(tmp_path / "drawings")]
    done = CliRunner().invoke(show.command, args, input=json.dumps(EXAMPLE))
    validator("show-row").validate(json.loads(done.stdout))


def test_a_damaged_document_is_not_valid():
    """Schemas that take anything."""
    done = CliRunner().invoke(run.command, ["-", "--json", "--lines"], input=json.dumps(EXAMPLE))
    row = json.loads(done.stdout)
    for key in row["result"]:
        damaged = copy.deepcopy(row)
        del damaged["result"][key]
        assert not validator("run-row").is_valid(damaged), key
    assert not validator("run-row").is_valid({"line": 1})
    assert not validator("run-row").is_valid({"line": 1, "error": {"code": "oops", "message": "x"}})
