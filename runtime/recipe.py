"""The recipe of a bundle as a JSON document: what `dagger-edge export --recipe` reads, and the manifest holds."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from .untrusted import decode_document

MAX_RECIPE_BYTES = 1 << 18

PrecisionName = Literal["fp32", "fp16", "int8", "int4"]
Module = Literal[
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
]
BlockSize = Literal[16, 32, 64, 128, 256]
Layers = Annotated[int, Meta(ge=0, le=1024)]
Strength = Annotated[float, Meta(ge=0, le=1)]


class DenseStorage(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="dense"):
    """Floating-point numbers in the type of the activations."""


class BlockStorage(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="blocks"):
    """Whole numbers in blocks that share a scale, for ``MatMulNBits``.

    Attributes:
        bits: of each number.
        size: numbers a block.
        zero_points: whether blocks have a zero of their own.
    """

    bits: Literal[4, 8]
    size: BlockSize
    zero_points: bool


class RowStorage(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="rows"):
    """Whole numbers in 8 bits with a scale for each output, for ``MatMulInteger``."""


class SharedStorage(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="blocks"):
    """The embedding in 8 bits, whose bytes a tied head shares.

    Attributes:
        size: numbers a block.
    """

    size: BlockSize


ProductStorage = DenseStorage | BlockStorage | RowStorage


class StorageException(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Another storage for some matrices. Of those that name a matrix the most particular counts: its own name, then
    its module in some layers, then some layers, then its module.

    Attributes:
        storage: theirs.
        module: the product of a layer; null is all of them.
        first: of how many layers at the beginning; first and last are both 0 where all layers are meant.
        last: of how many layers at the end.
        tensor: the name of one matrix, instead of the others.
    """

    storage: ProductStorage
    module: Module | None = None
    first: Layers = 0
    last: Layers = 0
    tensor: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\A[a-z0-9_.]+\Z")] | None = None

    def __post_init__(self) -> None:
        """Refuses what names nothing, or two things."""
        by_place = self.module is not None or self.first or self.last
        if by_place == (self.tensor is not None):
            raise ValueError("an exception needs `module`, `first` or `last`, or else `tensor` alone")


class CalibrationPlan(Struct, frozen=True, forbid_unknown_fields=True):
    """How the layers' matrices are quantised on prompts of the product.

    Attributes:
        prompts: how many, of those that come with the export.
        smoothing: how much of the difference between inputs moves into the weights of the layers.
        head_smoothing: the same for the head.
        feedback: whether errors are fed back; else each weight is rounded for itself.
        rounded: products that are left out of that: those with the most inputs take most of the time.
    """

    prompts: Annotated[int, Meta(ge=2, le=1 << 16)] = 112
    smoothing: Strength = 0.5
    head_smoothing: Strength = 0.5
    feedback: bool = True
    rounded: tuple[Module, ...] = ()


class RecipeDocument(Struct, frozen=True, forbid_unknown_fields=True):
    """How each tensor of a model is stored.

    Attributes:
        precision: whose limits of parity and of the known answer it has to keep.
        activations: the type of hidden states, cache, norms and tables.
        product: storage of the matrices of the layers.
        vocabulary: storage of the embedding, and of a head that shares it.
        head: storage of a head of its own; null is that of the layers.
        exceptions: other storages for some matrices.
        joined: whether q, k, v become one product, and gate, up; parts of one have one storage.
        rescaled: whether activations are scaled by powers of two into the range of fp16.
        calibration: how the layers are quantised; null is each weight for itself.
    """

    precision: PrecisionName
    product: ProductStorage
    vocabulary: DenseStorage | SharedStorage
    activations: Literal["float32", "float16"] = "float32"
    head: ProductStorage | None = None
    exceptions: Annotated[tuple[StorageException, ...], Meta(max_length=10_000)] = ()
    joined: bool = False
    rescaled: bool = False
    calibration: CalibrationPlan | None = None

    def encode(self) -> bytes:
        """Indented UTF-8 JSON, the same bytes for the same recipe."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def decode_recipe(data: bytes) -> RecipeDocument:
    """The recipe in ``data`` (UTF-8 JSON).

    Raises:
        ValueError: too long, not JSON, or a field is missing, unknown, of the wrong type or out of range. The message
            says which (``$.product.size``).
    """
    return decode_document(data, RecipeDocument, MAX_RECIPE_BYTES)
