"""transformers on torch, the checkpoint itself on the processor.

At its best: the threads set, scaled dot product attention, no gradients, logits of the last token only, its own cache
(which keeps the window of sliding layers only). The fixed part is kept as its documentation of prompt caches says: a
copy of the cache, copied again for each question.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from .worker import Answer, Request, serve

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Transformers:
    """A checkpoint in transformers."""

    extra: dict[str, Callable[[Request], Answer]] = {}  # noqa: RUF012

    def __init__(self, checkpoint: Path, kind: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self._settings = {"dtype": kind, "threads": threads, "attention": "sdpa"}
        self._model = transformers.AutoModelForCausalLM.from_pretrained(
            checkpoint, dtype=_TYPES[kind], attn_implementation="sdpa", local_files_only=True
        ).eval()
        self._read: list[int] = []
        self.clear()

    def feed(self, ids: Sequence[int]) -> NDArray[np.float32]:
        self._read += ids
        with torch.inference_mode():
            found = self._model(torch.tensor([list(ids)]), past_key_values=self._cache, logits_to_keep=1)
        logits: NDArray[np.float32] = found.logits[0, -1].float().numpy()
        return logits

    def clear(self) -> None:
        self._cache = transformers.DynamicCache(config=self._model.config)
        self._read = []

    def keep(self, length: int) -> None:
        """Reads it once more: a window that has moved on cannot be moved back."""
        ids = self._read[:length]
        self.clear()
        self.feed(ids)
        self._kept, self._kept_ids = copy.deepcopy(self._cache), ids

    def restore(self) -> None:
        self._cache, self._read = copy.deepcopy(self._kept), list(self._kept_ids)

    def about(self) -> dict[str, Any]:
        size = sum(parameter.nbytes for parameter in self._model.parameters())
        version = f"{transformers.__version__}, torch {torch.__version__}"
        return {"version": version, "model_bytes": size, "settings": self._settings}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--dtype", choices=_TYPES, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    serve(Transformers(options.checkpoint, options.dtype, options.threads))


if __name__ == "__main__":
    main()
