"""From weights to ``model.onnx`` and ``model.onnx.data``: skeleton, fusion, scales, layout, stream."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import cast

import numpy as np

from ..runtime.bundle import MODEL_FILE, TOKENIZER_FILE, WEIGHTS_FILE
from ..runtime.files import Bar
from ..runtime.manifest import Architecture
from .assemble import assemble, replace_constant
from .calibration import calibration_digest, calibration_ids, calibration_prompts
from .config import TextConfig
from .folded import FoldedWeights
from .fuse.ends import EMBEDDING_SCALE
from .fuse.joined import join_products
from .fuse.model import fuse
from .head import HeadCut
from .layerwise import LayerwiseReference
from .package import BundleWriter
from .quantize.smoothing import READERS
from .quantize.weights import CalibratedWeights
from .recipe import Calibration, Recipe
from .reference import embedding_scale
from .rescale import choose_rescaling
from .skeleton import trace_skeleton
from .snapshot import SnapshotWriter
from .storage.blocks import SharedBlocks
from .storage.codes import CodedStorage, Grid
from .stream import write_graph, write_weights
from .weights import Weights

# Beside the weights: graph, tokenizer, card.
_SMALL_FILES_BYTES = 64 << 20


def write_model(
    weights: Weights,
    recipe: Recipe,
    shape: Architecture,
    template: str,
    writer: BundleWriter,
    progress: Callable[[str], None],
    bar: Bar,
    cut: HeadCut | None = None,
) -> dict[str, str | int | float | bool]:
    """Writes graph, weights and prefix snapshot into the writer's folder, where ``tokenizer.json`` lies already.

    Args:
        weights: of the checkpoint.
        recipe: how they are stored.
        shape: the architecture in the manifest; its context is that of the rotary tables.
        template: the prompt template, for prompts that activations are measured on.
        writer: of the bundle.
        progress: called with a line of text before each step.
        bar: called with the bytes of all weights before they are written.
        cut: the rows that the head keeps; None is all.

    Returns:
        What was done to the weights beyond the recipe, for the manifest.

    Raises:
        UsageError: a weight holds NaN or infinity, or this model cannot be stored so.
        BundleError: the trace is not what it should be, or the disk is too small.
        OSError: the disk is full.
    """
    config, scale = weights.config, embedding_scale(weights)
    recipe = recipe.for_model(config)
    done: dict[str, str | int | float | bool] = {
        "head": "shared" if config.tied else "untied",
        "embedding_scale": scale,
    }
    if isinstance(recipe.vocabulary, SharedBlocks):
        # Smaller blocks than the recipe's, where those fill no row.
        done["embedding"] = f"int8 in blocks of {recipe.vocabulary.size}"
    if cut is not None:
        done |= {"head_cut": cut.name, "head_rows": cut.rows}
        if config.tied and cut.core:
            done["head_core_rows"] = cut.core
    parameters = sum(prod(size) for size in config.tensor_shapes.values())
    progress(f"tracing {parameters / 1e6:,.1f} million parameters")
    fused = fuse(trace_skeleton(config, writer.folder), config, scale)
    snapshot = SnapshotWriter(writer.folder, template, shape, recipe.name)
    factors: dict[str, float] = {}
    if recipe.rescaled:
        progress("measuring activations")
        ids = calibration_ids(writer.folder / TOKENIZER_FILE, template, shape.context_length)
        rescaling = choose_rescaling(LayerwiseReference(weights), config, [ids])
        rescaling.apply(fused)
        factors = rescaling.factors()
        done |= rescaling.describe()
    joined = join_products(fused.graph, config) if recipe.joined else {}
    folded = FoldedWeights(weights, fused.rotary, shape.context_length, factors, joined, cut)
    if recipe.calibration is not None:
        progress("reading calibration prompts")
        prompts = calibration_prompts(
            writer.folder / TOKENIZER_FILE, template, shape.context_length, recipe.calibration.prompts
        )
        calibrated = CalibratedWeights(
            weights,
            fused.rotary,
            shape.context_length,
            joined,
            prompts,
            _grids(recipe, config),
            recipe.calibration,
            cut,
            snapshot.prefix(prompts),
            snapshot.add,
        )
        folded = calibrated
        done |= _calibration_words(recipe.calibration, len(prompts), calibrated.tokens)
    model, layout = assemble(fused, config, recipe, folded)
    writer.require_space(layout.nbytes + snapshot.nbytes + _SMALL_FILES_BYTES)
    progress(f"writing {layout.nbytes / 1e6:,.0f} MB of weights")
    with bar(layout.nbytes) as advance:
        write_weights(layout.slots, folded, writer.folder / WEIGHTS_FILE, advance)
    if folded.embedding_factors is not None:
        replace_constant(model, EMBEDDING_SCALE, np.float32(scale) * folded.embedding_factors)
    write_graph(model, writer.folder / MODEL_FILE)
    if recipe.calibration is None:
        snapshot.take(weights, factors)
    return done | {"snapshot": snapshot.finish()}


def _grids(recipe: Recipe, config: TextConfig) -> dict[str, Grid]:
    """The grid of every product, by the name of its tensor."""
    modules = [name for readers in READERS.values() for name in readers]
    names = [f"model.layers.{index}.{module}.weight" for index in range(config.num_layers) for module in modules]
    return {name: cast(CodedStorage, recipe.storage(name)).grid for name in names}


def _calibration_words(calibration: Calibration, prompts: int, tokens: int) -> dict[str, str | int | float | bool]:
    """What the manifest says of it."""
    but = f", but for {', '.join(calibration.rounded)}" if calibration.rounded else ""
    return {
        "smoothing": calibration.smoothing,
        "head_smoothing": calibration.head_smoothing,
        "error_feedback": f"yes{but}" if calibration.feedback else "no",
        "calibration_prompts": prompts,
        "calibration_tokens": tokens,
        "calibration_sha256": calibration_digest(calibration.prompts),
    }
