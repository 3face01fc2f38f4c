"""Recipes: how each tensor of a model is stored in each precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..runtime.manifest import PrecisionName
from .names import HEAD
from .storage.base import MatrixStorage, VocabularyStorage
from .storage.blocks import Blocks, SharedBlocks
from .storage.dense import Dense, DenseProduct
from .storage.rows import IntegerRows

_FP32, _FP16 = np.dtype(np.float32), np.dtype(np.float16)


@dataclass(frozen=True, slots=True)
class Calibration:
    """How layers are quantised on prompts (`quantize`).

    Attributes:
        prompts: how many.
        smoothing: how much of the difference between inputs moves into the weights of the layers, 0 to 1.
        head_smoothing: the same for the head.
        feedback: whether errors are fed back; else each weight is rounded for itself.
    """

    prompts: int = 48
    smoothing: float = 0.5
    head_smoothing: float = 0.5
    feedback: bool = True


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is done to the weights.

    Attributes:
        name: of the precision.
        activations: the type of hidden states and of the cache, and of all vectors and tables.
        product: storage of the matrices of the layers, and of an untied head.
        vocabulary: storage of the embedding, and of a head that shares it.
        exceptions: other storages, by the names of tensors, or of products in every layer (``self_attn.v_proj``).
        description: the same in words, for the manifest.
        rescaled: whether activations are scaled by powers of two into the range of their type.
        joined: whether q, k, v become one product, and gate, up; their storage is that of the first.
        calibration: how the layers' matrices are quantised; None is each weight for itself.
    """

    name: PrecisionName
    activations: np.dtype[Any]
    product: MatrixStorage
    vocabulary: VocabularyStorage
    description: Mapping[str, str | int | float | bool]
    exceptions: Mapping[str, MatrixStorage] = field(default_factory=dict)
    rescaled: bool = False
    joined: bool = False
    calibration: Calibration | None = None

    def storage(self, tensor: str) -> MatrixStorage:
        """How the matrix ``tensor`` of a layer, or of an untied head, is stored."""
        module = ".".join(tensor.removesuffix(".weight").split(".")[-2:])
        return self.exceptions.get(tensor, self.exceptions.get(module, self.product))

    @property
    def vectors(self) -> Dense:
        """How norms and rotary tables are stored."""
        return Dense(self.activations)


def recipe(name: PrecisionName) -> Recipe:
    """The recipe of a precision."""
    match name:
        case "fp32":
            return Recipe(name, _FP32, DenseProduct(_FP32), Dense(_FP32), {"weights": "float32"})
        case "fp16":
            return Recipe(name, _FP16, DenseProduct(_FP16), Dense(_FP16), {"weights": "float16"}, rescaled=True)
        case "int8":
            words: dict[str, str | int | float | bool] = {
                "kernel": "MatMulInteger",
                "weights": "int8, one scale for each output, neighbours within 128 together",
                "activations": "int8, one scale for each token",
                "embedding": "int8 in blocks of 32",
            }
            return Recipe(
                name,
                _FP32,
                IntegerRows(),
                SharedBlocks(_FP32, 32),
                words,
                exceptions={HEAD: Blocks(8, 32, zero_points=False, scales=_FP32)},
                joined=True,
                calibration=Calibration(smoothing=0.7),
            )
        case "int4":
            words = {
                "kernel": "MatMulNBits",
                "weights": "int4 in blocks of 64 with zero points",
                "activations": "int8 in blocks of 64",
                "embedding": "int8 in blocks of 64",
            }
            return Recipe(
                name,
                _FP32,
                Blocks(4, 64, zero_points=True, scales=_FP32),
                SharedBlocks(_FP32, 64),
                words,
                exceptions={HEAD: Blocks(8, 64, zero_points=False, scales=_FP32)},
                calibration=Calibration(smoothing=0.5),
            )
