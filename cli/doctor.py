"""``dagger-edge doctor``: what works here and what does not, and the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import click

from ..runtime.doctor.report import Provider
from .progress import byte_bar


@click.command("doctor")
@click.option(
    "--bundle", type=click.Path(path_type=Path), help="Bundle to examine.  [default: the demo in the package]"
)
@click.option("--provider", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="To be used.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def command(ctx: click.Context, bundle: Path | None, provider: str, as_json: bool) -> None:
    """Say what works on this machine and what does not, and the remedy for each.

    Looks at Python, packages, execution providers, the machine, and a bundle, which has to say here what it said where
    it was exported; without any network. docs/doctor.md lists the checks. Exit code 4: the bundle fails; 3: anything
    else fails, and the bundle does not; 0: nothing fails, though there may be warnings.
    """
    from ..runtime.doctor.examination import examine

    report = examine(bundle, cast("Provider", provider), bar=byte_bar)
    click.echo(report.to_json() if as_json else "\n".join(report.lines()))
    ctx.exit(report.exit_code)
