import json

import pytest
from click.testing import CliRunner
from graph_samples import EXAMPLE, call, const, graph_of

from dagger_edge.cli import check, show
from dagger_edge.runtime.graph import GraphParseError

QUESTION = "মিনার ১২২১৯৫টি কলম ও রাজুর ২৫০৮৪টি কলম আছে। প্রতিটির দাম ৪৫.৬ টাকা। সব কলমের দাম কত টাকা?"
FAILING = graph_of(const("a", 1), const("b", 0), call("it", "div", "a", "b")).to_json()


def run(module, *args, text=EXAMPLE):
    return CliRunner().invoke(module.command, ["-", *args], input=text)


def test_check_says_what_the_question_does_not():
    """A constant out of thin air that nobody is told of."""
    document = json.loads(run(check, "--json", "--question", QUESTION).stdout)
    assert (document["level"], document["answer"], document["fixes"]) == ("strict", 5572092, [])
    codes = {(warning["code"], warning["node"]) for warning in document["warnings"]}
    assert ("const_not_in_question", "n3") in codes
    assert ("const_not_in_question", "n1") not in codes


def test_check_names_fixes_and_failures():
    """A repaired graph without an answer, called fine."""
    done = run(check, text=f"Here: {FAILING}")
    assert done.stdout.startswith("level: repaired\nfix prose: ")
    assert "no answer: node" in done.stdout


@pytest.mark.parametrize(
    ("kind", "start"), [("text", ""), ("mermaid", "flowchart"), ("svg", "<svg"), ("html", "<!DOCTYPE html>")]
)
def test_show_draws_every_kind(kind, start):
    """A format that prints another."""
    done = run(show, "--format", kind, "--question", QUESTION)
    assert done.exit_code == 0
    assert done.stderr == ""
    assert done.stdout.lower().startswith(start.lower())
    assert "মিনার" in done.stdout


def test_show_draws_a_graph_that_has_no_answer():
    """A failing graph that cannot be looked at."""
    done = run(show, text=FAILING)
    assert done.exit_code == 0
    assert "division by zero" in done.stderr
    assert "a ÷ b" in done.stdout


@pytest.mark.parametrize("module", [check, show])
def test_a_cut_off_graph_is_refused(module):
    """A drawing of half a graph."""
    assert isinstance(run(module, text=EXAMPLE[:200]).exception, GraphParseError)
