"""``dagger-edge inspect``: what a bundle is, and whether it is intact."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from ..runtime.bundle import Bundle
from ..runtime.manifest import Manifest


@click.command("inspect")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document: path, size, and the manifest.")
def command(bundle: Path, as_json: bool) -> None:
    """Show what BUNDLE is: model, files, parity; after reading every file and comparing its sha256.

    A bundle that is not intact is an error (exit code 4) that names the file.
    """
    opened = Bundle.open(bundle)
    if as_json:
        document = {
            "path": str(opened.path),
            "intact": True,
            "size_bytes": opened.size_bytes,
            "manifest": opened.manifest,
        }
        click.echo(msgspec.json.encode(document).decode())
        return
    for label, value in _summary(opened.manifest):
        click.echo(f"{label:<12} {value}")
    click.echo(f"{'files':<12} {opened.size_bytes / 1e6:,.1f} MB, all intact")
    for name, entry in sorted(opened.manifest.files.items()):
        click.echo(f"  {name:<24} {entry.size_bytes:>16,}  {entry.sha256[:16]}")


def _summary(manifest: Manifest) -> list[tuple[str, str]]:
    shape, source = manifest.architecture, manifest.source
    return [
        ("name", manifest.name),
        ("source", source.title),
        (
            "model",
            f"{shape.model_type}, {shape.num_layers} layers ({len(shape.global_layers)} global, the others"
            f" see {shape.sliding_window} tokens), {shape.num_kv_heads} KV heads of {shape.head_dim},"
            f" vocabulary {shape.vocab_size}, context {shape.context_length}",
        ),
        ("precision", manifest.precision.name),
        ("prompt", manifest.prompt),
        ("parity", manifest.parity_summary),
        ("created", f"{manifest.created} by {manifest.export_command}"),
    ]
