"""The entry point: finds the command, turns every error into one line on stderr and an exit code.

Exit codes: 0 ok, 1 no answer, 2 usage, 3 device or provider, 4 bundle, 5 busy, 6 interrupted, 70 a bug of ours.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import signal
import sys

import click

from .. import __version__
from ..runtime.errors import DaggerEdgeError

# Imported when used: `--help` must not pay for the engine.
COMMANDS = {
    "solve": "Answer a Bengali word problem.",
    "serve": "Answer questions over HTTP, with a page for them.",
    "batch": "Answer a file of word problems; goes on where it was stopped.",
    "eval": "Answer test sets, or score texts; compare two runs.",
    "run": "Execute a graph that is there already.",
    "check": "Judge a graph: its form, its flags, its question.",
    "show": "Draw a graph.",
    "schema": "Print the JSON schema of what goes in or comes out.",
    "export": "Turn a checkpoint into a bundle.",
    "inspect": "Say what a bundle is, and whether it is intact.",
    "verify": "Check a bundle, and what it computes here.",
    "measure": "Measure what products cost here, and say which precision suits.",
    "bench": "Measure what a bundle does here; compare results, plan machines.",
    "doctor": "Say what works here and what does not, and the remedy.",
    "pack": "Make the folder to carry to a machine without network.",
}

_COMPLETION = "_DAGGER_EDGE_COMPLETE"

EXIT_USAGE = 2
EXIT_INTERRUPTED = 6
EXIT_BUG = 70


class LazyGroup(click.Group):
    """A group whose commands live in modules of their names, imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order in which people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{cmd_name}", __package__)
        command: click.Command = module.command
        _name_variables(cmd_name, command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in ``--help``, without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _name_variables(name: str, command: click.Command) -> None:
    """Gives every option its environment variable, those of commands within the command too."""
    for option in command.params:
        if isinstance(option, click.Option):
            option.envvar = _variable(name, option)
    if isinstance(command, click.Group):
        for within, subcommand in command.commands.items():
            _name_variables(f"{name}_{within}", subcommand)


def _variable(command: str, option: click.Option) -> str:
    """The environment variable of an option, named by its flag: DAGGER_EDGE_SOLVE_MAX_NEW_TOKENS."""
    flag = max(option.opts, key=len).lstrip("-")
    return f"DAGGER_EDGE_{command}_{flag}".replace("-", "_").upper()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dagger-edge")
def cli() -> None:
    """Bengali maths word problems to computational graphs and answers, on onnxruntime.

    Every option can also be set as an environment variable, for example DAGGER_EDGE_SOLVE_BUNDLE.
    """


# Signals that asked to stop.
_INTERRUPTIONS: list[int] = []


def _interrupt(number: int, _frame: object) -> None:
    _INTERRUPTIONS.append(number)
    raise KeyboardInterrupt


def main() -> None:
    """Runs the command line and exits."""
    # A terminated export cleans up as an interrupted one does. Who ignores interruptions (nohup, jobs) goes on to.
    for number in (signal.SIGTERM, signal.SIGINT):
        if number == signal.SIGTERM or signal.getsignal(number) is signal.default_int_handler:
            signal.signal(number, _interrupt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Bengali has to come out whatever the locale says.
            stream.reconfigure(encoding="utf-8")
    sys.exit(_run())


def _run() -> int:
    try:
        if _COMPLETION in os.environ:
            cli.main(prog_name="dagger-edge", complete_var=_COMPLETION)
        # Not cli.main: it would turn a closed pipe into exit code 1 by itself.
        with cli.make_context("dagger-edge", sys.argv[1:]) as context:
            cli.invoke(context)
        if sys.stdout is not None:
            sys.stdout.flush()
    except DaggerEdgeError as error:
        return _fail(str(error), error.exit_code)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", EXIT_INTERRUPTED)
    except OSError as error:
        return _os_failure(error)
    except Exception as error:
        if os.environ.get("DAGGER_EDGE_DEBUG"):
            raise
        return _fail(f"internal error, please report it ({type(error).__name__}: {error})", EXIT_BUG)
    return 0


def _os_failure(error: OSError) -> int:
    if error.errno in {errno.EPIPE, errno.ENOSPC}:
        # The reader is gone, or the result has no room: what Python still holds must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.EPIPE:
        return 0
    where = f"{error.filename}: " if error.filename else "writing the result: "
    return _fail(f"{where}{error.strerror or error}", EXIT_USAGE)


def _fail(message: str, code: int) -> int:
    # What an interruption breaks may not say so: of one inside an extension's import, an ImportError is left.
    if _INTERRUPTIONS:
        message, code = "interrupted", EXIT_INTERRUPTED
    click.echo(f"error: {message}", err=True)
    return code
