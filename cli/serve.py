"""``dagger-edge serve``: one model behind HTTP, for a class, a page or another program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from ..runtime.errors import UsageError
from .decoding import model_options
from .inputs import read_text

if TYPE_CHECKING:
    from ..runtime.ort import Provider

_MAX_TOKEN_BYTES = 4096
_LEAST_TOKEN = 16


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes a free one.")
@model_options
@click.option(
    "--queue", type=click.IntRange(0, 10_000), default=16, show_default=True, help="Questions that may wait in line."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=300.0,
    show_default=True,
    help="Seconds that an answer may take, the line included.",
)
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    help="Seconds to answer what is in hand when the server is to stop.",
)
@click.option("--token-file", type=click.Path(), help="Serve only who sends the token in this file.")
@click.option("--without-token", is_flag=True, help="Let everybody ask who reaches a --host that is not loopback.")
@click.option(
    "--allow-host",
    "names",
    multiple=True,
    metavar="NAME",
    help="Host name to answer to, beside loopback's; may repeat.",
)
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Of stderr's lines."
)
@click.option("--log-questions", is_flag=True, help="Log what was asked, which is the pupils'.")
def command(
    host: str,
    port: int,
    bundle: Path | None,
    provider: str,
    threads: int | None,
    queue: int,
    timeout: float,
    grace: float,
    token_file: str | None,
    names: tuple[str, ...],
    log_format: str,
    *,
    verify: bool,
    without_token: bool,
    log_questions: bool,
) -> None:
    """Answer questions over HTTP: POST /v1/solve and /v1/run, a page at /, metrics at /metrics.

    One question is worked on at a time, the others wait in line. docs/server.md has all addresses. SIGTERM and SIGINT
    answer what is in hand, and end with exit code 0. Exit code 5: the port is in use.
    """
    token = None if token_file is None else _read_token(token_file)
    try:
        from .server.app import Rules
        from .server.gate import Access
        from .server.process import Model, Service
    except ModuleNotFoundError as error:
        raise UsageError(f"serve needs more packages ({error}): pip install 'dagger-edge[cpu,serve]'") from error
    from ..runtime.solver import demo_bundle
    from .server.listener import Listener

    with Listener(host, port) as listener:
        if not listener.is_loopback and token is None and not without_token:
            raise UsageError(
                f"--host {host} can be reached from other machines: give --token-file, or --without-token to let"
                " everybody there ask"
            )
        access = Access(listener.host_names(names), token)
        model = Model(str(bundle or demo_bundle()), cast("Provider", provider), threads, verify)
        Service(model, queue, grace, Rules(access, timeout, log_questions), log_format == "json").run(listener)


def _read_token(path: str) -> bytes:
    token = read_text(path, _MAX_TOKEN_BYTES).strip()
    if len(token) < _LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(
            f"--token-file {path}: a token is {_LEAST_TOKEN} or more characters of ASCII without spaces, on one line"
        )
    return token.encode()
