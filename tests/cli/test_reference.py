"""docs/cli.md: what every ``--help`` says is in it, and it is made anew when that changes."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from dagger_edge.cli import reference
from dagger_edge.cli.main import COMMANDS, cli

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "cli.md"


def contexts(command, name, parent=None):
    """A command and those within it, as click finds them."""
    context = click.Context(command, info_name=name, parent=parent, max_content_width=10_000, terminal_width=10_000)
    if parent is not None:
        yield context
    for within in command.list_commands(context) if isinstance(command, click.Group) else ():
        yield from contexts(command.get_command(context, within), within, context)


def section(path):
    """What the page says of one command, on one line."""
    found = re.search(rf"^#+ {path}\n(.*?)(?=^#|\Z)", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found, path
    return " ".join(found[1].split())


def test_the_page_is_that_of_the_commands():
    """Help that was changed: run `python -m dagger_edge.cli.reference docs/cli.md`."""
    assert PAGE.read_text(encoding="utf-8") == reference.reference()


def test_all_that_help_prints_is_in_the_page():
    """A page that is up to date with a generator which leaves something out."""
    for context in contexts(cli, "dagger-edge"):
        text, printed = section(context.command_path), context.get_help()
        body, _, options = printed.partition("\nOptions:\n")
        for paragraph in body.split("\n\n")[1:]:
            assert " ".join(paragraph.split()) in text
        for flag in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", options)) - {"--help"}:
            assert flag in text, (context.command_path, flag)
        for option in context.command.params:
            if isinstance(option, click.Option) and option.help:
                assert " ".join(option.help.split()) in text
    assert {context.command_path for context in contexts(cli, "dagger-edge")} >= {
        f"dagger-edge {name}" for name in COMMANDS
    }


@pytest.mark.parametrize("columns", ["30", "200"])
def test_the_page_does_not_depend_on_the_terminal(columns, tmp_path):
    """A page that differs between a window and CI."""
    done = subprocess.run(
        [sys.executable, "-m", "dagger_edge.cli.reference", str(tmp_path / "cli.md")],
        env={"PYTHONPATH": str(ROOT / "src"), "COLUMNS": columns, "LC_ALL": "C.UTF-8"},
        check=False,
    )
    assert done.returncode == 0
    assert (tmp_path / "cli.md").read_bytes() == PAGE.read_bytes()


def test_the_variables_of_the_page_are_those_that_are_read(monkeypatch, capsys):
    """A name in the page that no command listens to."""
    (variable,) = re.findall(r"`(DAGGER_EDGE_MEASURE_SHAPE)`", section("dagger-edge measure"))
    monkeypatch.setenv(variable, "nonsense")
    with pytest.raises(Exception, match="--shape: 'nonsense'"), cli.make_context("dagger-edge", ["measure"]) as context:
        cli.invoke(context)
