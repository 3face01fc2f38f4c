"""Checkpoints and bundles of a tiny Gemma 3. Without the export environment these tests are not collected."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_gemma import write_checkpoint

HAS_EXPORT = all(importlib.util.find_spec(name) for name in ("torch", "transformers", "optimum", "onnx"))
collect_ignore_glob = [] if HAS_EXPORT else ["test_*.py"]


def pytest_report_header() -> str:
    """Says so when these tests are left out."""
    return "export tests: " + ("collected" if HAS_EXPORT else "left out, the export extra is not installed")


@pytest.fixture
def make_checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a checkpoint of its own for one test."""
    return lambda **changes: write_checkpoint(tmp_path / "checkpoint", **changes)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint. Read only."""
    return write_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint")


@pytest.fixture(scope="session")
def wide_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint that has blocks enough for every precision. Read only."""
    return write_checkpoint(tmp_path_factory.mktemp("wide") / "checkpoint", hidden_size=64)


@pytest.fixture(scope="session")
def bundle(checkpoint: Path) -> Any:
    """The tiny checkpoint's bundle, opened. Read only."""
    from dagger_edge.export.pipeline import export_checkpoint

    return export_checkpoint(checkpoint, checkpoint.parent / "bundle")


@pytest.fixture(scope="session")
def torch_model(checkpoint: Path) -> Any:
    """The tiny checkpoint in torch, read by transformers with attention spelled out."""
    import torch
    from transformers import Gemma3ForCausalLM

    return Gemma3ForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="eager").eval()
