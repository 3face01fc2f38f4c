"""The layers of a checkpoint, quantised one after the other on prompts that share their beginning.

Each product's Hessian is taken from what it will really be given: by layers before it that are quantised already,
and by the quantised products of its own layer, with activations rounded as its kernel does. Memory: one layer in
fp32, the activations of the prompts, and the Hessian of one input.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..names import EMBEDDING
from ..recipe import Calibration
from ..reference import embedding_scale, no_numbers, weightless_model
from ..storage.codes import Codes, Grid
from ..weights import Weights
from .gptq import feed_back, inverse_factor
from .smoothing import READERS, smooth_layer

# The numbers of one layer by the names of its tensors in the checkpoint: on a grid, or as they are.
Layer = dict[str, Codes | NDArray[np.float32]]

_MASKED = -1e30
_UNUSED_VOCABULARY = 1
# The largest absolute activation becomes this.
_ACTIVATION_TOP = 127


class LayerQuantizer:
    """Runs prompts through the layers and quantises each before it is left.

    The common beginning of the prompts runs in fp32: a bundle can hold its state ready, and the first tokens have
    activations that no others have. Its tokens are not calibrated on.

    Args:
        weights: of the checkpoint, open as long as this is used.
        prompts: token ids; two or more.
        grids: the grid of each product, by its tensor, or by its name in every layer (``self_attn.q_proj``).
        calibration: of the recipe.
    """

    def __init__(
        self, weights: Weights, prompts: Sequence[Sequence[int]], grids: Mapping[str, Grid], calibration: Calibration
    ) -> None:
        self._weights, self._grids, self._calibration = weights, grids, calibration
        self._model = weightless_model(weights.config, _UNUSED_VOCABULARY).model
        shared = common_length(prompts)
        rest = [prompt[shared:] for prompt in prompts]
        longest = max(map(len, rest))
        # Shorter ones are padded on the right, where no token before sees it.
        self._seen = torch.tensor([[index < len(ids) for index in range(longest)] for ids in rest])
        padded = [[*ids, *[ids[-1]] * (longest - len(ids))] for ids in rest]
        scale = embedding_scale(weights)
        self._prefix, self._batch = (
            _Part(self._model, _embed(weights, ids, scale), start)
            for ids, start in (([list(prompts[0][:shared])], 0), (padded, shared))
        )
        self._cache = _PrefixCache()

    @property
    def tokens(self) -> int:
        """How many tokens Hessians are taken from."""
        return int(self._seen.sum())

    def layers(self) -> Iterator[Layer]:
        """Every layer in order. Layers that were given out are not kept.

        Raises:
            UsageError: a weight holds NaN or infinity, or a shard was cut short meanwhile.
        """
        for index, layer in enumerate(self._model.layers):
            prefix = f"model.layers.{index}."
            parameters = dict(layer.named_parameters())
            for name, parameter in parameters.items():
                parameter.data = torch.tensor(self._weights.read(prefix + name))
            with torch.no_grad():
                if self._calibration.smoothing:
                    reach, head_dim = self._reach(layer), self._weights.config.head_dim
                    smooth_layer(parameters, reach, self._calibration.smoothing, head_dim)
                self._prefix.run(layer, self._cache, fill=True)
                found: Layer = self._quantise(layer, prefix)
            norms = {name: item.numpy() for name, item in parameters.items() if item.ndim == 1}
            yield {prefix + name: item for name, item in {**norms, **found}.items()}
            for parameter in parameters.values():
                parameter.data = no_numbers(parameter.shape)

    def final_reach(self) -> torch.Tensor:
        """The largest absolute value of each input of the head, [hidden]; after the last layer."""
        self._model.norm.weight.data = torch.from_numpy(self._weights.read("model.norm.weight"))
        with torch.no_grad():
            found: torch.Tensor = self._model.norm(self._batch.states)[self._seen].abs().amax(0)
        return found

    def _reach(self, layer: Any) -> dict[str, torch.Tensor]:
        """The largest absolute value of each input of the products of ``layer``, before it is changed."""
        found: dict[str, torch.Tensor] = {}

        def note(name: str, _module: Any, inputs: Any) -> None:
            found[name] = inputs[0][self._seen].abs().amax(0)

        states = self._prefix.states, self._batch.states
        self._prefix.run(layer, self._cache, fill=True)
        handles = [layer.get_submodule(name).register_forward_pre_hook(partial(note, name)) for name in READERS]
        self._batch.run(layer, self._cache)
        for handle in handles:
            handle.remove()
        self._prefix.states, self._batch.states = states
        return found

    def _quantise(self, layer: Any, prefix: str) -> Layer:
        """Runs ``layer`` while its products are quantised, each as soon as its input is there."""
        made: Layer = {}

        def before(first: str, _module: Any, inputs: Any) -> tuple[torch.Tensor]:
            rounded = round_activations(inputs[0], self._grid(prefix, first).size)
            if f"{first}.weight" not in made:
                seen = rounded[self._seen]
                hessian = seen.T @ seen / len(seen)
                importance = hessian.diagonal().clone()
                factor = inverse_factor(hessian) if self._calibration.feedback else torch.eye(len(hessian))
                for name in READERS[first]:
                    weight = layer.get_submodule(name).weight
                    grid = self._grid(prefix, name)
                    made[f"{name}.weight"], changed = feed_back(weight.data, factor, importance, grid)
                    weight.data = changed
            return (rounded,)

        handles = [
            layer.get_submodule(name).register_forward_pre_hook(partial(before, first))
            for first, names in READERS.items()
            for name in names
        ]
        try:
            self._batch.run(layer, self._cache)
        finally:
            for handle in handles:
                handle.remove()
        return made

    def _grid(self, prefix: str, name: str) -> Grid:
        return self._grids.get(f"{prefix}{name}.weight") or self._grids[name]


class _PrefixCache:
    """Keys and values of the common beginning in one layer: what transformers calls a cache."""

    def __init__(self) -> None:
        self._fill = False
        self._held: tuple[torch.Tensor, torch.Tensor] | None = None

    def filling(self, fill: bool) -> _PrefixCache:
        """Whether the next keys and values are the beginning's."""
        self._fill = fill
        return self

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, _layer: int, _arguments: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All keys and values that attention sees, [batch, heads, length, head_dim]."""
        if self._fill or self._held is None:
            self._held = keys, values
            return keys, values
        held = (item.expand(len(keys), -1, -1, -1) for item in self._held)
        joined = [torch.cat([before, new], 2) for before, new in zip(held, (keys, values), strict=True)]
        return joined[0], joined[1]


class _Part:
    """Hidden states [batch, length, hidden] of tokens from position ``start``, on their way through the layers."""

    def __init__(self, model: Any, states: torch.Tensor, start: int) -> None:
        self.states = states
        positions = start + torch.arange(states.shape[1])
        self._rotary = [rotary(states, positions[None]) for rotary in (model.rotary_emb, model.rotary_emb_local)]
        distance = positions[:, None] - torch.arange(start + states.shape[1])
        self._distance, self._window = distance, model.config.sliding_window

    def run(self, layer: Any, cache: _PrefixCache, *, fill: bool = False) -> None:
        """Through one more layer; ``fill`` says that this is the common beginning."""
        seen = self._distance >= 0
        if layer.attention_type == "sliding_attention":
            seen &= self._distance < self._window
        mask = torch.zeros(seen.shape).masked_fill(~seen, _MASKED)[None, None]
        self.states = layer(
            self.states,
            position_embeddings_global=self._rotary[0],
            position_embeddings_local=self._rotary[1],
            attention_mask=mask,
            past_key_values=cache.filling(fill),
        )[0]


def common_length(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all of ``prompts`` begin with, but for the last of any."""
    shared = min(map(len, prompts)) - 1
    for prompt in prompts:
        equal = [one == other for one, other in zip(prompt[:shared], prompts[0], strict=False)]
        shared = equal.index(False) if False in equal else len(equal)
    return shared


def round_activations(x: torch.Tensor, size: int | None) -> torch.Tensor:
    """``x`` [..., in] as kernels see it that round to 8 bits, with a scale for every ``size`` inputs of a row."""
    inputs = x.shape[-1]
    size = size or inputs
    groups = torch.nn.functional.pad(x, (0, -inputs % size)).unflatten(-1, (-1, size))
    step = groups.abs().amax(-1, keepdim=True).clamp_(min=1e-12) / _ACTIVATION_TOP
    return (groups / step).round_().mul_(step).flatten(-2)[..., :inputs]


def _embed(weights: Weights, sequences: Sequence[Sequence[int]], scale: float) -> torch.Tensor:
    ids = np.array(sequences)
    distinct, places = np.unique(ids, return_inverse=True)
    rows = np.concatenate([weights.read_rows(EMBEDDING, index, index + 1) for index in distinct.tolist()])
    return torch.from_numpy(rows)[torch.from_numpy(places.reshape(ids.shape))] * scale
