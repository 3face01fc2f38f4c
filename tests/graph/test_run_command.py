import json

import pytest
from click.testing import CliRunner
from graph_samples import EXAMPLE, call, const, graph_of

from dagger_edge.cli.run import command
from dagger_edge.cli.text import render_result
from dagger_edge.runtime.errors import UsageError
from dagger_edge.runtime.graph import ExecutionError, Graph, GraphParseError, execute


def run(*args, text=None):
    return CliRunner().invoke(command, list(args), input=text)


@pytest.fixture
def graph_file(tmp_path):
    path = tmp_path / "graph.json"
    path.write_text(EXAMPLE, encoding="utf-8")
    return str(path)


def test_text(graph_file):
    """An answer in one script, a trace without labels, distractors that are not named."""
    done = run(graph_file)
    assert done.exit_code == 0
    assert done.stderr == ""
    assert done.stdout.startswith("answer: 5572092 (৫৫৭২০৯২)\n")
    assert "total_money, মিনার মোট টাকা: 122195 × 45.6 = 5572092" in done.stdout
    assert "n2, রাজুর কলম: 25084 (২৫০৮৪)" in done.stdout.split("distractors:")[1]


def test_no_trace(graph_file):
    """Steps that cannot be switched off."""
    assert "total_money" not in run("--no-trace", graph_file).stdout


def test_json_and_stdin():
    """A second line on stdout, or a result other than the library's."""
    done = run("--json", "-", text=EXAMPLE)
    assert json.loads(done.stdout)["answer"] == 5572092
    assert done.stdout.count("\n") == 1


def test_exact_and_ties():
    """Options that do not reach the executor."""
    graph = graph_of(const("a", 2.5), call("it", "round", "a"), call("c", "div", "it", 9)).to_json()
    assert run("--exact", "-", text=graph).stdout.startswith("answer: 2/9 (২/৯)")
    assert run("--exact", "--ties", "away", "-", text=graph).stdout.startswith("answer: 1/3 ")


def test_warnings_go_to_stderr():
    """A warning in the middle of the JSON."""
    graph = graph_of(const("a", 1), const("b", 2, distractor=True), call("it", "add", "a", "b")).to_json()
    done = run("--json", "-", text=graph)
    assert 'warning: node "b": marked as a distractor' in done.stderr
    json.loads(done.stdout)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b" " * 70_000, "65,536 bytes"),
        (None, "No such file"),
        ("folder", "directory"),
    ],
)
def test_unreadable_files(tmp_path, data, message):
    """A traceback, or a file read without limit."""
    path = tmp_path / "graph.json"
    if data == "folder":
        path.mkdir()
    elif data is not None:
        path.write_bytes(data)
    error = run(str(path)).exception
    assert isinstance(error, UsageError)
    assert message in str(error)
    assert "graph.json" in str(error)


@pytest.mark.parametrize(
    ("text", "kind"),
    [("{", GraphParseError), (graph_of(call("it", "div", 1, 0)).to_json(), ExecutionError)],
)
def test_errors_of_the_graph_reach_the_main_command(text, kind):
    """An error swallowed here, so that the exit code is 0."""
    done = run("-", text=text)
    assert isinstance(done.exception, kind)
    assert done.stdout == ""


def test_labels_cannot_steer_the_terminal():
    """Escape sequences of a model on the screen; the joiners of Bengali spelling must stay."""
    graph = graph_of(
        const("a", 1, label="\x1b[2J\u202e"), const("b", 2, label="র\u200d্যাম"), call("it", "add", "a", "b")
    )
    text = render_result(graph, execute(graph))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "র\u200d্যাম" in text
    assert text.endswith("distractors: none")


def test_a_failed_distractor_is_shown_as_such():
    """An empty value, or the word None, in the steps."""
    graph = graph_of(call("broken", "div", 1, 0, distractor=True), const("it", 5))
    assert "broken: div(1, 0) = no value" in render_result(graph, execute(graph))
    assert Graph.parse(graph.to_json()) == graph
