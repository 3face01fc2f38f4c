"""``dagger-edge verify``: whether a bundle is intact, and computes here what it computed where it was exported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
import msgspec

from ..runtime.bundle import WEIGHTS_FILE, Bundle
from ..runtime.errors import DaggerEdgeError, UsageError
from ..runtime.memory import fits_in_memory
from .export import INSTALL
from .progress import byte_bar

if TYPE_CHECKING:
    from types import ModuleType

    from ..export.layers import PartError
    from ..runtime.agreement import Agreement
    from ..runtime.manifest import Parity
    from ..runtime.ort import Provider

_TOO_LARGE = "not asked: the bundle does not fit in this machine's memory"


@click.command("verify")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Measure parity anew against the checkpoint (needs the export extra).",
)
@click.option("--adapter", type=click.Path(path_type=Path), metavar="DIR", help="The LoRA adapter that was merged.")
@click.option("--layers", is_flag=True, help="With --checkpoint: compare each layer, and name the first that differs.")
@click.option("--provider", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="Threads of one operator.  [default: one per core]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, also where something is wrong.")
def command(
    bundle: Path,
    checkpoint: Path | None,
    adapter: Path | None,
    layers: bool,
    provider: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Check BUNDLE: every file's size and sha256, graph and tokenizer against the manifest, and its known answer.

    The known answer is what the model said to one question where it was exported: it must say the same here. Exit
    code 4: something is wrong, and the message names it.
    """
    for option, given in (("--adapter", adapter is not None), ("--layers", layers)):
        if given and checkpoint is None:
            raise UsageError(f"{option} goes with --checkpoint: give both")
    document: dict[str, Any] = {"path": str(bundle), "ok": False}
    try:
        opened = Bundle.open(bundle, bar=byte_bar)
        document |= {"files": len(opened.manifest.files), "size_bytes": opened.size_bytes}
        if checkpoint is not None and layers:
            _check_layers(opened, checkpoint, adapter, document, shown=not as_json)
        # A bundle that does not fit is compared with its checkpoint layer by layer; here it would be loaded whole.
        whole = checkpoint is None or fits_in_memory(opened.path / WEIGHTS_FILE)
        answer = _known_answer(opened, cast("Provider", provider), threads) if whole else None
        document |= {"known_answer": answer, "parity_at_export": opened.manifest.parity}
        parity = None if checkpoint is None else _parity(opened, checkpoint, adapter)
        document |= {"parity": parity, "ok": True}
    except DaggerEdgeError as error:
        if as_json:
            click.echo(msgspec.json.encode({**document, "error": str(error)}).decode())
        raise
    if as_json:
        click.echo(msgspec.json.encode(document).decode())
        return
    click.echo(f"{'files':<14} {len(opened.manifest.files)}, {opened.size_bytes / 1e6:,.1f} MB, all intact")
    click.echo(f"{'known answer':<14} {_describe(answer) if whole else _TOO_LARGE}")
    click.echo(f"{'at export':<14} {opened.manifest.parity_summary}")
    if parity is not None:
        click.echo(f"{'parity':<14} {parity.summary}")


def _known_answer(bundle: Bundle, provider: Provider, threads: int | None) -> Agreement | None:
    from ..runtime.solver import Solver

    with Solver.open(bundle, provider=provider, threads=threads) as solver:
        return solver.check_known_answer()


def _describe(answer: Agreement | None) -> str:
    if answer is None:
        return "none in this bundle; graph and tokenizer load"
    return (
        f"{answer.equal} of {answer.tokens} tokens equal, logits within {answer.max_logit_diff:.2g}"
        f" (allowed: {answer.tolerance:.2g})"
    )


def _parity(bundle: Bundle, checkpoint: Path, adapter: Path | None) -> Parity:
    remeasure = _remeasure()
    click.echo(f"comparing with {checkpoint}", err=True)
    parity: Parity = remeasure.remeasure_parity(bundle, checkpoint, adapter)
    return parity


def _check_layers(
    bundle: Bundle, checkpoint: Path, adapter: Path | None, document: dict[str, Any], *, shown: bool
) -> None:
    """Puts the errors of all layers into the document, prints them where ``shown``, and refuses the first that
    diverges."""
    remeasure = _remeasure()
    click.echo(f"comparing with {checkpoint}, layer by layer", err=True)
    document["layers"] = errors = remeasure.measure_layers(bundle, checkpoint, adapter)
    if shown:
        _print_layers(errors)
    remeasure.require_equal_layers(bundle, errors)


def _print_layers(errors: list[PartError]) -> None:
    click.echo(f"{'layer':<7}{'kind':<9}{'part':<14}{'error':>9}{'worst':>9}  at token")
    for error in errors:
        layer = "" if error.layer is None else str(error.layer)
        numbers = f"{error.error:>9.1e}{error.worst:>9.1e}  {error.position}"
        click.echo(f"{layer:<7}{error.kind:<9}{error.part:<14}{numbers}")


def _remeasure() -> ModuleType:
    try:
        from ..export import remeasure
    except ImportError as error:
        raise UsageError(INSTALL.format(command="verify --checkpoint", reason=error)) from error
    return remeasure
