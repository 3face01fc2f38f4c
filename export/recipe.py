"""Recipes: how each tensor of a model is stored in each precision.

A recipe is a JSON document (`runtime.recipe`), such as those in ``data/recipes``; `Recipe` is what it means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np

from ..runtime.errors import UsageError
from ..runtime.manifest import PrecisionName
from ..runtime.recipe import (
    MAX_RECIPE_BYTES,
    CalibrationPlan,
    DenseStorage,
    Module,
    RecipeDocument,
    RowStorage,
    StorageException,
    decode_recipe,
)
from .config import TextConfig
from .fuse.joined import JOINED
from .names import EMBEDDING, HEAD
from .recipe_words import recipe_words
from .storage.base import MatrixStorage, VocabularyStorage
from .storage.dense import Dense
from .storage.plans import product_plan, product_storage, vocabulary_plan, vocabulary_storage

_RECIPES = Path(__file__).parent / "data" / "recipes"
_LAYERS = "model.layers."


@dataclass(frozen=True, slots=True)
class Calibration:
    """How layers are quantised on prompts (`quantize`).

    Attributes:
        prompts: how many.
        smoothing: how much of the difference between inputs moves into the weights of the layers, 0 to 1.
        head_smoothing: the same for the head.
        feedback: whether errors are fed back; else each weight is rounded for itself.
        rounded: products that are left out of that: those with the most inputs take most of the time.
    """

    # `CalibrationPlan` is its document, field by field.
    prompts: int = 112
    smoothing: float = 0.5
    head_smoothing: float = 0.5
    feedback: bool = True
    rounded: tuple[str, ...] = ()

    def feeds_back(self, product: str) -> bool:
        """Whether errors of a ``product`` (``mlp.down_proj``) are fed back."""
        return self.feedback and product not in self.rounded


@dataclass(frozen=True, slots=True)
class LayerException:
    """Another storage for the ``first`` and the ``last`` layers: for all their products, or those called ``module``."""

    storage: MatrixStorage
    first: int = 0
    last: int = 0
    module: str | None = None

    def names(self, layer: int, module: str, layers: int) -> bool:
        """Whether the product ``module`` of ``layer``, of ``layers``, is meant."""
        return self.module in {None, module} and (layer < self.first or layer >= layers - self.last)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is done to the weights.

    Attributes:
        name: of the precision.
        activations: the type of hidden states and of the cache, and of all vectors and tables.
        product: storage of the matrices of the layers, and of an untied head.
        vocabulary: storage of the embedding, and of a head that shares it.
        exceptions: other storages, by the names of tensors, or of products in every layer (``self_attn.v_proj``).
        by_layer: other storages for the first and last layers; they go before those of every layer.
        description: the same in words, for the manifest.
        rescaled: whether activations are scaled by powers of two into the range of their type.
        joined: whether q, k, v become one product, and gate, up; parts of one have one storage.
        calibration: how the layers' matrices are quantised; None is each weight for itself.
        title: the name of the recipe, where the precision has several, or of its file.
    """

    name: PrecisionName
    activations: np.dtype[Any]
    product: MatrixStorage
    vocabulary: VocabularyStorage
    description: Mapping[str, str | int | float | bool]
    exceptions: Mapping[str, MatrixStorage] = field(default_factory=dict)
    by_layer: tuple[LayerException, ...] = ()
    rescaled: bool = False
    joined: bool = False
    calibration: Calibration | None = None
    title: str = ""

    def storage(self, tensor: str) -> MatrixStorage:
        """How the matrix ``tensor`` of a layer, or of an untied head, is stored; `for_model` must have come before
        where there are exceptions by layer."""
        return self.exceptions.get(tensor, self.exceptions.get(_module(tensor), self.product))

    def for_model(self, config: TextConfig) -> Recipe:
        """The same with an exception for every matrix of a model, joined ones included, and an embedding in blocks that
        fill its rows.

        Raises:
            UsageError: an exception names no matrix of it, or parts of a joined product are stored differently.
        """
        matrices = [name for name, shape in config.tensor_shapes.items() if len(shape) == 2 and name != EMBEDDING]
        for name in self.exceptions:
            if name != HEAD and not any(name in {tensor, _module(tensor)} for tensor in matrices):
                raise UsageError(f"recipe {self.title}: its exception for {name} names no matrix of this model")
        storages = {name: self._storage_in(name, config.num_layers) for name in matrices}
        for index in range(config.num_layers if self.joined else 0):
            for name, parts in JOINED.items():
                found = {part: storages[f"{_LAYERS}{index}.{part}.weight"] for part in parts}
                if len(set(found.values())) > 1:
                    raise UsageError(
                        f"recipe {self.title}: {', '.join(parts)} of layer {index} become one product, and have"
                        " different storages; give them the same, or set `joined` to false"
                    )
                storages[f"{_LAYERS}{index}.{name}.weight"] = found[parts[0]]
        vocabulary = self.vocabulary.fitting(config.hidden_size)
        return replace(self, exceptions=storages, by_layer=(), vocabulary=vocabulary)

    def _storage_in(self, tensor: str, layers: int) -> MatrixStorage:
        """`storage` in a model of so many ``layers``."""
        if tensor in self.exceptions or not tensor.startswith(_LAYERS):
            return self.storage(tensor)
        index, module = int(tensor.split(".")[2]), _module(tensor)
        found = [item for item in self.by_layer if item.names(index, module, layers)]
        # Those that name a module are the more particular.
        found.sort(key=lambda item: item.module is None)
        return found[0].storage if found else self.storage(tensor)

    @property
    def vectors(self) -> Dense:
        """How norms and rotary tables are stored."""
        return Dense(self.activations)

    def document(self) -> RecipeDocument:
        """The document that means this recipe.

        Raises:
            TypeError: documents have no such storage.
        """
        exceptions = [
            StorageException(product_plan(storage), tensor=name)
            if name.endswith(".weight")
            else StorageException(product_plan(storage), module=cast("Module", name))
            for name, storage in self.exceptions.items()
            if name != HEAD
        ]
        by_layer = [
            StorageException(product_plan(item.storage), cast("Module | None", item.module), item.first, item.last)
            for item in self.by_layer
        ]
        head = self.exceptions.get(HEAD)
        return RecipeDocument(
            precision=self.name,
            product=product_plan(self.product),
            vocabulary=vocabulary_plan(self.vocabulary),
            activations="float16" if self.activations == np.float16 else "float32",
            head=None if head is None else product_plan(head),
            exceptions=(*exceptions, *by_layer),
            joined=self.joined,
            rescaled=self.rescaled,
            calibration=None if self.calibration is None else CalibrationPlan(**asdict(self.calibration)),
        )


def recipe(name: str) -> Recipe:
    """The recipe of a precision, or another that comes with the export.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in recipe_names():
        raise UsageError(
            f"there is no recipe {name[:100]!r}: choose one of {', '.join(recipe_names())}, or give a file"
        )
    return read_recipe(_RECIPES / f"{name}.json", name)


def recipe_names() -> list[str]:
    """Of all recipes that come with the export."""
    return sorted(path.stem for path in _RECIPES.glob("*.json"))


def read_recipe(path: Path, title: str = "") -> Recipe:
    """The recipe in a file.

    Args:
        path: of the JSON document.
        title: what the recipe is called; by default as its file.

    Raises:
        UsageError: the file cannot be read, or holds no recipe; the message names the field.
    """
    try:
        with path.open("rb") as file:
            document = decode_recipe(file.read(MAX_RECIPE_BYTES + 1))
    except OSError as error:
        raise UsageError(f"recipe {path}: it cannot be read ({error.strerror})") from None
    except ValueError as error:
        reason = "".join(char if char.isprintable() else " " for char in str(error))
        raise UsageError(f"recipe {path}: {reason}") from None
    return recipe_of(document, title or path.name)


def recipe_of(document: RecipeDocument, title: str) -> Recipe:
    """What ``document`` means; ``title`` is its name.

    Raises:
        UsageError: its parts do not go together, or two exceptions name the same.
    """
    _check(document, title)
    activations = np.dtype(document.activations)
    exceptions: dict[str, MatrixStorage] = {}
    by_layer: list[LayerException] = []
    if document.head is not None:
        exceptions[HEAD] = product_storage(document.head, activations)
    for index, item in enumerate(document.exceptions):
        storage, name = product_storage(item.storage, activations), item.tensor or item.module
        if item.first or item.last:
            by_layer.append(LayerException(storage, item.first, item.last, item.module))
        elif name in exceptions:
            raise UsageError(f"recipe {title}: two exceptions name {name} - at `$.exceptions[{index}]`")
        elif name is not None:
            exceptions[name] = storage
    calibration = document.calibration
    return Recipe(
        name=document.precision,
        activations=activations,
        product=product_storage(document.product, activations),
        vocabulary=vocabulary_storage(document.vocabulary, activations),
        description=recipe_words(document),
        exceptions=exceptions,
        by_layer=tuple(by_layer),
        rescaled=document.rescaled,
        joined=document.joined,
        calibration=None if calibration is None else Calibration(**msgspec.structs.asdict(calibration)),
        title=title,
    )


def _check(document: RecipeDocument, title: str) -> None:
    """Refuses what no graph can be made of."""
    storages = {
        "product": document.product,
        "head": document.head,
        **{f"exceptions[{index}]": item.storage for index, item in enumerate(document.exceptions)},
    }
    for place, storage in storages.items():
        if isinstance(storage, RowStorage) and document.activations != "float32":
            raise UsageError(f"recipe {title}: rows need activations in float32 - at `$.{place}`")
        if isinstance(storage, DenseStorage) and document.calibration is not None and place != "head":
            raise UsageError(
                f"recipe {title}: calibration needs whole numbers in every layer; store it in blocks or rows, or set"
                f" `calibration` to null - at `$.{place}`"
            )
    if document.rescaled and document.calibration is not None:
        raise UsageError(f"recipe {title}: what is calibrated cannot be rescaled too - at `$.rescaled`")


def _module(tensor: str) -> str:
    """What a matrix is called in its layer: ``self_attn.v_proj``."""
    return ".".join(tensor.removesuffix(".weight").split(".")[-2:])
