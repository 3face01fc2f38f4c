"""Prompts on their way through the layers, one after the other without padding, after a beginning that all share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

_NAME = "dagger_edge_packed"


class Packed:
    """Hidden states [1, tokens, hidden] of several sequences.

    Args:
        model: a ``Gemma3TextModel``, whose layers read their attention from here from now on.
        states: the embedded tokens of all sequences.
        lengths: of the sequences, in tokens.
        prefix: the beginning of all of them, which has run through each layer before; None is a sequence of its own.
    """

    def __init__(self, model: Any, states: torch.Tensor, lengths: Sequence[int], prefix: Packed | None = None) -> None:
        model.config._attn_implementation = _NAME
        self.states, self._lengths, self._prefix = states, list(lengths), prefix
        self._start = 0 if prefix is None else prefix.states.shape[1]
        positions = torch.cat([self._start + torch.arange(length) for length in self._lengths])[None]
        self._rotary = [rotary(states, positions) for rotary in (model.rotary_emb, model.rotary_emb_local)]
        # Keys after rotation, and values, of the last layer: [1, kv_heads, tokens, head_dim].
        self.keys = self.values = torch.empty(0)

    def run(self, layer: Any) -> None:
        """Through one more layer."""
        self.states = layer(
            self.states,
            position_embeddings_global=self._rotary[0],
            position_embeddings_local=self._rotary[1],
            packed=self,
        )[0]

    def attend(self, query: torch.Tensor, scale: float, window: int | None) -> torch.Tensor:
        """Attention [1, tokens, heads, head_dim] of ``query`` [1, heads, tokens, head_dim], sequence by sequence."""
        parts = []
        pieces = (item.split(self._lengths, 2) for item in (query, self.keys, self.values))
        for queries, *own in zip(*pieces, strict=True):
            before = [] if self._prefix is None else [self._prefix.keys, self._prefix.values]
            keys, values = (torch.cat(items, 2) for items in zip(before, own, strict=True)) if before else own
            seen = self._seen(queries.shape[2], window)
            parts.append(scaled_dot_product_attention(queries, keys, values, seen, scale=scale, enable_gqa=True))
        return torch.cat(parts, 2).transpose(1, 2)

    def _seen(self, length: int, window: int | None) -> torch.Tensor:
        """Whether each of ``length`` tokens sees each of those before it and itself, bool [length, start + length]."""
        distance = (self._start + torch.arange(length))[:, None] - torch.arange(self._start + length)
        return (distance >= 0) & (distance < (window or len(distance[0])))


def _attention(
    _module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _mask: None,
    *,
    scaling: float,
    sliding_window: int | None,
    packed: Packed,
    **_settings: Any,
) -> tuple[torch.Tensor, None]:
    """What transformers calls for every layer."""
    packed.keys, packed.values = key, value
    return packed.attend(query, scaling, sliding_window), None


AttentionInterface.register(_NAME, _attention)
