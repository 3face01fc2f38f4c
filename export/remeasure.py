"""Parity of a bundle that is there already, against the checkpoint that it was made of."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from ..runtime.bundle import Bundle
from ..runtime.errors import UsageError
from ..runtime.manifest import Manifest, Parity, PrecisionName, Source
from .checkpoint import Checkpoint
from .layerwise import LayerwiseReference
from .snapshot import measure_questions
from .verify import measure_parity


def remeasure_parity(bundle: Bundle, checkpoint: Path, adapter: Path | None = None) -> Parity:
    """What `measure_parity` finds now.

    Args:
        bundle: opened.
        checkpoint: the folder that it was exported from, with the same weights; its name may have changed.
        adapter: the folder of the adapter that was merged.

    Raises:
        UsageError: the folders are no checkpoint and adapter, or not those of the bundle.
        BundleError: the bundle is too far from the checkpoint.
    """
    manifest = bundle.manifest
    opened = Checkpoint.open(checkpoint, adapter)
    _check_source(opened.source(), manifest.source)
    precision = cast("PrecisionName", manifest.precision.name)
    with opened.weights() as weights:
        reference = LayerwiseReference(weights)
        measured = bundle.path, manifest.architecture, bundle.prompt_template, precision, _head_rows(manifest)
        return measure_questions(measure_parity(reference, *measured), reference, *measured)


def _head_rows(manifest: Manifest) -> int | None:
    rows = manifest.precision.recipe.get("head_rows")
    return None if rows is None else int(rows)


def _check_source(found: Source, wanted: Source) -> None:
    if (found.adapter is None) != (wanted.adapter is None):
        raise UsageError(f"the bundle was made of {wanted.title}: give --adapter as it was then, or leave it out")
    for name in sorted(found.shards.keys() | wanted.shards.keys()):
        if found.shards.get(name) != wanted.shards.get(name):
            raise UsageError(f"checkpoint {found.name}: {name} is not the file that the bundle was made of")
    if found.adapter is not None and wanted.adapter is not None and found.adapter.files != wanted.adapter.files:
        raise UsageError(f"adapter {found.adapter.name}: it is not the one that the bundle was made of")
