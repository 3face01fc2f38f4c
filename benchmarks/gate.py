"""What the parity gate costs and sees: a bundle compared as a whole and layer by layer, and with one wrong layer.

Each mode runs in a process of its own, which tells its peak memory: ``whole`` (which has to fit), ``staged``,
``layers`` (the table of `verify --layers`), and ``window``, the same for a copy of the graph in which the window of one
layer is one token short. Run it from the repository root in the export environment, beside the bundle on the same disk:

    PYTHONPATH=src python benchmarks/gate.py BUNDLE --checkpoint DIR [--modes staged,layers] [--layer 7]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

MODES = ("whole", "staged", "layers", "window")


def measure(mode: str, path: Path, checkpoint: Path, layer: int) -> dict[str, Any]:
    """One mode: what it found, processor and wall seconds without loading torch, peak memory with it."""
    from dagger_edge.export.checkpoint import Checkpoint
    from dagger_edge.export.gate import measure_staged
    from dagger_edge.export.layers import describe_divergence, layer_errors
    from dagger_edge.export.layerwise import LayerwiseReference
    from dagger_edge.export.probe import probe
    from dagger_edge.export.verify import ExportedGraph, measure_parity
    from dagger_edge.runtime.bundle import Bundle

    bundle = Bundle.open(path, verify=False)
    shape, precision, template = bundle.manifest.architecture, bundle.manifest.precision, bundle.prompt_template
    with Checkpoint.open(checkpoint).weights() as weights:
        reference, row = LayerwiseReference(weights), {"mode": mode}
        started, cpu = time.perf_counter(), time.process_time()
        if mode in {"whole", "staged"}:
            graph = ExportedGraph.of(bundle)
            parity = measure_parity(reference, graph) if mode == "whole" else measure_staged(reference, graph).parity
            row["parity"] = msgspec.to_builtins(parity)
        else:
            folder = bundle.path if mode == "layers" else narrowed(bundle.path, layer)
            text = probe(bundle.tokenizer_path, template, shape)
            scale = float(precision.recipe.get("stream_scale", 1.0))
            errors = layer_errors(reference, folder, text, shape, scale)
            row |= {"found": describe_divergence(errors, precision.name), "layers": msgspec.to_builtins(errors)}
    row |= {"wall_s": round(time.perf_counter() - started, 1), "cpu_s": round(time.process_time() - cpu, 1)}
    return row | {"peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)}


def narrowed(bundle: Path, layer: int) -> Path:
    """A copy of the graph, its weights linked, in which the window of ``layer`` is one token short."""
    import onnx

    folder = bundle.with_name(f".{bundle.name}.narrowed")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    os.link(bundle / "model.onnx.data", folder / "model.onnx.data")
    model = onnx.load(bundle / "model.onnx", load_external_data=False)
    attention = [node for node in model.graph.node if node.op_type == "GroupQueryAttention"]
    for attribute in attention[layer].attribute:
        if attribute.name == "local_window_size":
            if attribute.i < 2:
                raise SystemExit(f"layer {layer} has no window")
            attribute.i -= 1
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--layer", type=int, default=7)
    parser.add_argument("--one", choices=MODES, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(measure(chosen.one, chosen.bundle, chosen.checkpoint, chosen.layer)))  # noqa: T201
        return 0
    try:
        for mode in chosen.modes.split(","):
            command = [sys.executable, __file__, *sys.argv[1:], "--one", mode]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            print(done.stdout.strip() or json.dumps({"mode": mode, "failed": done.stderr[-500:]}), flush=True)  # noqa: T201
    finally:
        shutil.rmtree(chosen.bundle.with_name(f".{chosen.bundle.name}.narrowed"), ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
