"""onnxruntime-genai, opening one of our bundles, or its own build (genai_build.py: its builder fails as shipped).

At its best: the threads set (it takes one otherwise), logits of the last token only (our graph's default), past and
present in one buffer, as long as needed. Tokens are given to it, so that it writes the same answer as the others.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime_genai
from numpy.typing import NDArray

from .worker import Answer, Request, serve


class Genai:
    """A bundle in onnxruntime-genai."""

    extra: dict[str, Callable[[Request], Answer]] = {}  # noqa: RUF012

    def __init__(self, bundle: Path, threads: int, positions: int) -> None:
        self._settings = {"intra_op_num_threads": threads, "max_length": positions, "past_present_share_buffer": True}
        config = onnxruntime_genai.Config(str(bundle))
        decoder: dict[str, Any] = {"session_options": {"intra_op_num_threads": threads}}
        told = json.loads((bundle / "genai_config.json").read_text(encoding="utf-8"))["model"]["decoder"]
        if "sliding_window" in told:
            # Its own build forgets what a window has passed, and could not go back over a question.
            decoder["sliding_window"] = told["sliding_window"] | {"cache_slack": positions}
            self._settings["cache_slack"] = positions
        config.overlay(json.dumps({"model": {"decoder": decoder}}))
        self._size = sum(file.stat().st_size for file in bundle.iterdir() if file.is_file())
        self._model = onnxruntime_genai.Model(config)
        parameters = onnxruntime_genai.GeneratorParams(self._model)
        parameters.set_search_options(max_length=positions, do_sample=False, past_present_share_buffer=True)
        self._generator = onnxruntime_genai.Generator(self._model, parameters)
        self._kept = 0

    def feed(self, ids: Sequence[int]) -> NDArray[np.float32]:
        self._generator.append_tokens(np.array(ids, np.int32))
        logits: NDArray[np.float32] = self._generator.get_logits()
        return logits.reshape(-1, logits.shape[-1])[-1]

    def clear(self) -> None:
        self._generator.rewind_to(0)

    def keep(self, length: int) -> None:
        self._kept = length

    def restore(self) -> None:
        self._generator.rewind_to(self._kept)

    def about(self) -> dict[str, Any]:
        return {"version": onnxruntime_genai.__version__, "model_bytes": self._size, "settings": self._settings}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--positions", type=int, required=True)
    options = parser.parse_args()
    serve(Genai(options.bundle, options.threads, options.positions))


if __name__ == "__main__":
    main()
