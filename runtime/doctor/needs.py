"""What a bundle needs of a machine, worked out from its manifest.

The factors are those measured in docs/start-up.md: a process with a 4B bundle takes 1.08 (INT8) to 1.17 (INT4) of the
bundle's bytes for itself, and one with next to no model 103 MB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..kernels.machine import usable_cores

if TYPE_CHECKING:
    from ..manifest import Manifest

_PROCESS_BYTES, _COPY_FACTOR = 110_000_000, 1.2
# Python, numpy and onnxruntime map 0.5 GB; a thread takes a stack and an arena of addresses, and uses little of them.
_MAPPED_BYTES, _THREAD_BYTES = 450_000_000, 72 << 20
# Prompt and answer, where the context has room for them.
_TOKENS = 2048
# Of a prompt that begins with a template, where the bundle holds no state of it.
_PREFIX_TOKENS = 746


@dataclass(frozen=True, slots=True)
class Needs:
    """Bytes that a bundle needs.

    Attributes:
        weights: of memory, without which no model of its size can be held.
        memory: for an answer of full length, with what onnxruntime copies.
        addresses: of address space, which the mapped files take too.
        cache: of disk in the user's cache.
    """

    weights: int
    memory: int
    addresses: int
    cache: int

    @classmethod
    def of(cls, manifest: Manifest) -> Needs:
        """Those of the bundle with this manifest."""
        shape, size = manifest.architecture, sum(entry.size_bytes for entry in manifest.files.values())
        numbers = shape.num_layers * 2 * shape.num_kv_heads * shape.head_dim
        # Quantised models keep their cache in floats.
        cache = numbers * min(shape.context_length, _TOKENS) * (2 if manifest.precision.name == "fp16" else 4)
        memory = _PROCESS_BYTES + round(size * _COPY_FACTOR) + cache
        state = numbers * _PREFIX_TOKENS * (4 if manifest.precision.name == "fp32" else 2)
        has_template = manifest.prefix is None and manifest.prompt != "question"
        return cls(
            weights=_PROCESS_BYTES + manifest.files["model.onnx.data"].size_bytes,
            memory=memory,
            addresses=memory + size + _MAPPED_BYTES + usable_cores() * _THREAD_BYTES,
            # Tables of the tokens are smaller than the tokenizer that they are made of.
            cache=manifest.files["tokenizer.json"].size_bytes + (state if has_template else 0),
        )
