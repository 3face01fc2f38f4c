"""For which providers a graph is made: by its nodes, not by the name of its precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto

from dagger_edge.export.pipeline import export_checkpoint
from dagger_edge.export.providers import graph_providers
from dagger_edge.runtime.errors import ProviderError
from dagger_edge.runtime.solver import Solver

pytestmark = pytest.mark.export


@pytest.mark.parametrize(
    ("precision", "made_for"),
    [("fp32", ("cpu",)), ("fp16", ("cpu", "cuda")), ("int8", ("cpu",)), ("int4", ("cpu",))],
)
def test_the_manifest_says_it(wide_checkpoint: Path, tmp_path: Path, precision: Any, made_for: tuple[str, ...]) -> None:
    """CUDA attends in 16 bits only: in fp32 every layer would go to the CPU and back, without a word."""
    made = export_checkpoint(wide_checkpoint, tmp_path / "bundle", precision=precision, verify=False)
    assert made.manifest.made_for == made_for
    if "cuda" not in made_for:
        with pytest.raises(ProviderError, match=r"made for cpu, CUDAExecutionProvider lacks kernels"):
            Solver.open(made, provider="cuda")


def test_whole_numbers_decide_for_themselves(wide_checkpoint: Path, tmp_path: Path) -> None:
    """In fp16 around products of uint8, attention alone would not tell."""
    made = export_checkpoint(wide_checkpoint, tmp_path / "bundle", precision="int8", verify=False)
    model = onnx.load(made.model_path, load_external_data=False)
    for tensor in model.graph.initializer:
        if tensor.name.startswith("rotary."):
            tensor.data_type = TensorProto.FLOAT16
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    assert graph_providers(path) == ("cpu",)
    for tensor in model.graph.initializer:
        if tensor.name == "/integers/zero":
            tensor.data_type = TensorProto.INT8
    path.write_bytes(model.SerializeToString())
    assert graph_providers(path) == ("cpu", "cuda")
