import contextlib
import json

import pytest
from graph_samples import EXAMPLE, text_of, well_formed_graphs
from hypothesis import given
from hypothesis import strategies as st

from dagger_edge.runtime.errors import GraphError
from dagger_edge.runtime.graph import ExecutionError, Graph, GraphParseError, execute
from dagger_edge.runtime.graph.parse import _load, _read_plain, _unfence, read_nodes

CONST = {"id": "n1", "op": "const", "val": 5, "distractor": False, "label": "x"}
FINAL = {"id": "final_result", "op": "identity", "args": ["n1"], "distractor": False, "label": ""}


def fails(text):
    with pytest.raises(GraphParseError) as caught:
        Graph.parse(text)
    error = caught.value
    assert isinstance(error, GraphError)
    assert "\n" not in str(error)
    assert str(error).isprintable()
    return error


def test_example_keeps_every_field():
    """A field lost or renamed on the way in."""
    node = Graph.parse(EXAMPLE).nodes[4]
    assert (node.id, node.op, node.val, node.args) == ("n5", "const", 45.6, None)
    assert (node.distractor, node.label) == (False, "প্রতিটি কলমের দাম")


def test_to_json_is_the_prompts_style():
    """A style that the model was not trained on, which the grammar and the demo model would copy."""
    assert Graph.parse(EXAMPLE).to_json(fenced=True) == EXAMPLE.replace("}```", "}\n```")


@pytest.mark.parametrize("before", ["", "\n", "```json\n", " \t```json", "```json  \r\n"])
@pytest.mark.parametrize("after", ["", "\n", " \n\n"])
def test_fence_is_optional_and_may_close_anywhere(before, after):
    """A paper-style closing fence on its own line taken for garbage."""
    bare = Graph.parse(EXAMPLE).to_json()
    closing = f"{after}```" if "```" in before else ""
    assert Graph.parse(f"{before}{bare}{closing}{after}") == Graph.parse(EXAMPLE)


@pytest.mark.parametrize(
    "around",
    [
        "Here: {}",
        "{} done",
        "```\n{}\n```",
        "```python\n{}```",
        "{}```",
        "```json{}",
        "```json{}````",
        "\ufeff{}",
        "{}{}",
    ],
)
def test_anything_else_around_is_refused(around):
    """Strict reading that quietly repairs, so that a caller cannot tell which level it took."""
    fails(around.replace("{}", Graph.parse(EXAMPLE).to_json()))


def test_truncation_never_yields_an_answer():
    """The reference's bug: a cut-off graph salvaged to a plausible wrong number."""
    for fenced in (True, False):
        data = Graph.parse(EXAMPLE).to_json(fenced=fenced).encode()
        for cut in range(len(data)):
            with pytest.raises(GraphParseError):
                Graph.parse(data[:cut])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "longer than"),
        ("[" * 60_000, "nested deeper"),
        ('{"nodes": ' * 6_000, "nested deeper"),
        ('"\\' * 30_000, "not one complete"),
        ('"' + '\\"' * 30_000, "not one complete"),
        ("", "not one complete"),
        ("null", "expected an object"),
        ("NaN", "expected an object"),
        ("[]", "expected an object"),
        ("{}", "expected a list of nodes"),
        ('{"nodes": {}}', "expected a list of nodes"),
        ('{"nodes": NaN}', "expected a list of nodes"),
        ('{"nodes": []}', "no nodes"),
        ('{"nodes": [1]}', "expected an object"),
        ('{"nodes": [], "nodes": []}', "twice"),
        ('{"nodes": [], "steps": []}', "unknown key"),
        (" " * 65_537, "longer than"),
        ("আ" * 30_000, "longer than"),
        (b"\xff\xfe{}", "UTF-8"),
        ("{\ud800}", "UTF-8"),
        ("{'nodes': []}", "not one complete"),
        ('{"nodes": [],}', "not one complete"),
        ('{"nodes": [১২]}', "not one complete"),
    ],
)
def test_hostile_texts(text, reason):
    """A RecursionError, a hang or a foreign exception out of text that a model wrote."""
    assert reason in fails(text).reason


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"id": 1}, "id", "expected a string"),
        ({"id": ""}, "id", "empty"),
        ({"id": None}, "id", "null"),
        ({"op": None}, "op", "null"),
        ({"op": ["const"]}, "op", "a list"),
        ({"val": True}, "val", "expected a number, got true"),
        ({"val": "5"}, "val", 'the string "5"'),
        ({"val": None}, "val", "null"),
        ({"val": {}}, "val", "an object"),
        ({"val": float("nan")}, "val", "NaN is not a number"),
        ({"val": float("inf")}, "val", "Infinity is not"),
        ({"val": 10**40}, "val", "40 digits"),
        ({"distractor": 0}, "distractor", "true or false"),
        ({"distractor": "false"}, "distractor", "true or false"),
        ({"label": 3}, "label", "expected a string"),
        ({"label": None}, "label", "null"),
        ({"label": "\ud800"}, "label", "surrogate"),
        ({"unit": "kg"}, "unit", "unknown key"),
        ({"args": []}, "args", "val, not args"),
    ],
)
def test_wrong_fields_are_named(change, field, reason):
    """A message that does not say where to look, or a wrong type that is coerced."""
    text = json.dumps({"nodes": [CONST | change, FINAL]})
    error = fails(text)
    assert error.field == field
    assert reason in error.reason
    assert error.node == ("nodes[0]" if field == "id" else "n1")
    assert error.node in str(error)
    assert field in str(error)


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ("n1", 'a list, got the string "n1"'),
        ({"a": 1}, "a list"),
        ([True], "got true"),
        ([None], "got null"),
        ([["n1"]], "a list"),
        ([{"id": "x", "op": "const", "val": 1}], "an object"),
        ([float("-inf")], "-Infinity"),
        (["\udc00"], "surrogate"),
        (["Infinity"], "no node id"),
        (["1e999"], "too large"),
    ],
)
def test_wrong_arguments_are_named(args, reason):
    """An argument that is dropped or coerced."""
    error = fails(json.dumps({"nodes": [CONST, FINAL | {"args": args}]}))
    assert (error.node, error.field) == ("final_result", "args")
    assert reason in error.reason


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("1e999", "too large"),
        ("-1e400", "too large"),
        ("1e-999", "too small"),
        ("1e99999999999999999999999999999999999999999999", "40 digits"),
        ("0." + "1" * 40, "40 digits"),
        ("9" * 5000, "40 digits"),
    ],
)
def test_numbers_no_double_holds(number, reason):
    """Infinity, zero or a ValueError of int() in place of a number that the model wrote."""
    error = fails(text_of(CONST, FINAL).replace('"val": 5', f'"val": {number}'))
    assert (error.node, error.field) == ("n1", "val")
    assert reason in error.reason


def test_numbers_keep_their_kind():
    """Integers of up to 40 digits that pass through a double."""
    text = text_of(CONST, FINAL)
    values = ["9" * 40, "-" + "9" * 40, "9007199254740993", "5.0", "1e3", "0", "-0.5"]
    read = [Graph.parse(text.replace('"val": 5', f'"val": {value}')).nodes[0].val for value in values]
    assert read == [10**40 - 1, 1 - 10**40, 9007199254740993, 5.0, 1000.0, 0, -0.5]
    assert [type(value) for value in read] == [int, int, int, float, float, int, float]


@pytest.mark.parametrize("key", ["id", "op", "val", "args", "distractor", "label", "extra"])
def test_duplicate_keys(key):
    """The last of two values taken without a word."""
    node = '{"id": "n1", "op": "const", "val": 5, "KEY": 1, "KEY": 2}'.replace("KEY", key)
    error = fails('{"nodes": [' + node + "]}")
    assert error.field == key
    assert "twice" in error.reason


def test_missing_keys():
    """A KeyError in place of a message; a node without flag or label is still a node."""
    assert fails(text_of({"op": "const", "val": 1})).node == "nodes[0]"
    assert fails(text_of({"id": "n1", "val": 1})).field == "op"
    node = Graph.parse(text_of({"id": "final_result", "op": "const", "val": 1})).nodes[0]
    assert (node.distractor, node.label) == (False, "")


def test_messages_cannot_steer_a_terminal():
    """Escape sequences and line breaks of a model in an error message."""
    error = fails(text_of({"id": "\x1b[31m\n\u202e" + "x" * 500, "op": "const", "val": "1"}))
    assert len(str(error)) < 200
    assert "\\x1b" in str(error)


@given(well_formed_graphs())
def test_round_trip(graph):
    """A number, label or flag that changes between writing and reading."""
    for fenced in (True, False):
        again = Graph.parse(graph.to_json(fenced=fenced))
        assert again == graph
        assert [type(node.val) for node in again.nodes] == [type(node.val) for node in graph.nodes]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["n1", "add"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
ODD_NODES = st.fixed_dictionaries(
    {},
    optional={
        "id": JSON_VALUES | st.just("final_result"),
        "op": JSON_VALUES | st.sampled_from(["const", "identity", "add", "pow", "lcm"]),
        "val": JSON_VALUES,
        "args": JSON_VALUES | st.lists(JSON_VALUES, max_size=4),
        "distractor": JSON_VALUES,
        "label": JSON_VALUES,
    },
)


@given(st.lists(ODD_NODES, max_size=4).map(lambda nodes: json.dumps({"nodes": nodes})) | st.text() | st.binary())
def test_only_graph_errors_come_out(text):
    """Any exception of another type out of any text."""
    with contextlib.suppress(GraphParseError, ExecutionError):
        execute(Graph.parse(text))


@given(well_formed_graphs(), st.data())
def test_the_quick_road_says_what_the_slow_one_says(graph, data):
    """A text that msgspec lets through and the language does not, or one read as another graph."""
    text = graph.to_json(fenced=data.draw(st.booleans()))
    for _ in range(data.draw(st.integers(0, 3))):
        start = data.draw(st.integers(0, len(text)))
        stop = start + data.draw(st.integers(0, 12))
        pieces = ['"', ":", ",", "0", "0.0", "-", "e-400", "null", " ", "\\", '"label": "x", ', '"val": 1, ', "1" * 41]
        text = text[:start] + data.draw(st.sampled_from(pieces)) + text[stop:]
    quick = _read_plain(text.encode())
    if quick is not None:
        assert quick[0] == read_nodes(_load(_unfence(text)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"label": "x"', '"label": "x", "label": "x"'),
        ('"distractor": false, "label": "x"', '"label": "x", "label": "x"'),
        ('"val": 5', '"val": 5, "val": 6'),
        ('"val": 5', '"val": 1e-400'),
        ('"val": 5', f'"val": 0.{"1" * 41}'),
        ('"val": 5', f'"val": {"1" * 41}'),
    ],
)
def test_what_msgspec_says_nothing_of(old, new):
    """The last of two equal keys taken, a number rounded to zero, digits without limit."""
    text = text_of(CONST, FINAL)
    assert _read_plain(text.encode()) is not None
    changed = text.replace(old, new)
    assert changed != text
    assert _read_plain(changed.encode()) is None
    fails(changed)
