"""A checkpoint of the 270M whose weights do not lie on llama.cpp's grid.

    PYTHONPATH=src python benchmarks/off_grid_270m.py --work DIR --out CHECKPOINT

parity_270m.py's weights were decoded from a quantised file, so some of llama.cpp's types hold them without loss
(Q8_0, Q5_0), and others meet ties (half of the numbers of Q5_0 lie halfway between two of Q4_0). This adds to
each weight uniform noise (seed 0) as wide as one step of the type that it was stored in: weights as there were
before rounding. Compare by `--checkpoint CHECKPOINT` of precision_270m.py and llamacpp_270m.py.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind
from llamacpp_270m import tensor_names
from numpy.typing import NDArray
from parity_270m import GGUF_FILE, convert, fetch_weights
from safetensors.numpy import load_file, save_file


def steps(tensor: Any) -> NDArray[np.float32]:
    """The distance float32 [out, in] of neighbours on the grid of every weight of a GGUF tensor."""
    kind = tensor.tensor_type
    blocks = tensor.data.reshape(-1, gguf.GGML_QUANT_SIZES[kind][1])
    if kind in (Kind.Q8_0, Kind.Q5_0):
        scales = _halves(blocks[:, :2])
    elif kind == Kind.Q4_K:
        inner, _ = gguf.quants.Q4_K.get_scale_min(blocks[:, 4:16])
        scales = _halves(blocks[:, :2]) * inner.reshape(len(blocks), 8).astype(np.float32)
    elif kind == Kind.Q6_K:
        scales = _halves(blocks[:, 208:]) * blocks[:, 192:208].view(np.int8).astype(np.float32)
    else:
        raise SystemExit(f"{tensor.name} is of type {kind.name}, whose steps are not known here")
    size = tensor.n_elements // scales.size
    return np.repeat(scales, size, axis=1).reshape(len(tensor.data), -1)


def _halves(raw: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.ascontiguousarray(raw).view(np.float16).astype(np.float32)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="as of parity_270m.py")
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    options = parser.parse_args()
    from dagger_edge.export.checkpoint import Checkpoint

    source = fetch_weights(options.work)
    checkpoint = convert(source, options.work)
    options.out.mkdir()
    for file in checkpoint.glob("*.json"):
        shutil.copy(file, options.out)
    names = {theirs: name for name, theirs in tensor_names(Checkpoint.open(checkpoint).config).items()}
    weights = load_file(checkpoint / "model.safetensors")
    numbers = np.random.default_rng(0)
    for tensor in gguf.GGUFReader(source / GGUF_FILE).tensors:
        if tensor.tensor_type != Kind.F32:
            weight = weights[names[tensor.name]]
            weight += (numbers.random(weight.shape, np.float32) - np.float32(0.5)) * steps(tensor)
    save_file(weights, options.out / "model.safetensors", metadata={"format": "pt"})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
