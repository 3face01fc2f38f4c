"""Options of every command that lets a model answer: which model, and how it decodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..runtime.options import DecodeOptions
    from ..runtime.sampling import Sampling

_Command = Callable[..., None]


def model_options(function: _Command) -> _Command:
    """``bundle`` (a path or None: the demo), ``provider``, ``threads`` (or None) and ``verify``."""
    return _with(
        function,
        click.option(
            "--bundle", type=click.Path(path_type=Path), help="Bundle to use.  [default: the demo in the package]"
        ),
        click.option("--provider", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True),
        click.option("--threads", type=click.IntRange(min=1), help="Threads of one operator.  [default: one per core]"),
        click.option("--verify/--no-verify", default=True, help="Compare the bundle's files with its manifest."),
    )


def decoding_options(function: _Command) -> _Command:
    """``samples`` (or None), and what `decode_options` reads. Ranges are checked by `Sampling` and `DecodeOptions`."""
    return _with(
        function,
        click.option("--max-new-tokens", type=click.IntRange(1, 8192), default=1024, show_default=True, help="Limit."),
        click.option("--free", is_flag=True, help="Without the grammar: let the model write what it likes."),
        click.option("--drafts/--no-drafts", default=True, help="Read guessed tokens along. The answer is the same."),
        click.option("--sample", is_flag=True, help="Draw tokens, as the model card does; default: the likeliest."),
        click.option("--temperature", type=float, help="Of sampling.  [default: 0.7]"),
        click.option("--top-k", type=int, help="Draw from the so many likeliest; 0: from all.  [default: 0]"),
        click.option("--top-p", type=float, help="Draw from the likeliest of this total probability.  [default: 0.8]"),
        click.option("--min-p", type=float, help="Draw from those of this share of the likeliest's.  [default: 0]"),
        click.option("--seed", type=int, help="Of sampling: the same seed, the same answer.  [default: 0]"),
        click.option("--samples", type=click.IntRange(1, 64), help="Draw so many graphs, and vote on their answers."),
    )


def decode_options(decoding: dict[str, Any], *, several: bool) -> DecodeOptions:
    """What the values of `decoding_options` ask for; ``several``: samples are drawn.

    Raises:
        UsageError: a value outside its range.
    """
    from ..runtime.options import DecodeOptions

    return DecodeOptions(
        max_new_tokens=decoding["max_new_tokens"],
        grammar=not decoding["free"],
        drafts=decoding["drafts"],
        sampling=_sampling(decoding, several=several),
    )


def _with(function: _Command, *options: Callable[[_Command], _Command]) -> _Command:
    for option in reversed(options):
        function = option(function)
    return function


def _sampling(decoding: dict[str, Any], *, several: bool) -> Sampling | None:
    """None where the likeliest tokens are wanted: where no option of sampling is given, nor several samples."""
    from ..runtime.sampling import Sampling

    names = ("temperature", "top_k", "top_p", "min_p", "seed")
    given = {name: decoding[name] for name in names if decoding[name] is not None}
    return Sampling(**given) if given or decoding["sample"] or several else None
