"""From the cost of kernels to the cost of a whole model, and to the kernel or recipe that suits a machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from .kernel import BY_NAME, KernelName
from .report import Estimate, KernelCost, ModelShape

QUESTION_TOKENS = 60
DRAFTED_STEPS, DRAFTED_TOKENS = 60, 6
PLAIN_STEPS = 300

# What running a bundle takes: its weights, of which some are held twice while they are brought into their kernels'
# layout, the cache, the tokenizer.
_RUNNING_FACTOR, _RUNNING_BYTES = 1.3, 1 << 30
# Nearer than this, measurements do not tell two kernels apart, and the one with more bits keeps more of the model.
_TIE = 1.05
# What the embedding is stored in, and the head with it, wherever the products are not dense.
_SHARED: KernelName = "blocks-8-32"

KeyT = TypeVar("KeyT")


@dataclass(frozen=True, slots=True)
class Load:
    """What a token goes through.

    Attributes:
        products: numbers of the weights of all layers, by kernel.
        head: kernel of the head, and its numbers.
        size_bytes: of all weights, those that are not read for every token included.
    """

    products: Mapping[KernelName, int]
    head: tuple[KernelName, int]
    size_bytes: int

    @property
    def bits(self) -> float:
        """Bits a weight of the layers."""
        total = sum(self.products.values())
        return sum(BY_NAME[kernel].bits * count for kernel, count in self.products.items()) / total


def shape_load(shape: ModelShape, kernel: KernelName) -> Load:
    """What a token of a model of ``shape`` goes through, all of its products on ``kernel``."""
    head: KernelName = "dense" if kernel == "dense" else _SHARED
    products, vocabulary = shape.layers * shape.layer_weights, shape.vocabulary * shape.hidden
    size = products * BY_NAME[kernel].bits / 8 + vocabulary * BY_NAME[head].bits / 8
    return Load({kernel: products}, (head, vocabulary), round(size))


def estimate(load: Load, costs: Mapping[KernelName, KernelCost], memory_bytes: int) -> Estimate:
    """What ``load`` costs where kernels cost ``costs``, and whether it fits.

    Raises:
        KeyError: one of its kernels was not measured.
    """

    def step(tokens: int, rows: int) -> float:
        """Milliseconds of a step with logits for so many ``rows``."""
        products = sum(costs[kernel].ms(tokens, count) for kernel, count in load.products.items())
        kernel, count = load.head
        return products + (costs[kernel].ms(rows, count) if count else 0.0)

    return Estimate(
        size_bytes=load.size_bytes,
        fits=load.size_bytes * _RUNNING_FACTOR + _RUNNING_BYTES < memory_bytes,
        question_ms=step(QUESTION_TOKENS, 1),
        drafted_ms=DRAFTED_STEPS * step(DRAFTED_TOKENS, DRAFTED_TOKENS),
        plain_ms=PLAIN_STEPS * step(1, 1),
    )


def best_of(estimates: Mapping[KeyT, Estimate], bits: Mapping[KeyT, float]) -> KeyT | None:
    """The quickest that fits, by question and drafted answer; of those within 5 % of it the one with the most bits a
    weight. None where none fits."""
    fitting = {key: item for key, item in estimates.items() if item.fits}
    if not fitting:
        return None
    limit = min(item.answer_ms for item in fitting.values()) * _TIE
    near = [key for key, item in fitting.items() if item.answer_ms <= limit]
    return max(near, key=lambda key: (bits[key], -fitting[key].answer_ms))
