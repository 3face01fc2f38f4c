"""A decoder in onnxruntime: opening it, and running steps of it over a cache that is an argument and a result.

`Session.step` is the plain road, which copies the cache at every step: parity is measured by it. Decoding goes by
`context`, over one buffer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn

import msgspec
import numpy as np
from numpy.typing import NDArray

from .errors import BundleError, ModelError, ProviderError, UsageError
from .logits import CORE_TOKENS, Logits, LogitsInput, Positions, last
from .ort import (
    PROVIDERS,
    Provider,
    check_available,
    first_line,
    load_onnxruntime,
    open_session,
    optional_inputs,
    session_options,
    takes_mapped_weights,
)
from .weights import MappedWeights

# Keys and values of every layer, in the graph's own order: each [batch, kv_heads, past, head_dim].
Cache = Sequence[NDArray[np.floating]]

_INPUT_IDS = "input_ids"
_MASK = "attention_mask"
_PAST = "past_key_values"
_PRESENT = "present"
_KINDS = ("key", "value")
# The logit of every token that a pruned head has no row for, or whose row was not read. Finite: callers take infinity
# for a broken model.
REMOVED_LOGIT = -1e9
_CACHE_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class Start(NamedTuple):
    """The beginning of a prompt that need not be read: its cache, and of how many ids that is."""

    cache: Cache
    length: int


class Session:
    """A causal decoder with a KV cache, as `dagger_edge.export` or optimum makes it.

    Inputs ``input_ids`` and ``attention_mask`` int64, ``past_key_values.{i}.key/value`` float32 or float16; outputs
    ``logits`` float32 [batch, kept, vocab] and ``present.{i}.key/value``. Graphs of `dagger_edge.export` also take a
    `LogitsInput`, and make no other logits than those; optimum's make all.

    Attributes:
        provider: ``cpu`` or ``cuda``.
        threads: as asked for; None where that was left to onnxruntime.
        cache_places: of every array of a cache, in order: its layer, and whether it holds keys (0) or values (1).
        core_tokens: the ids that have logits where these are enough (`logits`); empty where all ids always have.

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
        ort = load_onnxruntime()
        check_available(ort, provider)
        if provider == "cuda":
            ort.preload_dlls()
        # CUDA leaves a few nodes, such as those that compute shapes, to the CPU.
        wanted = [PROVIDERS[provider]] if provider == "cpu" else [PROVIDERS[provider], PROVIDERS["cpu"]]
        options = session_options(threads)
        # Copies weights into the layout of their kernels with all threads.
        options.add_session_config_entry("session.prepack.enable_parallel", "1")
        # So long threads wait awake for the next operator: asleep they come late, and longer they take the cores from
        # what Python does between two steps (docs/start-up.md).
        options.add_session_config_entry("session.intra_op.spin_duration_us", "1000")
        try:
            # Kept as long as the session, which reads from it what no kernel has copied.
            self._weights = _mapped_weights(model, provider)
            if self._weights is not None:
                self._weights.lend(options)
            with nullcontext() if self._weights is None else self._weights.released():
                self._session = open_session(str(model), options, wanted)
        except Exception as error:  # onnxruntime's errors have no common base of their own
            raise BundleError(f"{model}: onnxruntime cannot load it ({first_line(error)}); export it again") from None
        got = self._session.get_providers()
        if PROVIDERS[provider] not in got:
            raise ProviderError(
                f"onnxruntime could not start {PROVIDERS[provider]} and gave {', '.join(got)}: check the driver, and "
                f"that CUDA and cuDNN are there (pip install 'dagger-edge[{provider}]' brings the libraries)"
            )
        self._past = [value for value in self._session.get_inputs() if value.name.startswith(_PAST)]
        self._outputs = ["logits", *(past.name.replace(_PAST, _PRESENT, 1) for past in self._past)]
        self.provider, self.threads = provider, threads
        self._logits = LogitsInput.among(optional_inputs(self._session))
        # Tried on the CPU alone: the others' kernels may not know products of no rows.
        self._logits = self._logits._replace(splits=self._logits.splits and provider == "cpu")
        self.core_tokens = self._core_tokens(model) if self._logits.splits else ()
        self._check_interface(model)
        self.cache_places = [_place(past.name) for past in self._past]

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
        places = enumerate(self.cache_places)
        return [np.asarray(state[place][None], _CACHE_TYPES[self._past[index].type]) for index, place in places]

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
        total, at = cache[0].shape[2] + length, last(keep or length)
        feed: dict[str, NDArray[np.generic]] = {_INPUT_IDS: ids, _MASK: np.ones((batch, total), np.int64)}
        feed |= {past.name: array for past, array in zip(self._past, cache, strict=True)}
        feed |= self._logits.feed(at)
        try:
            logits, *present = self._session.run(self._outputs, feed)
        except Exception as error:  # onnxruntime's errors have no common base of their own
            self._failed(error, length)
        return self._logits.choose(logits, at), present

    def cache_buffers(self, rows: int, capacity: int) -> list[tuple[tuple[int, int, int, int], np.dtype[Any]]]:
        """Shape and type of every array that `bind_cache` needs: [rows, kv_heads, capacity, head_dim]."""
        return [
            ((rows, past.shape[1], capacity, past.shape[3]), np.dtype(_CACHE_TYPES[past.type])) for past in self._past
        ]

    def bind_cache(self, arrays: Sequence[NDArray[np.floating]]) -> tuple[Any, list[Any]]:
        """An IO binding whose past and present are the same memory, and the values of onnxruntime that hold it.

        On the CPU that memory is the arrays' own, on another provider a copy of them.
        """
        device = () if self.provider == "cpu" else (self.provider, 0)
        make = load_onnxruntime().OrtValue.ortvalue_from_numpy
        values = [make(array, *device) for array in arrays]
        binding = self._session.io_binding()
        for past, present, value in zip(self._past, self._outputs[1:], values, strict=True):
            binding.bind_ortvalue_input(past.name, value)
            binding.bind_ortvalue_output(present, value)
        return binding, values

    def edit_cache(
        self, values: Sequence[Any], arrays: Iterable[NDArray[Any]], change: Callable[[int, NDArray[Any]], None]
    ) -> None:
        """Calls ``change`` with the number and the array of every buffer of `bind_cache`, and keeps what it wrote."""
        for index, (value, array) in enumerate(zip(values, arrays, strict=True)):
            if self.provider != "cpu":
                array[...] = value.numpy()
            change(index, array)
            if self.provider != "cpu":
                value.update_inplace(array)

    def run_bound(
        self,
        binding: Any,
        ids: NDArray[np.int64],
        mask: NDArray[np.int64],
        at: Positions,
        core: Collection[int] = (),
    ) -> Logits:
        """Feeds ``ids`` [batch, step] behind what ``mask`` [batch, total] says is in the buffers of `bind_cache`.

        Returns logits [batch, len(at), vocab]; at the positions in ``core``, all but those of `core_tokens` may be
        `REMOVED_LOGIT`. Errors as of `step`.
        """
        make = load_onnxruntime().OrtValue.ortvalue_from_numpy
        feed = {_INPUT_IDS: ids, _MASK: mask} | self._logits.feed(at, core)
        try:
            for name, array in feed.items():
                # bind_cpu_input knows no optional inputs.
                binding.bind_ortvalue_input(name, make(array))
            # Anew every time: the memory of the last step's logits would be of the last step's size.
            binding.bind_output("logits", "cpu")
            self._session.run_with_iobinding(binding)
            logits: Logits = binding.get_outputs()[-1].numpy()
        except Exception as error:  # as above
            self._failed(error, ids.shape[1])
        if self._weights is not None:
            self._weights.release_now_and_then()
        return self._logits.choose(logits, at, core)

    def _core_tokens(self, model: Path) -> tuple[int, ...]:
        listed = self._session.get_modelmeta().custom_metadata_map.get(CORE_TOKENS, "")
        try:
            return msgspec.json.decode(listed, type=tuple[Annotated[int, msgspec.Meta(ge=0, lt=1 << 24)], ...])
        except msgspec.DecodeError:
            raise BundleError(f"{model}: it does not say which its core tokens are; export it again") from None

    def _failed(self, error: Exception, length: int) -> NoReturn:
        kind = ModelError if self.provider == "cpu" else ProviderError
        raise kind(f"onnxruntime failed at a step of {length} tokens ({first_line(error)})") from None

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


def _mapped_weights(model: Path, provider: Provider) -> MappedWeights | None:
    """The weights beside ``model``, where exports of ours have them; None leaves them to onnxruntime."""
    path = model.with_name(f"{model.name}.data")
    if provider != "cpu" or not takes_mapped_weights() or not path.is_file() or not path.stat().st_size:
        return None
    return MappedWeights(path)


def _place(name: str) -> tuple[int, int]:
    """Layer and kind that ``past_key_values.{layer}.{kind}`` says."""
    _, layer, kind = name.split(".")
    return int(layer), _KINDS.index(kind)
