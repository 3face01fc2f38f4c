"""Recipes: how each tensor of a model is stored in each precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..runtime.manifest import PrecisionName
from .storage.base import MatrixStorage, VocabularyStorage
from .storage.blocks import Blocks, SharedBlocks
from .storage.dense import Dense, DenseProduct

_FP32, _FP16 = np.dtype(np.float32), np.dtype(np.float16)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is done to the weights.

    Attributes:
        name: of the precision.
        activations: the type of hidden states and of the cache, and of all vectors and tables.
        product: storage of the matrices of the layers, and of an untied head.
        vocabulary: storage of the embedding, and of a head that shares it.
        exceptions: other storages, by the names of tensors.
        description: the same in words, for the manifest.
        rescaled: whether activations are scaled by powers of two into the range of their type.
    """

    name: PrecisionName
    activations: np.dtype[Any]
    product: MatrixStorage
    vocabulary: VocabularyStorage
    description: Mapping[str, str | int | float | bool]
    exceptions: Mapping[str, MatrixStorage] = field(default_factory=dict)
    rescaled: bool = False

    def storage(self, tensor: str) -> MatrixStorage:
        """How the matrix ``tensor`` of a layer, or of an untied head, is stored."""
        return self.exceptions.get(tensor, self.product)

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
            words = {"weights": "int8 in blocks of 32", "embedding": "int8 in blocks of 32", "kernel": "MatMulNBits"}
            blocks = Blocks(8, 32, zero_points=False, scales=_FP32)
            return Recipe(name, _FP32, blocks, SharedBlocks(_FP32), words)
        case "int4":
            words = {
                "weights": "int4 in blocks of 32 with zero points",
                "embedding": "int8 in blocks of 32",
                "kernel": "MatMulNBits",
            }
            blocks = Blocks(4, 32, zero_points=True, scales=_FP32)
            return Recipe(name, _FP32, blocks, SharedBlocks(_FP32), words)
