"""Storing a graph: the nodes in ``model.onnx``, the weights in one external file beside it."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx.external_data_helper import set_external_data

from ..runtime.bundle import MODEL_FILE, WEIGHTS_FILE

# ONNX asks for offsets at pages, so that the file can be mapped into memory.
_PAGE_BYTES = 4096
_INLINE_BYTES = 1024


def save_model(model: onnx.ModelProto, folder: Path) -> None:
    """Writes ``model.onnx`` and ``model.onnx.data`` into ``folder``; takes the weights out of ``model``.

    Tensors below 1 KiB stay in the graph. The same model gives the same bytes.

    Raises:
        OSError: the disk is full.
    """
    with (folder / WEIGHTS_FILE).open("wb") as file:
        for tensor in model.graph.initializer:
            if len(tensor.raw_data) < _INLINE_BYTES:
                continue
            file.write(b"\0" * (-file.tell() % _PAGE_BYTES))
            set_external_data(tensor, WEIGHTS_FILE, offset=file.tell(), length=len(tensor.raw_data))
            file.write(tensor.raw_data)
            tensor.ClearField("raw_data")
    for node in model.graph.node:
        node.ClearField("doc_string")
    (folder / MODEL_FILE).write_bytes(model.SerializeToString(deterministic=True))
