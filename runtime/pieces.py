"""Pieces of graphs in onnxruntime, on the CPU: for those who check a decoder part by part, or measure its kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BundleError, ModelError, ProviderError
from .ort import PROVIDERS, first_line, load_onnxruntime, open_session, optional_inputs, session_options


class Piece:
    """A piece of a decoder's graph, on the CPU: for those who check it part by part.

    Args:
        graph: the piece as an ONNX file's bytes.
        folder: where the files lie that its weights are in; they are read there, and nothing is written.

    Attributes:
        optional: names of inputs that need not be fed.

    Raises:
        ProviderError: onnxruntime is missing or too old.
        BundleError: the piece cannot be loaded.
    """

    def __init__(self, graph: bytes, folder: Path) -> None:
        options = session_options()
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
        try:
            self._session = open_session(graph, options, [PROVIDERS["cpu"]])
        except Exception as error:  # onnxruntime's errors have no common base of their own
            raise BundleError(
                f"{folder}: onnxruntime cannot load a part of the graph ({first_line(error)}); export it again"
            ) from None
        self.optional = optional_inputs(self._session)

    def run(self, outputs: Sequence[str], feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """The tensors ``outputs`` for the inputs ``feed``.

        Raises:
            ModelError: onnxruntime fails, out of memory for example.
        """
        try:
            made: list[NDArray[Any]] = self._session.run(list(outputs), dict(feed))
        except Exception as error:  # onnxruntime's errors have no common base of their own
            raise ModelError(f"onnxruntime failed in a part of the graph ({first_line(error)})") from None
        return made


class KernelSession:
    """A graph from ``x`` to ``y``, both float32, on the CPU, whose weights are arrays in memory.

    onnxruntime takes them for constants, and brings them into its kernels' layout as it does with those of a file.

    Args:
        model: an ONNX model; its weights say that they lie in another file.
        weights: by name.
        threads: of one operator; None leaves it to onnxruntime (one per physical core).

    Raises:
        ProviderError: onnxruntime is missing or too old, or does not take the graph.
    """

    def __init__(self, model: bytes, weights: Mapping[str, NDArray[np.generic]], threads: int | None) -> None:
        ort = load_onnxruntime()
        options = session_options(threads)
        values = [ort.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
        options.add_external_initializers(list(weights), values)
        try:
            self._session = open_session(model, options, [PROVIDERS["cpu"]])
        except Exception as error:  # onnxruntime's errors have no common base of their own
            raise ProviderError(f"onnxruntime does not take a kernel's graph ({first_line(error)})") from None

    def run(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """``y`` of ``x``.

        Raises:
            ModelError: onnxruntime fails, out of memory for example.
        """
        try:
            (y,) = self._session.run(["y"], {"x": x})
        except Exception as error:  # as above
            raise ModelError(f"onnxruntime failed at {x.shape[1]} tokens ({first_line(error)})") from None
        made: NDArray[np.float32] = y
        return made
