"""The gate that every bundle passes, of any size: as a whole, or layer by layer where memory is too small for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..runtime.agreement import known_answer_of
from ..runtime.bundle import TOKENIZER_FILE, WEIGHTS_FILE
from ..runtime.errors import BundleError
from ..runtime.known_answer import KnownAnswer
from ..runtime.manifest import Parity
from ..runtime.memory import fits_in_memory
from .calibration import QUESTIONS
from .layers import describe_divergence, layer_errors
from .layerwise import LayerwiseReference
from .probe import probe
from .reference import Reference
from .snapshot import measure_questions
from .staged import StagedGraph, StagedReading, Way
from .verify import (
    ExportedGraph,
    check_distances,
    check_tokens,
    compare,
    measure_parity,
    over_kept_rows,
    parity_of,
)

_KNOWN_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Measurement:
    """What the gate found. ``known_answer`` is that of a graph that was run layer by layer, and cannot be asked again
    as cheaply; None where the context has no room for the prompt, or the graph was run as a whole."""

    parity: Parity
    known_answer: KnownAnswer | None = None


def pass_gate(
    reference: LayerwiseReference, graph: ExportedGraph, progress: Callable[[str], None] = lambda _line: None
) -> Measurement:
    """`measure_parity` or `measure_staged`, by the memory that there is, and `measure_questions`; an error names the
    first layer that diverges.

    Args:
        reference: the checkpoint, one layer in memory.
        graph: what was made of it.
        progress: called with a line of text before what takes long.

    Raises:
        BundleError: the graph is too far from the checkpoint, or its snapshot from the graph.
    """
    whole = fits_in_memory(graph.folder / WEIGHTS_FILE)
    if not whole:
        progress("the bundle does not fit in memory: running it layer by layer")
    try:
        measured = Measurement(measure_parity(reference, graph)) if whole else measure_staged(reference, graph)
    except BundleError as error:
        text = probe(graph.folder / TOKENIZER_FILE, graph.template, graph.shape)
        progress("looking for the layer that differs")
        errors = layer_errors(reference, graph.folder, text, graph.shape, graph.stream_scale)
        raise BundleError(f"{error}; {describe_divergence(errors, graph.precision)}") from None
    parity = measure_questions(measured.parity, reference, graph, staged=not whole)
    return replace(measured, parity=parity)


def measure_staged(reference: Reference, graph: ExportedGraph) -> Measurement:
    """What `measure_parity` measures, with one layer of the graph in memory at a time.

    It decodes nothing, since every token would read all weights anew: the tokens of a fixed answer are given, one by
    one over the cache and all at once, and the likeliest after each must be the reference's.

    Raises:
        BundleError: as of `measure_parity`.
    """
    precision, window = graph.precision, graph.shape.sliding_window
    text = probe(graph.folder / TOKENIZER_FILE, graph.template, graph.shape)
    (hidden,) = reference.hidden([text.ids])
    bounds, late = text.bounds(window), text.late(window)
    reading = StagedReading(StagedGraph(graph.folder), text.ids, [Way(bounds), Way([(0, len(text.ids))])])
    reference = over_kept_rows(reference, graph, next(reading.logits(0, [(0, 1)]))[0])
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
