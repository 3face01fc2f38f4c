"""llama.cpp by its shared library, one GGUF file on the processor.

At its best: a native build, the threads set, its default of 512 tokens a step in a prompt, repacked weights, flash
attention as it decides by itself, logits of the last token only, keys and values in float16.
"""

from __future__ import annotations

import argparse
import ctypes
from collections.abc import Callable, Sequence
from ctypes import c_bool, c_char_p, c_float, c_int8, c_int32, c_size_t, c_uint32, c_void_p
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .worker import Answer, Request, serve


class _ModelSettings(ctypes.Structure):
    """llama.h's llama_model_params, of build 11434."""

    _fields_: ClassVar = [
        ("devices", c_void_p),
        ("tensor_buft_overrides", c_void_p),
        ("n_gpu_layers", c_int32),
        ("split_mode", c_int32),
        ("load_mode", c_int32),
        ("lazy_mode", c_int32),
        ("main_gpu", c_int32),
        ("tensor_split", c_void_p),
        ("progress_callback", c_void_p),
        ("progress_callback_user_data", c_void_p),
        ("kv_overrides", c_void_p),
        *[
            (name, c_bool)
            for name in ("vocab_only", "check_tensors", "use_extra_bufts", "no_host", "no_alloc", "load_mtp")
        ],
    ]


class _ContextSettings(ctypes.Structure):
    """llama.h's llama_context_params, of build 11434."""

    _fields_: ClassVar = [
        *[(name, c_uint32) for name in ("n_ctx", "n_batch", "n_ubatch", "n_seq_max", "n_rs_seq")],
        *[(name, c_uint32) for name in ("n_outputs_max", "n_outputs_max_per_seq")],
        *[(name, c_int32) for name in ("n_threads", "n_threads_batch", "ctx_type", "rope_scaling_type")],
        *[(name, c_int32) for name in ("pooling_type", "attention_type", "flash_attn_type")],
        *[(name, c_float) for name in ("rope_freq_base", "rope_freq_scale", "yarn_ext_factor", "yarn_attn_factor")],
        *[(name, c_float) for name in ("yarn_beta_fast", "yarn_beta_slow")],
        ("yarn_orig_ctx", c_uint32),
        ("defrag_thold", c_float),
        ("cb_eval", c_void_p),
        ("cb_eval_user_data", c_void_p),
        ("type_k", c_int32),
        ("type_v", c_int32),
        ("abort_callback", c_void_p),
        ("abort_callback_data", c_void_p),
        *[(name, c_bool) for name in ("embeddings", "offload_kqv", "no_perf", "op_offload", "swa_full", "kv_unified")],
        ("samplers", c_void_p),
        ("n_samplers", c_size_t),
        ("ctx_other", c_void_p),
    ]


class _Batch(ctypes.Structure):
    """llama.h's llama_batch."""

    _fields_: ClassVar = [
        ("n_tokens", c_int32),
        ("token", ctypes.POINTER(c_int32)),
        ("embd", ctypes.POINTER(c_float)),
        ("pos", ctypes.POINTER(c_int32)),
        ("n_seq_id", ctypes.POINTER(c_int32)),
        ("seq_id", c_void_p),
        ("logits", ctypes.POINTER(c_int8)),
    ]


_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "llama_backend_init": (None, []),
    "llama_log_set": (None, [c_void_p, c_void_p]),
    "llama_model_default_params": (_ModelSettings, []),
    "llama_model_load_from_file": (c_void_p, [c_char_p, _ModelSettings]),
    "llama_model_get_vocab": (c_void_p, [c_void_p]),
    "llama_model_size": (ctypes.c_uint64, [c_void_p]),
    "llama_vocab_n_tokens": (c_int32, [c_void_p]),
    "llama_context_default_params": (_ContextSettings, []),
    "llama_init_from_model": (c_void_p, [c_void_p, _ContextSettings]),
    "llama_get_memory": (c_void_p, [c_void_p]),
    "llama_memory_clear": (None, [c_void_p, c_bool]),
    "llama_memory_seq_rm": (c_bool, [c_void_p, c_int32, c_int32, c_int32]),
    "llama_batch_get_one": (_Batch, [ctypes.POINTER(c_int32), c_int32]),
    "llama_decode": (c_int32, [c_void_p, _Batch]),
    "llama_get_logits_ith": (ctypes.POINTER(c_float), [c_void_p, c_int32]),
    "llama_print_system_info": (c_char_p, []),
}


class LlamaCpp:
    """A GGUF file in llama.cpp.

    Raises:
        SystemExit: the library is of another build than the structures above, or fails.
    """

    extra: dict[str, Callable[[Request], Answer]] = {}  # noqa: RUF012

    def __init__(self, library: Path, file: Path, threads: int, positions: int) -> None:
        self._library = library
        self._api = ctypes.CDLL(str(library / "libllama.so"))
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(self._api, name)
            function.restype, function.argtypes = result, arguments
        self._quiet = ctypes.CFUNCTYPE(None, c_int32, c_char_p, c_void_p)(lambda *_: None)
        self._api.llama_log_set(ctypes.cast(self._quiet, c_void_p), None)
        self._api.llama_backend_init()
        settings = self._api.llama_context_default_params()
        known = (settings.n_ctx, settings.n_batch, settings.n_ubatch, settings.flash_attn_type, settings.type_k)
        if known != (512, 2048, 512, -1, 1) or not settings.swa_full or settings.n_samplers:
            raise SystemExit(f"{library}: its settings are laid out otherwise than those of build 11434: {known}")
        settings.n_ctx, settings.n_threads, settings.n_threads_batch = positions, threads, threads
        model = self._api.llama_model_load_from_file(str(file).encode(), self._api.llama_model_default_params())
        self._context = model and self._api.llama_init_from_model(model, settings)
        if not self._context:
            raise SystemExit(f"llama.cpp cannot open {file}")
        self._memory = self._api.llama_get_memory(self._context)
        self._vocabulary = self._api.llama_vocab_n_tokens(self._api.llama_model_get_vocab(model))
        self._about = {
            "model_bytes": self._api.llama_model_size(model),
            "settings": {name: getattr(settings, name) for name in ("n_ctx", "n_batch", "n_ubatch", "n_threads")},
        }
        self._kept = 0

    def feed(self, ids: Sequence[int]) -> NDArray[np.float32]:
        array = (c_int32 * len(ids))(*ids)
        status = self._api.llama_decode(self._context, self._api.llama_batch_get_one(array, len(ids)))
        if status:
            raise SystemExit(f"llama_decode failed with {status}")
        logits = self._api.llama_get_logits_ith(self._context, -1)
        return np.ctypeslib.as_array(logits, (self._vocabulary,))

    def clear(self) -> None:
        self._api.llama_memory_clear(self._memory, False)

    def keep(self, length: int) -> None:
        self._kept = length

    def restore(self) -> None:
        """As llama-server does with a prompt that begins like the last one."""
        if not self._api.llama_memory_seq_rm(self._memory, 0, self._kept, -1):
            raise SystemExit("llama.cpp cannot go back to the kept prefix")

    def about(self) -> dict[str, Any]:
        base = ctypes.CDLL(str(next(self._library.glob("libggml-base.so*"))))
        base.ggml_version.restype = base.ggml_commit.restype = c_char_p
        return {
            "version": f"ggml {base.ggml_version().decode()} ({base.ggml_commit().decode()})",
            "system": self._api.llama_print_system_info().decode().strip(),
            **self._about,
        }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("library", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--positions", type=int, required=True)
    options = parser.parse_args()
    serve(LlamaCpp(options.library, options.file, options.threads, options.positions))


if __name__ == "__main__":
    main()
