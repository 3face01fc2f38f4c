"""What this machine allows a bundle: bytes and products of a token, over the speed at which it reads and multiplies."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from ..bandwidth import memory_bandwidth
from ..bundle import WEIGHTS_FILE
from ..context import CHUNK
from ..kernels.kernel import BY_NAME, KernelName
from ..kernels.machine import cache_bytes
from ..manifest import EMBEDDING_PART, HEAD_PART, SHARED_PART, TABLES_PART, Manifest
from ..pieces import KernelSession
from .rows import Ceiling, Sample

# Which kernel most products of a bundle run on.
_KERNELS: dict[str, KernelName] = {"int8": "rows", "int4": "blocks-4-128"}
# One pair of matrices.
_HIDDEN, _INTERMEDIATE, _ROUNDS = 1024, 4096, 6
_NO_PRODUCTS = "norms"


@dataclass(frozen=True, slots=True)
class Load:
    """What a step asks of a machine.

    Attributes:
        weight_bytes: that are read for every step.
        kv_token_bytes: keys and values of one token.
        kv_read_bytes: keys and values that are read for a step, behind ``context`` tokens.
        context: tokens that were read before.
        products: multiplications of a token in the layers, and of one token's logits; None where nothing says.
    """

    weight_bytes: int
    kv_token_bytes: int
    kv_read_bytes: int
    context: int
    products: tuple[int, int] | None


def bundle_load(manifest: Manifest, context: int, number_bytes: int) -> Load:
    """What a step of the bundle asks behind ``context`` tokens, with a cache of numbers of so many bytes."""
    shape = manifest.architecture
    layer = 2 * shape.num_kv_heads * shape.head_dim * number_bytes
    whole = len(shape.global_layers)
    seen = whole * context + (shape.num_layers - whole) * min(context, shape.sliding_window)
    return Load(
        weight_bytes=manifest.token_bytes or manifest.files[WEIGHTS_FILE].size_bytes,
        kv_token_bytes=layer * shape.num_layers,
        kv_read_bytes=layer * seen,
        context=context,
        products=_products(manifest),
    )


def _products(manifest: Manifest) -> tuple[int, int] | None:
    if manifest.weights is None:
        return None
    heads, others = {HEAD_PART, SHARED_PART}, {EMBEDDING_PART, TABLES_PART, _NO_PRODUCTS}
    counts = {name: part.numbers or 0 for name, part in manifest.weights.items()}
    layers = sum(count for name, count in counts.items() if name not in heads | others)
    return layers, sum(count for name, count in counts.items() if name in heads)


def kernel_of(precision: str) -> KernelName:
    """The kernel that most products of a bundle of ``precision`` run on, on the CPU."""
    return _KERNELS.get(precision, "dense")


def matrix_speed(kernel: KernelName, threads: int | None) -> float:
    """Multiplications a second of ``kernel``, the best of six steps of so many tokens as prompts are read by.

    Raises:
        ProviderError: onnxruntime is missing or too old.
    """
    random = np.random.default_rng(0)
    session = KernelSession(*BY_NAME[kernel].graph(_HIDDEN, _INTERMEDIATE, 1, random), threads)
    x = random.standard_normal((1, CHUNK, _HIDDEN), np.float32)
    best = float("inf")
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        session.run(x)
        best = min(best, time.perf_counter() - started)
    return 2 * _HIDDEN * _INTERMEDIATE * CHUNK / best


def read_speed(weight_bytes: int, threads: int | None) -> float:
    """Bytes a second over as many bytes as the weights, up to 256 MiB."""
    return memory_bandwidth(threads, weight_bytes)


def machine_samples(manifest: Manifest, threads: int | None) -> list[Sample]:
    """The machine's own speeds at what the bundle asks of it, measured now, in about a second.

    Raises:
        ProviderError: onnxruntime is missing or too old.
    """
    size = bundle_load(manifest, 0, 0).weight_bytes
    return [
        Sample("memory speed", read_speed(size, threads) / 1e9),
        Sample("matrix speed", matrix_speed(kernel_of(manifest.precision.name), threads) / 1e9),
    ]


def ceiling_of(load: Load, kernel: KernelName, read_bytes_per_s: float, products_per_s: float) -> Ceiling:
    """The bounds of a bundle that asks for ``load``."""
    layers, head = load.products or (None, None)
    made = Ceiling(
        weight_bytes=load.weight_bytes,
        kv_token_bytes=load.kv_token_bytes,
        kv_read_bytes=load.kv_read_bytes,
        context=load.context,
        products=layers,
        head_products=head,
        read_bytes_per_s=read_bytes_per_s,
        cached=load.weight_bytes < cache_bytes(),
        products_per_s=products_per_s,
        kernel=kernel,
        tokens_per_s=0.0,
    )
    return replace(made, tokens_per_s=1 / step_bound(made, 1))


def step_bound(ceiling: Ceiling, tokens: int) -> float:
    """Seconds that a step of so many tokens with logits for each takes at least: the longer of reading and multiplying.

    Activations and the products of attention are left out, so it is a little too good.
    """
    read = (ceiling.weight_bytes + ceiling.kv_read_bytes) / ceiling.read_bytes_per_s
    products = (ceiling.products or 0) + (ceiling.head_products or 0)
    return max(read, tokens * products / ceiling.products_per_s)


def prefill_bound(ceiling: Ceiling, tokens: int) -> float:
    """Seconds that reading a prompt of so many tokens takes at least; logits are made of the last one."""
    read = -(-tokens // CHUNK) * ceiling.weight_bytes / ceiling.read_bytes_per_s
    products = tokens * (ceiling.products or 0) + (ceiling.head_products or 0)
    return max(read, products / ceiling.products_per_s)
