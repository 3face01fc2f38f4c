"""onnxruntime-genai's own build of a checkpoint in INT4, by its model builder, mended where it fails.

    PYTHONPATH=src python benchmarks/genai_build.py CHECKPOINT OUT

As shipped (0.18), the builder does not come so far with gemma3_text and transformers 4.57: it imports two classes of
Qwen that are of a newer transformers, and walks through `rope_scaling`, which is null in a Gemma 3 of 270M. Both are
mended here, from outside; what it builds is its own: round-to-nearest in blocks of 32, int8 activations (its
`accuracy_level` 4, the quickest on a processor). Needs `onnx_ir` beside the export environment. The whole model is
in memory: 22 GiB at 4B, about 4 at 270M.
"""

from __future__ import annotations

import argparse
import runpy
import sys
import tempfile
from pathlib import Path
from typing import Any

_NEWER = ("Qwen3_5ForConditionalGeneration", "Qwen3_5MoeForConditionalGeneration")


def mend() -> None:
    """Makes the builder importable, and lets it pass over a null `rope_scaling`.

    Raises:
        ImportError: onnxruntime-genai or onnx_ir is missing.
    """
    # Before anything is set in it: what these import makes the module transformers anew.
    import onnx_ir  # noqa: F401
    import onnxruntime_genai.models  # noqa: F401
    import torch  # noqa: F401
    import transformers

    for name in _NEWER:
        if name not in vars(sys.modules["transformers"]):
            setattr(transformers, name, type(name, (), {}))
    # The builder puts its own folder on the path.
    from builders.base import Model

    init = Model.make_config_init

    def make_config_init(self: Any, config: Any) -> None:
        if getattr(config, "rope_scaling", ()) is None:
            del config.rope_scaling
        init(self, config)

    Model.make_config_init = make_config_init


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path, help="the folder to make")
    options = parser.parse_args()
    mend()
    with tempfile.TemporaryDirectory() as cache:
        folders = ["-i", str(options.checkpoint), "-o", str(options.out), "-c", cache]
        settings = ["-p", "int4", "-e", "cpu", "--extra_options", "int4_accuracy_level=4"]
        sys.argv = ["builder", *folders, *settings]
        runpy.run_module("onnxruntime_genai.models.builder", run_name="__main__")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
