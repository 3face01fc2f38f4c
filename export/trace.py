"""Tracing: a checkpoint in fp32 becomes an ONNX graph, through optimum's exporter."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import optimum.exporters.onnx.model_configs  # noqa: F401 (registers gemma3_text with the TasksManager)
import torch
from optimum.exporters.onnx import export
from optimum.exporters.tasks import TasksManager
from transformers.utils import logging

TASK = "text-generation-with-past"

_KNOWN_WARNINGS = (
    ("You are using the legacy TorchScript-based ONNX export", DeprecationWarning),
    ("The feature will be removed", DeprecationWarning),
    ("Exporting aten::index operator", UserWarning),
)


def trace(model: Any, scratch: Path) -> onnx.ModelProto:
    """The graph of ``model`` with all its weights in memory.

    Inputs: ``input_ids`` int64 [batch, step], ``attention_mask`` int64 [batch, past + step],
    ``past_key_values.{i}.key/value`` float32 [batch, kv_heads, past, head_dim]. Outputs: ``logits`` float32
    [batch, step, vocab], ``present.{i}.key/value`` [batch, kv_heads, past + step, head_dim]. Batch, step and
    past (which may be 0) are free.

    Args:
        model: from `reference_model`.
        scratch: a folder for the exporter's own file, which is as large as the weights and is removed again.

    Raises:
        OSError: the disk is full.
    """
    make_config = TasksManager.get_exporter_config_constructor(
        "onnx", model=model, task=TASK, library_name="transformers"
    )
    config = make_config(model.config, use_past_in_inputs=True)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        path = Path(folder) / "traced.onnx"
        with _quiet():
            # The fix of dynamic axes finds nothing to fix here, and would load the model once more.
            export(model, config, path, disable_dynamic_axes_fix=True)
        return onnx.load(path)


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
