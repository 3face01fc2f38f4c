"""`run` and `check` over JSON Lines."""

import json

import pytest
from click.testing import CliRunner
from graph_samples import EXAMPLE
from row_samples import FAILING, GRAPH, QUESTION, TEXT, invoke, lines_of, rows_of, run_rows, summary

from dagger_edge.cli import check, run, show
from dagger_edge.cli.rows import MAX_ROW_BYTES, TEXT_FIELDS
from dagger_edge.runtime.errors import UsageError
from dagger_edge.runtime.graph import Graph


def test_a_bad_row_in_the_middle_ends_nothing():
    """The rows behind a bad one lost, moved to another place, or an exit code of 0."""
    data = lines_of(
        {"id": "a", "output": TEXT},
        {"id": "b", "output": TEXT[:40]},
        {"id": "c", "output": FAILING},
        b"{oops",
        {"id": "e", "output": EXAMPLE},
    )
    done = invoke(run, data, "--json")
    rows = rows_of(done)
    assert done.exit_code == 1
    assert [row["line"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row.get("id") for row in rows] == ["a", "b", "c", None, "e"]
    assert [row.get("result", {}).get("answer") for row in rows] == [7, None, None, None, 5572092]
    errors = [row["error"] for row in rows if "error" in row]
    assert [error["code"] for error in errors] == ["no_graph", "no_value", "not_json"]
    assert errors[1]["node"] == "it"
    assert "division by zero" in errors[1]["message"]
    assert summary(done) == "5 rows: 2 strict, 0 repaired, 1 rejected, 1 failed, 1 unreadable"


def test_an_error_names_node_and_field():
    """An error that a program has to take out of a sentence."""
    (row,) = run_rows(lines_of(TEXT.replace('"n1", 2', '"n1", "zz"')))
    message = row["error"].pop("message")
    assert row["error"] == {"code": "no_graph", "node": "final_result", "field": "args"}
    assert '"zz" is no node id' in message


@pytest.mark.parametrize("field", TEXT_FIELDS)
def test_every_usual_field_is_found(field):
    """A server's own format that needs an option."""
    value = TEXT
    for key in reversed(field.split(".")):
        value = [value] if key.isdecimal() else {key: value}
    assert [row["result"]["answer"] for row in run_rows(lines_of(value))] == [7]


@pytest.mark.parametrize(
    "row", [TEXT, GRAPH, {**GRAPH, "id": 1, "answer": 7}, {"graph": GRAPH}, {"x": {"y": [0, GRAPH]}}]
)
def test_forms_of_a_row(row):
    """A bare text, a bare graph, a graph beside other keys, a graph under a key or a path refused."""
    args = ("--field", "x.y.1") if "x" in row else ()
    (found,) = run_rows(lines_of(row), *args)
    assert (found["result"]["answer"], found["result"]["level"]) == (7, "strict")


def test_a_key_with_points_in_it_is_a_key_first():
    """A key that cannot be named since it looks like a path."""
    assert "result" in run_rows(lines_of({"a.b": TEXT, "a": {"b": "no"}}), "--field", "a.b")[0]


@pytest.mark.parametrize(
    ("row", "args"),
    [
        ({"id": 1, "prompt": TEXT}, ()),
        ({"output": TEXT}, ("--field", "outputs")),
        ({"output": [TEXT]}, ("--field", "output.1")),
        ({"output": [TEXT]}, ("--field", "output.x")),
        ({"output": None}, ("--field", "output")),
        ({"output": None, "response": None}, ()),
    ],
)
def test_a_row_without_the_field(row, args):
    """Another field taken for the text, or a row without text taken for an empty text."""
    (found,) = run_rows(lines_of(row), *args)
    assert found["error"]["code"] == "no_text"
    assert found.get("id") == row.get("id")


def test_a_key_that_is_there_twice_in_a_graph_is_seen():
    """The reader of rows taking one of two values without a word, before the reader of graphs sees them."""
    twice = TEXT.replace('"val": 5', '"val": 5, "val": 6')
    rows = run_rows(
        lines_of(twice.encode(), b'{"graph": %b}' % twice.encode(), b'{"nodes": [], %b' % TEXT[1:].encode())
    )
    assert [row["error"]["field"] for row in rows] == ["val", "val", "nodes"]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (b'"q-17"', '"q-17"'),
        (b"12345678901234567890123", "12345678901234567890123"),
        (b"1.50", "1.50"),
        (b'{"$oid" :\r "a b"}', '{"$oid":"a b"}'),
        ('"ক"'.encode(), '"ক"'),
        (b"null", None),
    ],
)
def test_ids_are_kept_as_they_are(written, told):
    """An id that no longer joins with the input: rounded, reformatted, or made text."""
    done = invoke(run, b'{"id": %b, "output": "x"}\n' % written, "--json")
    assert done.stdout.startswith(f'{{"line":1,"id":{told},"error"' if told else '{"line":1,"error"')


def test_the_users_id_comes_before_the_servers():
    """The id that a batch server made up, in place of the one that joins with the questions."""
    row = {"id": "batch_req_1", "custom_id": "q1", "row": {"n": 3}, "output": TEXT}
    assert [found["id"] for found in run_rows(lines_of(row))] == ["q1"]
    assert [found["id"] for found in run_rows(lines_of(row), "--id-field", "row.n")] == [3]


def test_a_repaired_row_and_strictness():
    """A repair that nobody is told of, or that --strict lets pass."""
    data = lines_of({"output": f"Answer: {TEXT}"}, {"output": TEXT})
    done = invoke(run, data, "--json")
    assert [row["result"]["level"] for row in rows_of(done)] == ["repaired", "strict"]
    assert rows_of(done)[0]["result"]["fixes"][0]["code"] == "prose"
    assert (done.exit_code, summary(done)) == (
        0,
        "2 rows: 1 strict, 1 repaired, 0 rejected, 0 failed, 0 unreadable",
    )
    strict = invoke(run, data, "--json", "--strict")
    assert (strict.exit_code, [list(row) for row in rows_of(strict)]) == (1, [["line", "error"], ["line", "result"]])


def test_a_row_of_a_result_is_the_document_of_a_single_graph():
    """Two commands that disagree about the same graph."""
    single = CliRunner().invoke(run.command, ["-", "--json", "--sensitivity"], input=EXAMPLE)
    (row,) = run_rows(lines_of(EXAMPLE), "--sensitivity")
    assert row["result"] == json.loads(single.stdout)


def test_settings_reach_every_row():
    """What-if numbers that are dropped, or that end the run at a graph without that constant."""
    other = Graph.parse(TEXT).to_json().replace("n1", "n2")
    rows = run_rows(lines_of(TEXT, other), "--set", "n1=10")
    assert rows[0]["result"]["answer"] == 12
    assert rows[1]["error"]["code"] == "setting"


def test_long_rows():
    """A megabyte of log probabilities that costs the row, or a row without end that costs the memory."""
    padding = "x" * 1_000_000
    endless = b'{"output": "' + b"x" * MAX_ROW_BYTES + b'"}'
    data = lines_of({"output": TEXT, "logprobs": padding}, endless, {"output": padding}, TEXT)
    rows = run_rows(data)
    assert [row.get("error", {}).get("code") for row in rows] == [None, "row_too_long", "no_graph", None]


@pytest.mark.parametrize("opening", [b'{"id":', b'{"output":', b'{"outputs":', b'{"x":', b""])
@pytest.mark.parametrize("depth", [*range(900, 1000, 7), 1_000_000])
def test_rows_nested_to_the_limit_of_the_stack(opening, depth):
    """A row that ends the run with a RecursionError."""
    deep = opening + b"[" * depth + b"]" * depth + (b"}" if opening else b"")
    rows = run_rows(lines_of(deep, TEXT))
    assert ["error" in row for row in rows] == [True, False]


def test_what_is_no_row():
    """Blank lines, byte order marks, line ends of Windows, bytes that are no text, a last line without its end."""
    good = TEXT.encode()
    data = b"\xef\xbb\xbf" + good + b"\r\n\r\n  \t\n" + b'{"output": "\xff"}\n5\nnull\n{"output": "\\ud800"}\n' + good
    done = invoke(run, data, "--json")
    found = [(row["line"], row.get("error", {}).get("code")) for row in rows_of(done)]
    assert found == [(1, None), (4, "not_utf8"), (5, "not_json"), (6, "not_json"), (7, "not_json"), (8, None)]


def test_no_rows():
    """Nothing in, an error out."""
    for data in (b"", b"\n\n", b"\xef\xbb\xbf"):
        done = invoke(run, data)
        assert (done.exit_code, done.stdout, summary(done).split(":")[0]) == (0, "", "0 rows")


def test_text_is_one_line_a_row():
    """A terminal that a model steers, or a row of two lines."""
    data = lines_of({"id": "a\t\x1b[2J\n", "output": TEXT}, {"output": f"x {FAILING}"}, {"output": f"x {TEXT}"})
    done = invoke(run, data)
    assert done.stdout.splitlines() == [
        "1\ta\\t\\x1b[2J\\n\tstrict\t7 (৭)",
        '2\t\tfailed\tnode "it", div(1, 0): division by zero (a divisor below 1e-10)',
        "3\t\trepaired\t7 (৭)\tfixed: prose",
    ]


def test_files_are_known_by_their_suffix(tmp_path):
    """--lines to be typed for every .jsonl, or a single document that cannot be named so."""
    path = tmp_path / "outputs.jsonl"
    path.write_text(TEXT + "\n" + TEXT + "\n")
    assert len(rows_of(invoke(run, None, "--json", path=str(path)))) == 2
    path.write_text(TEXT)
    assert json.loads(invoke(run, None, "--json", "--no-lines", path=str(path)).stdout)["answer"] == 7


@pytest.mark.parametrize(
    ("module", "args"),
    [
        (run, ["-", "--field", "output"]),
        (check, ["-", "--question-field", "q"]),
        (show, ["-", "--out", "drawings"]),
        (show, ["-", "--lines", "--format", "svg"]),
        (run, ["-", "--lines", "--sensitivity"]),
        (run, ["nowhere.jsonl"]),
    ],
)
def test_options_that_do_not_go_together(module, args):
    """An option that is ignored."""
    done = CliRunner().invoke(module.command, args, input=TEXT)
    assert isinstance(done.exception, UsageError)
    assert done.stdout == ""


def test_check_takes_the_question_of_the_row():
    """Every graph held against one question, or against none."""
    data = lines_of(
        {"id": 1, "question": QUESTION, "output": TEXT},
        {"id": 2, "question": QUESTION.replace("৯", "৫"), "output": TEXT},
        {"id": 3, "output": TEXT},
        {"id": 4, "question": None, "output": FAILING},
    )
    done = invoke(check, data, "--json")
    codes = [[warning["code"] for warning in row["result"]["warnings"]] for row in rows_of(done)]
    assert codes[:3] == [["const_not_in_question", "number_not_in_graph"], [], []]
    assert rows_of(done)[3]["result"]["failure"].startswith('node "it"')
    # As for a single graph: there is a graph, and it was judged.
    assert (done.exit_code, summary(done)) == (0, "4 rows: 3 strict, 0 repaired, 0 rejected, 1 failed, 0 unreadable")
    one = rows_of(invoke(check, data, "--json", "--question", QUESTION))
    assert [len(row["result"]["warnings"]) for row in one[:3]] == [2, 2, 2]
    assert "const_not_in_question" in invoke(check, data).stdout.splitlines()[0]


@pytest.mark.parametrize("question", [None, 5, "ক" * 10_000])
def test_check_of_a_row_whose_named_question_is_none(question):
    """A check of nothing that looks like a pass."""
    data = lines_of({"id": 1, "q": question, "output": TEXT}, {"id": 2, "q": QUESTION, "output": "no graph"})
    done = invoke(check, data, "--json", "--question-field", "q")
    assert [row["error"]["code"] for row in rows_of(done)] == ["no_question", "no_graph"]
    assert done.exit_code == 1
