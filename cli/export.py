"""``dagger-edge export``: a checkpoint becomes a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..runtime.bundle import PROMPT_IDS
from ..runtime.errors import UsageError
from ..runtime.manifest import HEADS, PRECISIONS, HeadName, PrecisionName, PromptId
from .progress import byte_bar

if TYPE_CHECKING:
    from ..export.recipe import Recipe

INSTALL = (
    "dagger-edge {command} needs packages that cannot be imported ({reason}):"
    " run `pip install 'dagger-edge[export]'` in a virtual environment of its own"
)


@click.command("export")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--adapter",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A LoRA adapter (PEFT folder) to merge into the checkpoint.",
)
@click.option(
    "--prompt",
    type=click.Choice(PROMPT_IDS),
    default="card",
    show_default=True,
    help="Prompt template: the model card's, the paper's, or the bare question.",
)
@click.option("--name", help="Name of the bundle in its manifest.  [default: the checkpoint's]")
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    help="How the weights are stored.  [default: fp32]",
)
@click.option(
    "--recipe",
    metavar="NAME|FILE",
    help="How the weights are stored, in full: a recipe of ours (int8-blocks, int4-fast, …) or a JSON file.",
)
@click.option(
    "--for",
    "machine",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Choose the recipe for the machine on which `dagger-edge measure --json` printed FILE.",
)
@click.option(
    "--head",
    type=click.Choice(HEADS),
    default="all",
    show_default=True,
    help="Rows of the output head: all, those that graphs can hold, or fewer that still spell every graph.",
)
@click.option(
    "--context",
    type=click.IntRange(min=1),
    default=8192,
    show_default=True,
    help="Tokens that a prompt and its answer may have together, at most.",
)
@click.option(
    "--verify/--no-verify",
    default=True,
    show_default=True,
    help="Compare the result with torch, and fail where it differs.",
)
def command(
    checkpoint: Path,
    bundle: Path,
    adapter: Path | None,
    prompt: PromptId,
    name: str | None,
    precision: PrecisionName | None,
    recipe: str | None,
    machine: Path | None,
    head: HeadName,
    context: int,
    verify: bool,
) -> None:
    """Export a Gemma 3 CHECKPOINT folder (safetensors) as a new BUNDLE folder.

    Needs the export extra in a virtual environment of its own. Prints the bundle's path and size.
    """
    if recipe is not None and (precision is not None or machine is not None):
        raise UsageError("--recipe says it all: leave out --precision and --for")
    try:
        from ..export.pipeline import export_checkpoint
    except ImportError as error:
        raise UsageError(INSTALL.format(command="export", reason=error)) from error
    chosen = _recipe(checkpoint, precision, recipe, machine)
    made = export_checkpoint(
        checkpoint,
        bundle,
        adapter=adapter,
        prompt=prompt,
        name=name,
        precision=chosen.name,
        variant=chosen,
        head=head,
        context=context,
        verify=verify,
        progress=lambda line: click.echo(line, err=True),
        bar=byte_bar,
    )
    click.echo(f"{made.path}\t{made.size_bytes / 1e6:,.1f} MB")


def _recipe(checkpoint: Path, precision: PrecisionName | None, name: str | None, machine: Path | None) -> Recipe:
    """What was asked for; a measured choice tells its reasons."""
    from ..export import recipe as recipes

    if name is not None:
        return recipes.recipe(name) if name in recipes.recipe_names() else recipes.read_recipe(Path(name))
    if machine is None:
        return recipes.recipe(precision or "fp32")
    from ..export.choice import choose_recipe

    choice = choose_recipe(machine, checkpoint, precision)
    for line in choice.reason:
        click.echo(line, err=True)
    return choice.recipe
