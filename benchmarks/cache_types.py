"""What attention costs with keys and values of other types than single numbers: onnxruntime's kernel at the 4B shape.

    python benchmarks/cache_types.py [--threads 2] [--positions 960]

The layers' `GroupQueryAttention` alone, each with a cache of its own as in a bundle, behind so many positions. Types
take turns. Runs in the export environment, on an otherwise idle machine; results go to stdout as Markdown.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

LAYERS, HEADS, KV_HEADS, HEAD_DIM = 34, 8, 4, 256
SIZES = (1, 2, 4, 8, 16, 64)
# Random keys and values reach four or so.
SCALE = 4 / 127


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of the cache: its name, that of the numbers that attention gets, its own, and how it is quantised."""

    name: str
    numbers: int
    cache: int
    quantised: str = ""


KINDS = (
    Kind("float32", TensorProto.FLOAT, TensorProto.FLOAT),
    Kind("float16", TensorProto.FLOAT16, TensorProto.FLOAT16),
    Kind("int8, a scale a tensor", TensorProto.FLOAT, TensorProto.INT8, "PER_TENSOR"),
    Kind("int8, a scale a channel", TensorProto.FLOAT, TensorProto.INT8, "PER_CHANNEL"),
)


def graph(kind: Kind, capacity: int) -> bytes:
    """All layers' attention over the same queries, keys and values."""
    sizes = {"q": HEADS * HEAD_DIM, "k": KV_HEADS * HEAD_DIM, "v": KV_HEADS * HEAD_DIM}
    inputs = [helper.make_tensor_value_info(name, kind.numbers, [1, "s", size]) for name, size in sizes.items()]
    inputs.append(helper.make_tensor_value_info("last", TensorProto.INT32, [1]))
    inputs.append(helper.make_tensor_value_info("total", TensorProto.INT32, []))
    outputs, scales, nodes = [], [], []
    attributes: dict[str, Any] = {"num_heads": HEADS, "kv_num_heads": KV_HEADS, "scale": 1 / 16}
    if kind.quantised:
        shape = [1] if kind.quantised == "PER_TENSOR" else [1, KV_HEADS, 1, HEAD_DIM]
        numbers = np.full(shape, SCALE, np.float32)
        scales = [onnx.numpy_helper.from_array(numbers, name) for name in ("k_scale", "v_scale")]
        attributes |= {"k_quant_type": kind.quantised, "v_quant_type": kind.quantised, "kv_cache_bit_width": 8}
    for layer in range(LAYERS):
        past = [f"past.{kind_}{layer}" for kind_ in "kv"]
        present = [f"present.{kind_}{layer}" for kind_ in "kv"]
        shape = [1, KV_HEADS, capacity, HEAD_DIM]
        inputs += [helper.make_tensor_value_info(name, kind.cache, shape) for name in past]
        outputs += [helper.make_tensor_value_info(name, kind.cache, shape) for name in present]
        outputs.append(helper.make_tensor_value_info(f"y{layer}", kind.numbers, [1, "s", HEADS * HEAD_DIM]))
        names = ["q", "k", "v", *past, "last", "total", *([""] * 5 + ["k_scale", "v_scale"] if scales else [])]
        made = [f"y{layer}", *present]
        nodes.append(helper.make_node("GroupQueryAttention", names, made, domain="com.microsoft", **attributes))
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    made_graph = helper.make_graph(nodes, "attention", inputs, outputs, scales)
    return bytes(helper.make_model(made_graph, opset_imports=opsets, ir_version=10).SerializeToString())


class Cache:
    """A session over a cache of its own, past and present in one."""

    def __init__(self, kind: Kind, capacity: int, positions: int, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(graph(kind, capacity), options, ["CPUExecutionProvider"])
        self._kind, self._positions = kind, positions
        self._random = np.random.default_rng(0)
        self._dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind.numbers))
        self._values = {
            f"{name}{layer}": onnxruntime.OrtValue.ortvalue_from_numpy(self._filled(capacity))
            for layer in range(LAYERS)
            for name in "kv"
        }

    def _filled(self, capacity: int) -> Any:
        numbers = self._random.standard_normal((1, KV_HEADS, capacity, HEAD_DIM), np.float32)
        if self._kind.quantised:
            return np.clip(np.rint(numbers / SCALE), -127, 127).astype(np.int8)
        return numbers.astype(self._dtype)

    def step_ms(self, tokens: int, rounds: int) -> float:
        """Milliseconds of attention for so many tokens."""
        binding = self._session.io_binding()
        for name, value in self._values.items():
            binding.bind_ortvalue_input(f"past.{name}", value)
            binding.bind_ortvalue_output(f"present.{name}", value)
        for layer in range(LAYERS):
            binding.bind_output(f"y{layer}", "cpu")
        for name, heads in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
            numbers = self._random.standard_normal((1, tokens, heads * HEAD_DIM), np.float32)
            binding.bind_cpu_input(name, numbers.astype(self._dtype))
        binding.bind_cpu_input("last", np.array([self._positions - 1], np.int32))
        binding.bind_cpu_input("total", np.array(self._positions, np.int32))
        times = []
        for _ in range(rounds + 1):
            started = time.perf_counter()
            self._session.run_with_iobinding(binding)
            times.append(time.perf_counter() - started)
        return 1e3 * statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--positions", type=int, default=960, help="that the step ends at (default 960)")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    capacity = -(-options.positions // 256) * 256
    caches = [Cache(kind, capacity, options.positions, options.threads) for kind in KINDS]
    found: list[dict[int, list[float]]] = [{size: [] for size in SIZES} for _ in KINDS]
    for _ in range(options.rounds):
        for cache, times in zip(caches, found, strict=True):
            for size in SIZES:
                times[size].append(cache.step_ms(size, options.rounds))
    lines = ["| keys and values, ms of a step of k tokens | " + " | ".join(map(str, SIZES)) + " |"]
    lines.append("|---" * (1 + len(SIZES)) + "|")
    for kind, times in zip(KINDS, found, strict=True):
        lines.append(
            " | ".join([f"| {kind.name}", *(f"{statistics.median(times[size]):.0f}" for size in SIZES)]) + " |"
        )
    print("\n".join(lines))  # noqa: T201


if __name__ == "__main__":
    main()
