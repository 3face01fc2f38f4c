"""The storages that recipe documents name, and the documents of storages."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...runtime.recipe import BlockStorage, DenseStorage, ProductStorage, RowStorage, SharedStorage
from .base import MatrixStorage, VocabularyStorage
from .blocks import Blocks, SharedBlocks
from .dense import Dense, DenseProduct
from .rows import IntegerRows


def product_storage(plan: ProductStorage, activations: np.dtype[Any]) -> MatrixStorage:
    """The storage of a matrix whose inputs are of type ``activations``."""
    match plan:
        case DenseStorage():
            return DenseProduct(activations)
        case RowStorage():
            return IntegerRows()
        case BlockStorage():
            return Blocks(plan.bits, plan.size, plan.zero_points, activations)


def product_plan(storage: MatrixStorage) -> ProductStorage:
    """The document of ``storage``.

    Raises:
        TypeError: documents have no such storage.
    """
    match storage:
        case DenseProduct():
            return DenseStorage()
        case IntegerRows():
            return RowStorage()
        case Blocks(bits=4 | 8 as bits, size=16 | 32 | 64 | 128 | 256 as size):
            return BlockStorage(bits, size, storage.zero_points)
    raise TypeError(f"no recipe document has a storage like {storage}")


def vocabulary_storage(plan: DenseStorage | SharedStorage, activations: np.dtype[Any]) -> VocabularyStorage:
    """The storage of the embedding, whose rows are of type ``activations`` when they are looked up."""
    return Dense(activations) if isinstance(plan, DenseStorage) else SharedBlocks(activations, plan.size)


def vocabulary_plan(storage: VocabularyStorage) -> DenseStorage | SharedStorage:
    """The document of ``storage``.

    Raises:
        TypeError: documents have no such storage.
    """
    match storage:
        case Dense():
            return DenseStorage()
        case SharedBlocks(size=16 | 32 | 64 | 128 | 256 as size):
            return SharedStorage(size)
    raise TypeError(f"no recipe document has a storage like {storage}")
