"""The skeleton: the graph of a checkpoint's model with no weights in it, through optimum's exporter.

Every weight is an input of the graph under its name in the checkpoint. The model is built with parameters of one
number each, spread over their shapes, and a vocabulary of a few entries: tracing costs memory for activations
only, whatever the size of the checkpoint.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import onnx
import optimum.exporters.onnx.model_configs  # noqa: F401 (registers gemma3_text with the TasksManager)
import torch
from optimum.exporters.onnx import export
from optimum.exporters.tasks import TasksManager
from transformers.utils import logging

from ..runtime.errors import BundleError
from .config import TextConfig
from .reference import weightless_model

TASK = "text-generation-with-past"
# The rows of the embedding and of the head while tracing. No size in the graph depends on them.
TRACED_VOCABULARY = 64

_KNOWN_WARNINGS = (
    ("You are using the legacy TorchScript-based ONNX export", DeprecationWarning),
    ("The feature will be removed", DeprecationWarning),
    ("Exporting aten::index operator", UserWarning),
)


def trace_skeleton(config: TextConfig, scratch: Path) -> onnx.ModelProto:
    """The traced graph of ``config``, not fused, a few MB in all.

    Inputs: ``input_ids`` int64 [batch, step], ``attention_mask`` int64 [batch, past + step],
    ``past_key_values.{i}.key/value`` float32 [batch, kv_heads, past, head_dim], and every weight. Outputs:
    ``logits`` [batch, step, `TRACED_VOCABULARY`], ``present.{i}.key/value`` [batch, kv_heads, past + step, head_dim].

    Args:
        config: the checkpoint's architecture.
        scratch: a folder for the exporter's own file, which is removed again.

    Raises:
        BundleError: the exporter traced weights of other names than the checkpoint's.
        OSError: the disk is full.
    """
    model = weightless_model(config, TRACED_VOCABULARY)
    make_config = TasksManager.get_exporter_config_constructor(
        "onnx", model=model, task=TASK, library_name="transformers"
    )
    onnx_config = make_config(model.config, use_past_in_inputs=True)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        path = Path(folder) / "skeleton.onnx"
        with _quiet(), _without_weights():
            # The fix of dynamic axes finds nothing to fix here. Folding constants would rename weights.
            export(model, onnx_config, path, disable_dynamic_axes_fix=True, do_constant_folding=False)
        skeleton = onnx.load(path)
    weights = {value.name for value in skeleton.graph.input if value.name.endswith(".weight")}
    if weights != set(config.tensor_shapes) or skeleton.graph.initializer:
        strange = sorted(weights ^ set(config.tensor_shapes))[:3]
        raise BundleError(f"the traced graph has other weights than the checkpoint ({strange}): unknown exporter")
    return skeleton


@contextmanager
def _without_weights() -> Iterator[None]:
    """Lets the exporter of torch leave the parameters out of its file and its work; optimum has no option for it."""
    stock = torch.onnx.export

    def export_graph_only(*arguments: Any, **options: Any) -> Any:
        # Initializers that are inputs are not merged where their numbers are equal: here, all of them are.
        return stock(*arguments, **options, export_params=False, keep_initializers_as_inputs=True)

    # Told of the parameters, this pass transposes every weight to know its shape: four times the memory of the whole
    # trace at 4B, and three times its time. Their shapes are in the graph already.
    infer_shapes = torch._C._jit_pass_onnx_graph_shape_type_inference

    def infer_from_graph_only(graph: Any, _parameters: Any, opset: int) -> None:
        infer_shapes(graph, {}, opset)

    with (
        mock.patch.object(torch.onnx, "export", export_graph_only),
        mock.patch.object(torch._C, infer_shapes.__name__, infer_from_graph_only),
    ):
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences what the exporter is known to say about every Gemma 3; anything else still gets through."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
            for message, category in _KNOWN_WARNINGS:
                warnings.filterwarnings("ignore", message, category)
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
