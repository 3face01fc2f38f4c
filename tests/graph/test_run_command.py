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


def test_a_repair_is_told_and_can_be_refused():
    """A fix that the user never hears of."""
    text = EXAMPLE.replace("122195", '"১,২২,১৯৫"')
    done = run("--json", "-", text=text)
    result = json.loads(done.stdout)
    assert (result["answer"], result["level"]) == (5572092, "repaired")
    assert [fix["code"] for fix in result["fixes"]] == ["number_text"]
    assert 'repaired: n1: "১,২২,১৯৫" is 122195' in done.stderr
    assert isinstance(run("--strict", "-", text=text).exception, GraphParseError)


def test_what_if(graph_file):
    """A changed constant that does not reach the answer."""
    assert run("--set", "n1=১০০", "--set", "n5=1/2", graph_file).stdout.startswith("answer: 50 ")


@pytest.mark.parametrize("setting", ["n1", "=5", "n1=", "n1=five", "n1=1/3", "nope=5", "total_money=5"])
def test_what_if_of_nonsense(graph_file, setting):
    """A setting that is ignored."""
    assert isinstance(run("--set", setting, graph_file).exception, UsageError)


def test_sensitivity_proves_distractors(graph_file):
    """A distractor that is said to move the answer, or a needed number that is not."""
    lines = run("--sensitivity", "--no-trace", graph_file).stdout.split("sensitivity:")[1]
    assert "n1, মিনার কলম: +45.6 in the answer for +1" in lines
    assert "n2, রাজুর কলম: none: the answer does not depend on it (marked as a distractor)" in lines
    document = json.loads(run("--json", "--sensitivity", graph_file).stdout)
    assert [row["moves"] for row in document["sensitivity"]] == [True, False, False, False, True]


def test_sensitivity_of_a_constant_on_the_path_that_moves_nothing():
    """The path taken for an influence."""
    graph = graph_of(const("a", 3), const("zero", 0), call("it", "mul", "a", "zero")).to_json()
    assert "a: none near its value" in run("--sensitivity", "-", text=graph).stdout


def test_sensitivity_at_the_edge_of_doubles():
    """A trial value that overflows, reported as if the user had given it."""
    graph = graph_of(const("a", 1.7e308), call("it", "min", "a", 5)).to_json()
    done = run("--sensitivity", "-", text=graph)
    assert done.exit_code == 0
    assert "a: " in done.stdout.split("sensitivity:")[1]
