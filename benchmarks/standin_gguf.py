"""Writes a Gemma 3 checkpoint as a GGUF file in Q4_0 or Q8_0 for llama.cpp, as llama-quantize would by its defaults.

    PYTHONPATH=src python benchmarks/standin_gguf.py CHECKPOINT OUT --llama LIBDIR [--type Q8_0]

Q4_0: matrices of the layers in Q4_0, embedding and head, which are one, in Q6_K. Q8_0: all of them in it. Norms in F32;
rounded by llama.cpp's own library, tensor by tensor, so that it needs little memory. There is no tokenizer in it: it is
for timing. LIBDIR holds libggml-base.so. 4b in Q4_0: three minutes on two cores, 2.4 GB.
"""

from __future__ import annotations

import argparse
import ctypes
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ctypes import c_int, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

_Kind = gguf.GGMLQuantizationType
_FILE_TYPES = {
    _Kind.Q4_0: gguf.LlamaFileType.MOSTLY_Q4_0,
    _Kind.Q8_0: gguf.LlamaFileType.MOSTLY_Q8_0,
}
_EMBEDDING = "token_embd.weight"
_ROWS = 4096
_THREADS = 2
# Rows of Q6_K are of so many numbers; llama-quantize takes Q8_0 where that does not divide them.
_Q6_K_BLOCK = 256

Quantize = Callable[[NDArray[np.float32], _Kind], NDArray[np.uint8]]


def quantizer(library: Path) -> Quantize:
    """ggml's own rounding of float32 [rows, columns] to blocks, [rows, bytes]."""
    function = ctypes.CDLL(str(sorted(library.glob("libggml-base.so*"))[0])).ggml_quantize_chunk
    function.restype, function.argtypes = c_size_t, [c_int, c_void_p, c_void_p, c_int64, c_int64, c_int64, c_void_p]

    def quantize(numbers: NDArray[np.float32], kind: _Kind) -> NDArray[np.uint8]:
        rows, columns = numbers.shape
        made = np.empty((rows, _row_bytes(columns, kind)), np.uint8)
        written = function(int(kind), numbers.ctypes.data, made.ctypes.data, 0, rows, columns, None)
        if written != made.nbytes:
            raise SystemExit(f"ggml wrote {written} bytes of {kind.name}, not {made.nbytes}")
        return made

    return quantize


def write(checkpoint: Path, target: Path, library: Path, matrices: _Kind = _Kind.Q4_0) -> None:
    """The GGUF file of ``checkpoint`` at ``target``, its layers' ``matrices`` in Q4_0 or Q8_0."""
    from dagger_edge.export.checkpoint import Checkpoint

    quantize = quantizer(library)
    writer = gguf.GGUFWriter(target, "gemma3")
    with Checkpoint.open(checkpoint).weights() as weights, ThreadPoolExecutor(_THREADS) as threads:
        _describe(writer, weights.config, matrices)
        names = tensor_names(weights.config)
        for name, theirs in names.items():
            shape = weights.config.tensor_shapes[name]
            kind = _kind(theirs, shape, matrices)
            if kind is None:
                writer.add_tensor_info(theirs, shape, np.dtype(np.float32), int(np.prod(shape)) * 4)
            else:
                packed = (shape[0], _row_bytes(shape[1], kind))
                writer.add_tensor_info(theirs, packed, np.dtype(np.uint8), int(np.prod(packed)), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name, theirs in names.items():
            kind = _kind(theirs, weights.shape(name), matrices)
            if kind is None:
                # GGUF's norms multiply by the weight itself, Gemma's by 1 + weight.
                writer.write_tensor_data(weights.read(name) + np.float32(1))
            else:
                parts = [
                    threads.submit(_packed, quantize, weights, name, start, kind) for start in _starts(weights, name)
                ]
                writer.write_tensor_data(np.concatenate([part.result() for part in parts]))
    writer.close()


def tensor_names(config: Any) -> dict[str, str]:
    """GGUF's name of every tensor of a checkpoint."""
    known = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GEMMA3, config.num_layers)
    return {name: known.get_name(name, try_suffixes=(".weight",)) for name in config.tensor_shapes}


def _describe(writer: gguf.GGUFWriter, config: Any, matrices: _Kind) -> None:
    """Gemma 3's architecture, and a tokenizer that has so many ids and no text."""
    writer.add_file_type(_FILE_TYPES[matrices])
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_heads)
    writer.add_head_count_kv(config.num_kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_sliding_window(config.sliding_window)
    writer.add_rope_freq_base(config.global_rope.theta)
    if config.global_rope.factor != 1:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.global_rope.factor)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("none")


def _kind(name: str, shape: Sequence[int], matrices: _Kind) -> _Kind | None:
    """The format of a tensor by GGUF's name; None is float32."""
    if name.endswith("norm.weight"):
        return None
    if name != _EMBEDDING or matrices is _Kind.Q8_0:
        return matrices
    return _Kind.Q8_0 if shape[1] % _Q6_K_BLOCK else _Kind.Q6_K


def _row_bytes(columns: int, kind: _Kind) -> int:
    block, size = gguf.GGML_QUANT_SIZES[kind]
    return columns // block * size


def _starts(weights: Any, name: str) -> range:
    return range(0, weights.shape(name)[0], _ROWS)


def _packed(quantize: Quantize, weights: Any, name: str, start: int, kind: _Kind) -> NDArray[np.uint8]:
    """So many rows of a tensor from ``start`` on."""
    stop = min(start + _ROWS, weights.shape(name)[0])
    return quantize(np.ascontiguousarray(weights.read_rows(name, start, stop)), kind)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path, help="the GGUF file to write")
    parser.add_argument("--llama", type=Path, required=True, help="folder of llama.cpp's shared libraries")
    parser.add_argument("--type", choices=[kind.name for kind in _FILE_TYPES], default="Q4_0")
    options = parser.parse_args()
    partial = options.out.with_suffix(".partial")
    write(options.checkpoint, partial, options.llama, _Kind[options.type])
    partial.rename(options.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
