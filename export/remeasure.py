"""Parity of a bundle that is there already, against the checkpoint that it was made of: as a whole, and by layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..runtime.bundle import Bundle
from ..runtime.errors import BundleError, UsageError
from ..runtime.manifest import Parity, Source
from .checkpoint import Checkpoint
from .gate import pass_gate
from .layers import PartError, describe_divergence, first_divergence, layer_errors
from .layerwise import LayerwiseReference
from .probe import probe
from .verify import ExportedGraph


def remeasure_parity(bundle: Bundle, checkpoint: Path, adapter: Path | None = None) -> Parity:
    """What the gate finds now, as `pass_gate`.

    Args:
        bundle: opened.
        checkpoint: the folder that it was exported from, with the same weights; its name may have changed.
        adapter: the folder of the adapter that was merged.

    Raises:
        UsageError: the folders are no checkpoint and adapter, or not those of the bundle.
        BundleError: the bundle is too far from the checkpoint; the message names the first layer that is.
    """
    with _reference(bundle, checkpoint, adapter) as reference:
        return pass_gate(reference, ExportedGraph.of(bundle)).parity


def measure_layers(bundle: Bundle, checkpoint: Path, adapter: Path | None = None) -> list[PartError]:
    """How far each layer of the bundle is from the checkpoint's; arguments as of `remeasure_parity`.

    Raises:
        UsageError: the folders are no checkpoint and adapter, or not those of the bundle.
    """
    graph = ExportedGraph.of(bundle)
    with _reference(bundle, checkpoint, adapter) as reference:
        text = probe(bundle.tokenizer_path, graph.template, graph.shape)
        return layer_errors(reference, graph.folder, text, graph.shape, graph.stream_scale)


def require_equal_layers(bundle: Bundle, errors: Sequence[PartError]) -> None:
    """Raises a `BundleError` that names the first of ``errors`` that is beyond the limit of the bundle's precision."""
    precision = ExportedGraph.of(bundle).precision
    if first_divergence(errors, precision) is not None:
        where = describe_divergence(errors, precision)
        raise BundleError(f"bundle {bundle.path}: its layers are not the checkpoint's: {where}; export it again")


@contextmanager
def _reference(bundle: Bundle, checkpoint: Path, adapter: Path | None) -> Iterator[LayerwiseReference]:
    opened = Checkpoint.open(checkpoint, adapter)
    _check_source(opened.source(), bundle.manifest.source)
    with opened.weights() as weights:
        yield LayerwiseReference(weights)


def _check_source(found: Source, wanted: Source) -> None:
    if (found.adapter is None) != (wanted.adapter is None):
        raise UsageError(f"the bundle was made of {wanted.title}: give --adapter as it was then, or leave it out")
    for name in sorted(found.shards.keys() | wanted.shards.keys()):
        if found.shards.get(name) != wanted.shards.get(name):
            raise UsageError(f"checkpoint {found.name}: {name} is not the file that the bundle was made of")
    if found.adapter is not None and wanted.adapter is not None and found.adapter.files != wanted.adapter.files:
        raise UsageError(f"adapter {found.adapter.name}: it is not the one that the bundle was made of")
