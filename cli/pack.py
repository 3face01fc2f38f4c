"""``dagger-edge pack``: everything that a machine without network needs, in one folder or tar."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click
import msgspec

from ..runtime.errors import UsageError
from .packing.target import PLATFORMS, PYTHONS, Target
from .progress import byte_bar

if TYPE_CHECKING:
    from ..runtime.manifest import ProviderName

_INSTALL = "dagger-edge pack needs packages that cannot be imported ({reason}): run `pip install 'dagger-edge[pack]'`"


@click.command("pack")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--bundle",
    "bundles",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="DIR",
    help="A bundle to take along; the first is the one that the service answers with. Several times for several.",
)
@click.option("--platform", "on", type=click.Choice(PLATFORMS), help="The target's.  [default: this machine's]")
@click.option("--python", type=click.Choice(PYTHONS), help="The target's.  [default: this one]")
@click.option("--provider", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--tar", "as_tar", is_flag=True, help="Make OUT a tar file, the same bytes for the same contents.")
@click.option(
    "--wheel",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Our own wheel.  [default: made of the dagger-edge that runs]",
)
@click.option(
    "--notice",
    "notices",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    metavar="FILE",
    help="A licence or notice that has to go with a bundle. Several times for several.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(
    out: Path,
    bundles: tuple[Path, ...],
    on: str | None,
    python: str | None,
    provider: str,
    as_tar: bool,
    wheel: Path | None,
    notices: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Make OUT, a new folder or tar with all that a machine needs that has Python and no network.

    In it: the locked wheels for the target, ours, the bundles, checksums, a bill of materials (CycloneDX), an
    installer, a systemd unit, a container file, and these docs. On the target: `sh OUT/install.sh`.

    The wheels are fetched by pip, from where its settings say (PIP_INDEX_URL; PIP_NO_INDEX and PIP_FIND_LINKS for a
    folder). Needs the pack extra. Prints the path, and the sha256 of SHA256SUMS to compare on the target.
    """
    target = Target.here(python, on, cast("ProviderName", provider))
    try:
        from .packing.assembly import Wanted, pack
    except ImportError as error:
        raise UsageError(_INSTALL.format(reason=error)) from error
    wanted = Wanted(out, target, bundles, as_tar, wheel, notices)
    packed = pack(wanted, say=lambda line: click.echo(line, err=True), bar=byte_bar)
    if as_json:
        document = {
            "path": str(packed.path),
            "size_bytes": packed.size_bytes,
            "sums_sha256": packed.sums_sha256,
            **msgspec.structs.asdict(packed.document),
        }
        click.echo(msgspec.json.encode(document).decode())
        return
    made = packed.document
    click.echo(f"{packed.path}\t{packed.size_bytes / 1e6:,.1f} MB")
    click.echo(f"{'for':<12} {target.title}, glibc {made.glibc} or newer")
    click.echo(f"{'wheels':<12} {made.wheels}")
    for bundle in made.bundles:
        click.echo(
            f"{'bundle':<12} {bundle.name}, {bundle.size_bytes / 1e6:,.1f} MB; licence: {bundle.folder}/MODEL_CARD.md"
        )
    if not made.bundles:
        click.echo(f"{'bundle':<12} only the demo that is inside the package")
    click.echo(f"{'SHA256SUMS':<12} {packed.sums_sha256}")
