"""The layers of a checkpoint, quantised one after the other on prompts that share their beginning.

Each product's Hessian is taken from what it will really be given: by layers before it that are quantised already,
and by the quantised products of its own layer, with activations rounded as its kernel does. Memory: one layer in
fp32, the activations of the prompts, and the Hessian of one input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
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
from .gptq import gram, inverse_factor, quantise
from .packed import Packed
from .smoothing import PRODUCTS, READERS, smooth

# The numbers of one layer by the names of its tensors in the checkpoint: on a grid, or as they are.
Layer = dict[str, Codes | NDArray[np.float32]]

OnPrefix = Callable[[torch.Tensor, torch.Tensor], None]

_UNUSED_VOCABULARY = 1
# The largest absolute activation becomes this.
_ACTIVATION_TOP = 127


class LayerQuantizer:
    """Runs prompts through the layers and quantises each before it is left.

    The common beginning of the prompts runs in fp32: a bundle holds its state ready, and the first tokens have
    activations that no others have. Its tokens are not calibrated on.

    Args:
        weights: of the checkpoint, open as long as this is used.
        prompts: token ids; two or more.
        grids: the grid of each product, by its tensor, or by its name in every layer (``self_attn.q_proj``).
        calibration: of the recipe.
        prefix: how many tokens the common beginning is; by default as many as there are.
        on_prefix: told keys after rotation and values of the common beginning in every layer, in order: float32
            [1, kv_heads, prefix, head_dim], after smoothing. Only where ``prefix`` is given.
    """

    def __init__(
        self,
        weights: Weights,
        prompts: Sequence[Sequence[int]],
        grids: Mapping[str, Grid],
        calibration: Calibration,
        prefix: int | None = None,
        on_prefix: OnPrefix = lambda _keys, _values: None,
    ) -> None:
        self._weights, self._grids, self._calibration = weights, grids, calibration
        self._model = weightless_model(weights.config, _UNUSED_VOCABULARY).model
        shared = common_length(prompts) if prefix is None else prefix
        self._on_prefix = None if prefix is None else on_prefix
        self._prefix = self._packed([prompts[0][:shared]])
        self._batch = self._packed([prompt[shared:] for prompt in prompts], self._prefix)

    @property
    def tokens(self) -> int:
        """How many tokens Hessians are taken from."""
        return int(self._batch.states.shape[1])

    def layers(self) -> Iterator[Layer]:
        """Every layer in order. Layers that were given out are not kept.

        Raises:
            UsageError: a weight holds NaN or infinity, or a shard was cut short meanwhile.
        """
        for index, layer in enumerate(self._model.layers):
            prefix = f"model.layers.{index}."
            parameters = dict(layer.named_parameters())
            for name, parameter in parameters.items():
                parameter.data = torch.from_numpy(self._weights.read(prefix + name))
            with torch.no_grad():
                self._prefix.run(layer)
                found = self._quantise(layer, parameters, prefix)
                if self._on_prefix is not None:
                    self._on_prefix(self._prefix.keys, self._prefix.values)
            norms = {name: item.numpy() for name, item in parameters.items() if item.ndim == 1}
            yield {prefix + name: item for name, item in {**norms, **found}.items()}
            for parameter in parameters.values():
                parameter.data = no_numbers(parameter.shape)

    def final_reach(self) -> torch.Tensor:
        """The largest absolute value of each input of the head, [hidden]; after the last layer."""
        self._model.norm.weight.data = torch.from_numpy(self._weights.read("model.norm.weight"))
        with torch.no_grad():
            found: torch.Tensor = self._model.norm(self._batch.states)[0].abs().amax(0)
        return found

    def _packed(self, sequences: Sequence[Sequence[int]], prefix: Packed | None = None) -> Packed:
        ids = np.concatenate([np.array(sequence) for sequence in sequences])
        distinct, places = np.unique(ids, return_inverse=True)
        rows = [self._weights.read_rows(EMBEDDING, index, index + 1) for index in distinct.tolist()]
        states = torch.from_numpy(np.concatenate(rows))[torch.from_numpy(places)] * embedding_scale(self._weights)
        return Packed(self._model, states[None], list(map(len, sequences)), prefix)

    def _quantise(self, layer: Any, parameters: Mapping[str, torch.Tensor], prefix: str) -> Layer:
        """Runs the prompts through ``layer`` while its products are smoothed and quantised, each as soon as its input
        is there; ``prefix`` is that of its tensors' names."""
        grids = {
            name: self._grids.get(f"{prefix}{name}.weight") or self._grids[name]
            for names in READERS.values()
            for name in names
        }
        made: Layer = {}
        given: dict[str, torch.Tensor] = {}

        def before(first: str, _module: Any, inputs: Any) -> tuple[torch.Tensor]:
            if first not in given:
                given.clear()
                smoothed = self._smooth(first, inputs[0], parameters, made)
                given[first] = round_activations(smoothed, grids[first].size)
                del smoothed
                made.update(self._products(first, given[first][0], parameters, grids))
            return (given[first],)

        handles = [
            layer.get_submodule(name).register_forward_pre_hook(partial(before, first))
            for first, names in READERS.items()
            for name in names
        ]
        try:
            self._batch.run(layer)
        finally:
            for handle in handles:
                handle.remove()
        return made

    def _smooth(
        self, first: str, states: torch.Tensor, parameters: Mapping[str, torch.Tensor], made: Layer
    ) -> torch.Tensor:
        """The input ``states`` of the readers of ``first``, smoothed, as all that makes and reads it is. Rows of a
        product that is quantised already have their scales divided, which changes none of its numbers."""
        strength = self._calibration.smoothing
        if not strength:
            return states
        reach = states[0].abs().amax(0)
        smoothing = smooth(first, parameters, reach, strength, self._weights.config.head_dim)
        if smoothing.rows is not None:
            name = f"{PRODUCTS[first]}.weight"
            codes = made[name]
            assert isinstance(codes, Codes)
            made[name] = replace(codes, scales=codes.scales / smoothing.rows.numpy()[:, None])
            if first == "self_attn.o_proj":
                heads = self._prefix.values.shape[1]
                self._prefix.values = self._prefix.values / smoothing.rows.reshape(heads, 1, -1)
        return states / smoothing.inputs

    def _products(
        self, first: str, states: torch.Tensor, parameters: Mapping[str, torch.Tensor], grids: Mapping[str, Grid]
    ) -> Layer:
        """The products that read ``states`` [tokens, in] on their grids; ``parameters`` become what they then are."""
        fed_back = [name for name in READERS[first] if self._calibration.feeds_back(name)]
        importance = states.square().mean(0)
        factor = inverse_factor(gram(states)) if fed_back else None
        made: Layer = {}
        for name in READERS[first]:
            weight = parameters[f"{name}.weight"]
            own = factor if name in fed_back else None
            made[f"{name}.weight"], weight.data = quantise(weight, own, importance, grids[name])
        return made


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
