"""Writes the checkpoint that a bundle in fp32 was exported from, out of the bundle's own weights.

    python -m dagger_edge.export.demo.checkpoint OUT --bundle BUNDLE

The demo ships as a bundle alone. Its checkpoint, in the Hugging Face layout, is what `dagger-edge export` needs to make
it in other precisions. Nothing is rounded: the export stores matrices in fp32 transposed, and norms as 1 + weight.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto
from safetensors.numpy import save

from ...runtime.bundle import CONFIG_FILE, GENERATION_CONFIG_FILE, TOKENIZER_FILE, Bundle
from ...runtime.errors import BundleError, UsageError
from ...runtime.files import sha256_of
from ...runtime.solver import demo_bundle
from ..fuse.norm import folded_norm
from ..names import EMBEDDING, ROW_OF_ID

WEIGHTS_FILE = "model.safetensors"
_COPIED = (CONFIG_FILE, GENERATION_CONFIG_FILE, TOKENIZER_FILE)


def write_checkpoint(bundle: Bundle, out: Path) -> bool:
    """Writes the folder ``out``, which must not be there: weights, configuration, tokenizer.

    Returns:
        Whether the file of weights is the very one that the bundle's manifest names as its source.

    Raises:
        BundleError: the bundle is not in fp32 with all of its head, or a norm cannot be taken back exactly.
        UsageError: ``out`` is there.
    """
    if out.exists():
        raise UsageError(f"{out} is there already: give a folder that is not")
    weights = read_weights(bundle)
    out.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        # As `save_pretrained` marks a file; other tools refuse one without it.
        (made / WEIGHTS_FILE).write_bytes(save(weights, metadata={"format": "pt"}))
        for name in _COPIED:
            shutil.copyfile(bundle.path / name, made / name)
        made.chmod(0o755)
        made.rename(out)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    source = bundle.manifest.source.shards.get(WEIGHTS_FILE)
    return source is not None and source.sha256 == sha256_of(out / WEIGHTS_FILE)


def read_weights(bundle: Bundle) -> dict[str, NDArray[np.float32]]:
    """The weights of the checkpoint by their names in it, float32.

    Raises:
        BundleError: as of `write_checkpoint`.
    """
    model = onnx.load(str(bundle.model_path))
    stored = {item.name: item for item in model.graph.initializer}
    if bundle.manifest.precision.name != "fp32" or ROW_OF_ID in stored:
        what = "its weights were rounded, or its head is cut"
        raise BundleError(f"bundle {bundle.path}: {what}; give one that was exported in fp32 with --head all")
    stored = {name: item for name, item in stored.items() if name.endswith(".weight")}
    products = {name for node in model.graph.node if node.op_type == "MatMul" for name in node.input}
    return {name: _unfolded(bundle, name, item, turned=name in products) for name, item in sorted(stored.items())}


def _unfolded(bundle: Bundle, name: str, item: TensorProto, *, turned: bool) -> NDArray[Any]:
    """What the checkpoint has under ``name``; ``turned``: a product reads it, transposed."""
    stored = onnx.numpy_helper.to_array(item)
    if stored.ndim == 2:
        return np.ascontiguousarray(stored.T if turned and name != EMBEDDING else stored)
    weight = stored - np.float32(1)
    if folded_norm(weight).tobytes() != stored.tobytes():
        raise BundleError(f"bundle {bundle.path}: {name} cannot be taken back from 1 + weight without rounding")
    return np.ascontiguousarray(weight)


def main() -> None:
    """The command line of this script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the checkpoint; it must not be there")
    parser.add_argument("--bundle", type=Path, default=demo_bundle(), help="bundle in fp32; default: the demo")
    args = parser.parse_args()
    same = write_checkpoint(Bundle.open(args.bundle), args.out)
    verdict = "the very bytes of the source" if same else "not the bytes of the source, but the same export"
    print(f"{args.out / WEIGHTS_FILE}: {verdict}")  # noqa: T201


if __name__ == "__main__":
    main()
