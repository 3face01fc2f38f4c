"""The reference of all commands: ``python -m dagger_edge.cli.reference docs/cli.md``.

It is made of the commands' own options and texts, not of what click prints, so that neither the width of a terminal
nor the version of click changes it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from .main import COMMANDS, cli

_HEAD = """# The command line

Made by `python -m dagger_edge.cli.reference docs/cli.md` of what `--help` says; `tests/cli/test_reference.py` holds it
to that.

{help} Below, it stands behind each option.

The result is on stdout, everything else on stderr. Exit codes: 0 ok, 1 no answer, 2 usage, 3 device or provider, 4
bundle, 6 interrupted, 70 a bug of ours; commands that differ say so. Every command has `--help`, or `-h`.

| command | |
|---|---|
{commands}
"""


def reference() -> str:
    """The page, as Markdown with a final newline."""
    context = click.Context(cli, info_name="dagger-edge")
    rows = [f"| [`{name}`](#dagger-edge-{name}) | {summary} |" for name, summary in COMMANDS.items()]
    parts = [_HEAD.format(help=_text(cli), commands="\n".join(rows))]
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        parts += [f"{_section(found, 2 + depth)}\n" for depth, found in _with_subcommands(command, name, context)]
    return "\n".join(parts)


def _with_subcommands(
    command: click.Command, name: str, parent: click.Context, depth: int = 0
) -> Iterator[tuple[int, click.Context]]:
    """The command and those within it, each in a context that knows its full name."""
    context = click.Context(command, info_name=name, parent=parent)
    yield depth, context
    if isinstance(command, click.Group):
        for within in command.list_commands(context):
            found = command.get_command(context, within)
            assert found is not None
            yield from _with_subcommands(found, within, context, depth + 1)


def _section(context: click.Context, level: int) -> str:
    """Heading, usage, text and options of one command."""
    command, title = context.command, context.command_path
    usage = " ".join([title, "[OPTIONS]", *_arguments(command)])
    options = [_option(param) for param in command.params if isinstance(param, click.Option) and not param.hidden]
    return "\n".join(
        [f"{'#' * level} {title}", "", "```", usage, "```", "", _text(command), *(["", *options] if options else [])]
    )


def _arguments(command: click.Command) -> Iterator[str]:
    """What stands behind the options in the usage."""
    for param in command.params:
        if isinstance(param, click.Argument):
            choices = "|".join(map(str, param.type.choices)) if isinstance(param.type, click.Choice) else ""
            name = param.metavar or (f"{{{choices}}}" if choices else (param.name or "").upper())
            yield (name if param.required else f"[{name}]") + ("..." if param.nargs == -1 else "")
    if isinstance(command, click.Group):
        yield f"{'[COMMAND]' if command.invoke_without_command else 'COMMAND'} [ARGS]..."


def _text(command: click.Command) -> str:
    """The docstring, a paragraph a line."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _option(option: click.Option) -> str:
    """One option: how it is given, what it does, what it is by default, and its environment variable."""
    names = ", ".join(option.opts) + "".join(f" / {name}" for name in option.secondary_opts)
    value = _value(option)
    default = _default(option)
    text = [f"- `{names}{f' {value}' if value else ''}`", f": {' '.join(option.help.split())}" if option.help else ""]
    notes = [f"default: {default}"] if default else []
    notes += ["required"] if option.required else []
    notes += ["may be given several times"] if option.multiple else []
    notes.append(f"`{option.envvar}`")
    return "".join(text) + f" ({'; '.join(notes)})"


def _value(option: click.Option) -> str:
    """What stands behind the option; nothing behind a flag."""
    kind = option.type
    if option.is_flag or option.count:
        return ""
    if option.metavar is not None:
        return option.metavar
    if isinstance(kind, click.Choice):
        return "|".join(map(str, kind.choices))
    if isinstance(kind, click.IntRange | click.FloatRange):
        return f"{'INTEGER' if isinstance(kind, click.IntRange) else 'FLOAT'}{_range(kind)}"
    return kind.name.upper()


def _range(kind: click.IntRange | click.FloatRange) -> str:
    """As in `` [1<=x<=64]``; nothing where there are no bounds."""
    low = "" if kind.min is None else f"{_number(kind.min)}{'<' if kind.min_open else '<='}"
    high = "" if kind.max is None else f"{'<' if kind.max_open else '<='}{_number(kind.max)}"
    return f" [{low}x{high}]" if low or high else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def _default(option: click.Option) -> str:
    """The default where the help shows it; where it is in the text, it is there."""
    if not option.show_default:
        return ""
    if isinstance(option.show_default, str):
        return option.show_default
    default = option.default
    if option.is_flag and isinstance(default, bool):
        given = option.opts if default else option.secondary_opts
        return f"`{max(given, key=len)}`" if given else ""
    values = default if isinstance(default, list | tuple) else [default]
    return ", ".join(f"`{value}`" for value in values if value is not None)


def main() -> None:
    """Writes the page to the file that is named, or to stdout."""
    page = reference()
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(page, encoding="utf-8")
    else:
        click.echo(page, nl=False)


if __name__ == "__main__":
    main()
