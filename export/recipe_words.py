"""What `dagger-edge inspect` says of a recipe."""

from __future__ import annotations

from ..runtime.recipe import BlockStorage, DenseStorage, ProductStorage, RecipeDocument, RowStorage, StorageException

Words = dict[str, str | int | float | bool]

# What a text of the manifest holds, with room to spare.
_LONGEST_WORDS = 500


def recipe_words(document: RecipeDocument) -> Words:
    """The document for people, as `inspect` shows it."""
    words: Words = {**_product_words(document.product, document.activations)}
    if not isinstance(document.vocabulary, DenseStorage):
        words["embedding"] = f"int8 in blocks of {document.vocabulary.size}"
    elif not isinstance(document.product, DenseStorage):
        words["embedding"] = document.activations
    if document.exceptions:
        listed = "; ".join(_exception_words(item, document.activations) for item in document.exceptions)
        words["exceptions"] = listed if len(listed) < _LONGEST_WORDS else f"{len(document.exceptions)}"
    return words


def _exception_words(item: StorageException, activations: str) -> str:
    layers = " and ".join(
        f"the {side} {count} layers" for side, count in (("first", item.first), ("last", item.last)) if count
    )
    place = " of ".join(filter(None, [item.tensor or item.module, layers]))
    return f"{place}: {_product_words(item.storage, activations)['weights']}"


def _product_words(plan: ProductStorage, activations: str) -> dict[str, str]:
    """Kernel, weights and activations of a product, for people."""
    match plan:
        case DenseStorage():
            return {"weights": activations}
        case RowStorage():
            return {
                "kernel": "MatMulInteger",
                "weights": "int8, one scale for each output, neighbours within 128 together",
                "activations": "int8, one scale for each token",
            }
        case BlockStorage():
            zeros = " with zero points" if plan.zero_points else ""
            return {
                "kernel": "MatMulNBits",
                "weights": f"int{plan.bits} in blocks of {plan.size}{zeros}",
                "activations": f"int8 in blocks of {plan.size}",
            }
