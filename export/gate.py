"""The gate that every bundle passes, of any size: as a whole, or layer by layer where memory is too small for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..runtime.agreement import known_answer_of
from ..runtime.bundle import TOKENIZER_FILE, WEIGHTS_FILE
from ..runtime.errors import BundleError
from ..runtime.known_answer import KnownAnswer
from ..runtime.manifest import Architecture, Parity, PrecisionName
from ..runtime.memory import fits_in_memory
from .calibration import QUESTIONS
from .layers import describe_divergence, layer_errors
from .layerwise import LayerwiseReference
from .probe import probe
from .staged import StagedGraph, StagedReading, Way
from .verify import Reference, check_distances, check_tokens, compare, measure_parity, parity_of

_KNOWN_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Measurement:
    """What the gate found. ``known_answer`` is that of a graph that was run layer by layer, and cannot be asked again
    as cheaply; None where the context has no room for the prompt, or the graph was run as a whole."""

    parity: Parity
    known_answer: KnownAnswer | None = None


def pass_gate(
    reference: LayerwiseReference,
    folder: Path,
    shape: Architecture,
    template: str,
    precision: PrecisionName,
    stream_scale: float = 1.0,
    progress: Callable[[str], None] = lambda _line: None,
) -> Measurement:
    """`measure_parity` or `measure_staged`, by the memory that there is; an error names the first layer that diverges.

    Args:
        reference: the checkpoint, one layer in memory.
        folder: holds the graph, its weights and ``tokenizer.json``.
        shape: the architecture in the manifest.
        template: the prompt template, with ``{question}``.
        precision: of the graph.
        stream_scale: the power of two that the graph's residual stream is scaled by.
        progress: called with a line of text before what takes long.

    Raises:
        BundleError: the graph is too far from the checkpoint.
    """
    arguments = reference, folder, shape, template, precision
    try:
        if fits_in_memory(folder / WEIGHTS_FILE):
            return Measurement(measure_parity(*arguments))
        progress("the bundle does not fit in memory: running it layer by layer")
        return measure_staged(*arguments)
    except BundleError as error:
        text = probe(folder / TOKENIZER_FILE, template, shape)
        progress("looking for the layer that differs")
        errors = layer_errors(reference, folder, text, shape, stream_scale)
        raise BundleError(f"{error}; {describe_divergence(errors, precision)}") from None


def measure_staged(
    reference: Reference, folder: Path, shape: Architecture, template: str, precision: PrecisionName = "fp32"
) -> Measurement:
    """What `measure_parity` measures, with one layer of the graph in memory at a time.

    It decodes nothing, since every token would read all weights anew: the tokens of a fixed answer are given, one by
    one over the cache and all at once, and the likeliest after each must be the reference's.

    Raises:
        BundleError: as of `measure_parity`.
    """
    text = probe(folder / TOKENIZER_FILE, template, shape)
    (hidden,) = reference.hidden([text.ids])
    bounds, late = text.bounds(shape.sliding_window), text.late(shape.sliding_window)
    reading = StagedReading(StagedGraph(folder), text.ids, [Way(bounds), Way([(0, len(text.ids))])])
    cached = compare(reference, hidden, bounds, reading.logits(0, bounds))
    uncached = compare(reference, hidden, late, reading.logits(1, late))
    check_distances(cached.distance, uncached.distance, precision)
    given = np.array(text.given)
    same = (cached.found == cached.expected)[given] & (uncached.found == uncached.expected)[given - late[0][0]]
    tokens = int(same.sum()), len(given)
    parity = parity_of(cached.distance, uncached.distance, len(text.ids), tokens, forced=True)
    check_tokens(parity, precision)
    if not text.answer:
        return Measurement(parity)
    first = text.given.start
    (rows,) = reading.logits(0, [(first, first + min(_KNOWN_TOKENS, text.answer))])
    answer = text.ids[text.prompt : text.prompt + len(rows)]
    return Measurement(parity, known_answer_of(QUESTIONS[0], text.ids[: text.prompt], answer, rows, precision))
