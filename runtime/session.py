"""The only module that imports onnxruntime: opens a decoder and runs steps of it, or runs a piece of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import BundleError, ModelError, ProviderError, UsageError
from .manifest import ProviderName

if TYPE_CHECKING:
    import onnxruntime

Provider = ProviderName
PROVIDERS: dict[Provider, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

# Keys and values of every layer, in the graph's own order: each [batch, kv_heads, past, head_dim].
Cache = Sequence[NDArray[np.floating]]

_INPUT_IDS = "input_ids"
_MASK = "attention_mask"
_PAST = "past_key_values"
_PRESENT = "present"
_KINDS = ("key", "value")
_LOGITS_TO_KEEP = "num_logits_to_keep"
# The logit of every token that a pruned head has no row for. Finite: callers take infinity for a broken model.
REMOVED_LOGIT = -1e9
# Older ones run our graphs with windows that are off by one (onnxruntime#25927), and say nothing.
_OLDEST = (1, 24)
_CACHE_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class Session:
    """A causal decoder with a KV cache, as `dagger_edge.export` or optimum makes it.

    Inputs ``input_ids`` and ``attention_mask`` int64, ``past_key_values.{i}.key/value`` float32 or float16; outputs
    ``logits`` float32 [batch, kept, vocab] and ``present.{i}.key/value``. Graphs of `dagger_edge.export` also take
    ``num_logits_to_keep``, and make no other logits than those; optimum's make all.

    Args:
        model: path of the ONNX file; its weights lie beside it.
        provider: ``cpu`` or ``cuda``. A provider that is not to be had is an error, never a silent CPU run.
        threads: of one operator; None leaves it to onnxruntime (one per physical core).

    Raises:
        UsageError: an unknown provider, or fewer than one thread.
        ProviderError: onnxruntime is missing or too old, or does not give the provider.
        BundleError: the model cannot be loaded, or is not such a decoder.
    """

    def __init__(self, model: Path, *, provider: Provider = "cpu", threads: int | None = None) -> None:
        if provider not in PROVIDERS:
            raise UsageError(f"unknown provider {provider!r}: choose one of {', '.join(PROVIDERS)}")
        if threads is not None and threads < 1:
            raise UsageError(f"threads is {threads}: it must be 1 or more")
        ort = _import_onnxruntime()
        _check_available(ort, provider)
        options = ort.SessionOptions()
        # Errors come as exceptions; printed as well, they would stand beside our one line.
        options.log_severity_level = 4
        if threads is not None:
            options.intra_op_num_threads = threads
        if provider == "cuda":
            ort.preload_dlls()
        # CUDA leaves a few nodes, such as those that compute shapes, to the CPU.
        wanted = [PROVIDERS[provider]] if provider == "cpu" else [PROVIDERS[provider], PROVIDERS["cpu"]]
        try:
            # Its own fallback would go on with the CPU, and print on stdout.
            self._session = ort.InferenceSession(str(model), options, providers=wanted, enable_fallback=0)
        except Exception as error:  # onnxruntime's errors have no common base of their own
            raise BundleError(f"{model}: onnxruntime cannot load it ({_first_line(error)}); export it again") from None
        got = self._session.get_providers()
        if PROVIDERS[provider] not in got:
            raise ProviderError(
                f"onnxruntime could not start {PROVIDERS[provider]} and gave {', '.join(got)}: check the driver, and "
                f"that CUDA and cuDNN are there (pip install 'dagger-edge[{provider}]' brings the libraries)"
            )
        self._past = [value for value in self._session.get_inputs() if value.name.startswith(_PAST)]
        self._outputs = ["logits", *(past.name.replace(_PAST, _PRESENT, 1) for past in self._past)]
        optional = {value.name for value in self._session.get_overridable_initializers()}
        self._keeps_logits = _LOGITS_TO_KEEP in optional
        self._provider = provider
        self._check_interface(model)

    @property
    def cache_shape(self) -> tuple[int, int, int]:
        """Layers, KV heads and head dimension of the cache that the graph asks for."""
        return len(self._past) // 2, self._past[0].shape[1], self._past[0].shape[3]

    def empty_cache(self) -> Cache:
        """The cache before the first token, for a batch of one: ``past`` is 0."""
        return [np.zeros((1, past.shape[1], 0, past.shape[3]), _CACHE_TYPES[past.type]) for past in self._past]

    def load_cache(self, state: NDArray[np.floating]) -> Cache:
        """The cache that holds ``state`` [layers, 2 (key, value), kv_heads, past, head_dim], for a batch of one; copied
        only where the graph's type is another."""
        arrays = {
            f"{_PAST}.{layer}.{kind}": array[None]
            for layer, pair in enumerate(state)
            for kind, array in zip(_KINDS, pair, strict=True)
        }
        return [np.asarray(arrays[past.name], _CACHE_TYPES[past.type]) for past in self._past]

    def step(self, ids: NDArray[np.int64], cache: Cache, *, keep: int = 1) -> tuple[NDArray[np.float32], Cache]:
        """Feeds ``ids`` [batch, step] after ``cache``; returns logits [batch, keep, vocab] and the longer cache.

        Args:
            ids: one row a sequence.
            cache: of all tokens before.
            keep: of how many of the last tokens there shall be logits; 0 is all of them.

        Raises:
            ModelError: onnxruntime fails on the CPU, out of memory for example.
            ProviderError: it fails on another provider.
        """
        batch, length = ids.shape
        total = cache[0].shape[2] + length
        feed: dict[str, NDArray[np.generic]] = {_INPUT_IDS: ids, _MASK: np.ones((batch, total), np.int64)}
        feed |= {past.name: array for past, array in zip(self._past, cache, strict=True)}
        if self._keeps_logits:
            feed[_LOGITS_TO_KEEP] = np.array([keep], np.int64)
        try:
            logits, *present = self._session.run(self._outputs, feed)
        except Exception as error:  # onnxruntime's errors have no common base of their own
            kind = ModelError if self._provider == "cpu" else ProviderError
            raise kind(f"onnxruntime failed at a step of {length} tokens ({_first_line(error)})") from None
        return logits[:, -keep:], present

    def _check_interface(self, model: Path) -> None:
        inputs = {value.name for value in self._session.get_inputs()}
        outputs = {value.name for value in self._session.get_outputs()}
        layers = range(len(self._past) // 2)
        wanted = {_INPUT_IDS, _MASK, *(f"{_PAST}.{layer}.{kind}" for layer in layers for kind in _KINDS)}
        shapes = {tuple(past.shape[axis] for axis in (1, 3)) for past in self._past}
        if inputs != wanted or not set(self._outputs) <= outputs or len(shapes) != 1:
            names = ", ".join(sorted(inputs))[:200]
            raise BundleError(f"{model}: not a decoder with a KV cache (its inputs are {names}); export it again")
        if {past.type for past in self._past} - set(_CACHE_TYPES):
            raise BundleError(f"{model}: its KV cache is of type {self._past[0].type}; export it again")
        if not all(isinstance(size, int) for size in shapes.pop()):
            raise BundleError(f"{model}: the heads of its KV cache have no fixed size; export it again")


class Piece:
    """A piece of a decoder's graph, on the CPU: for those who check it part by part.

    Args:
        graph: the piece as an ONNX file's bytes.
        folder: where the files lie that its weights are in; they are read there, and nothing is written.

    Raises:
        ProviderError: onnxruntime is missing or too old.
        BundleError: the piece cannot be loaded.
    """

    def __init__(self, graph: bytes, folder: Path) -> None:
        ort = _import_onnxruntime()
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
        try:
            self._session = ort.InferenceSession(graph, options, providers=[PROVIDERS["cpu"]], enable_fallback=0)
        except Exception as error:  # onnxruntime's errors have no common base of their own
            raise BundleError(
                f"{folder}: onnxruntime cannot load a part of the graph ({_first_line(error)}); export it again"
            ) from None

    def run(self, outputs: Sequence[str], feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """The tensors ``outputs`` for the inputs ``feed``.

        Raises:
            ModelError: onnxruntime fails, out of memory for example.
        """
        try:
            made: list[NDArray[Any]] = self._session.run(list(outputs), dict(feed))
        except Exception as error:  # onnxruntime's errors have no common base of their own
            raise ModelError(f"onnxruntime failed in a part of the graph ({_first_line(error)})") from None
        return made


class KernelSession:
    """A graph from ``x`` to ``y``, both float32, on the CPU, whose weights are arrays in memory.

    onnxruntime takes them for constants, and brings them into its kernels' layout as it does with those of a file.

    Args:
        model: an ONNX model; its weights say that they lie in another file.
        weights: by name.
        threads: of one operator; None leaves it to onnxruntime (one per physical core).

    Raises:
        ProviderError: onnxruntime is missing or too old, or does not take the graph.
    """

    def __init__(self, model: bytes, weights: Mapping[str, NDArray[np.generic]], threads: int | None) -> None:
        ort = _import_onnxruntime()
        options = ort.SessionOptions()
        options.log_severity_level = 4
        if threads is not None:
            options.intra_op_num_threads = threads
        values = [ort.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
        options.add_external_initializers(list(weights), values)
        try:
            self._session = ort.InferenceSession(model, options, providers=[PROVIDERS["cpu"]])
        except Exception as error:  # onnxruntime's errors have no common base of their own
            raise ProviderError(f"onnxruntime does not take a kernel's graph ({_first_line(error)})") from None

    def run(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """``y`` of ``x``.

        Raises:
            ModelError: onnxruntime fails, out of memory for example.
        """
        try:
            (y,) = self._session.run(["y"], {"x": x})
        except Exception as error:  # as above
            raise ModelError(f"onnxruntime failed at {x.shape[1]} tokens ({_first_line(error)})") from None
        made: NDArray[np.float32] = y
        return made


def onnxruntime_version() -> str:
    """The version of onnxruntime.

    Raises:
        ProviderError: it is missing or too old.
    """
    version: str = _import_onnxruntime().__version__
    return version


def _import_onnxruntime() -> onnxruntime:
    try:
        import onnxruntime
    except ImportError:
        raise ProviderError(
            "onnxruntime is not installed: pip install 'dagger-edge[cpu]', or 'dagger-edge[cuda]' for an NVIDIA GPU"
        ) from None
    version = tuple(int(part) for part in onnxruntime.__version__.split(".")[:2])
    if version < _OLDEST:
        wanted = ".".join(map(str, _OLDEST))
        raise ProviderError(
            f"onnxruntime {onnxruntime.__version__} is too old, its sliding windows are wrong: "
            f"pip install --upgrade 'onnxruntime>={wanted}' (or onnxruntime-gpu)"
        )
    return onnxruntime


def _check_available(ort: onnxruntime, provider: Provider) -> None:
    available = ort.get_available_providers()
    if PROVIDERS[provider] not in available:
        raise ProviderError(
            f"this onnxruntime has no {PROVIDERS[provider]} (it has {', '.join(available)}): "
            f"pip uninstall onnxruntime, then pip install 'dagger-edge[{provider}]'"
        )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
