"""The architecture of a Gemma 3 text model, read from the ``config.json`` of any of its checkpoints.

Two classes (``Gemma3ForCausalLM``; ``Gemma3ForConditionalGeneration`` with a ``text_config``) and two ways to
write rotary embeddings (``rope_theta`` with ``rope_scaling`` up to transformers 4, ``rope_parameters`` since 5)
become one description. What a file leaves out has transformers' defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from ..runtime.bundle import CONFIG_FILE
from ..runtime.manifest import Architecture
from .folder import InputFolder

_SUPPORTED = {"gemma3_text": "Gemma3ForCausalLM", "gemma3": "Gemma3ForConditionalGeneration"}
_REFUSED = ("quantization_config", "attn_logit_softcapping", "final_logit_softcapping")
_PATTERN = 6

LayerKind = Literal["sliding_attention", "full_attention"]
Size = Annotated[int, Meta(ge=1, le=1 << 24)]
Positive = Annotated[float, Meta(gt=0, le=1e12)]


@dataclass(frozen=True, slots=True)
class Rope:
    """Rotary embedding: frequencies ``theta ** (-2i / head_dim) / factor``."""

    theta: float
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class TextConfig:
    """All numbers of a Gemma 3 decoder. ``context_length`` and ``sliding_window`` are in tokens.

    Attributes:
        multimodal: whether the checkpoint is a ``Gemma3ForConditionalGeneration``.
        layer_kinds: of every layer; sliding layers use ``local_rope``, full ones ``global_rope``.
        query_pre_attn_scalar: attention scores are divided by its square root.
        tied: whether the output head is the embedding.
        eos_ids: as the configuration declares them.
    """

    multimodal: bool
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    context_length: int
    sliding_window: int
    layer_kinds: tuple[LayerKind, ...]
    rms_norm_eps: float
    query_pre_attn_scalar: float
    global_rope: Rope
    local_rope: Rope
    tied: bool
    eos_ids: tuple[int, ...]

    @classmethod
    def read(cls, folder: InputFolder) -> TextConfig:
        """The architecture in ``config.json`` of ``folder``.

        Raises:
            UsageError: it is missing, not Gemma 3, or asks for something that cannot be exported.
        """
        content = folder.json(CONFIG_FILE)
        try:
            return _parse(content)
        except _ConfigError as error:
            raise folder.error(f"{CONFIG_FILE} {error}") from None

    @property
    def num_layers(self) -> int:
        """How many layers there are."""
        return len(self.layer_kinds)

    @property
    def architecture(self) -> Architecture:
        """What the manifest says of it."""
        return Architecture(
            model_type="gemma3_text",
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            num_kv_heads=self.num_kv_heads,
            head_dim=self.head_dim,
            hidden_size=self.hidden_size,
            vocab_size=self.vocab_size,
            context_length=self.context_length,
            sliding_window=self.sliding_window,
            global_layers=tuple(i for i, kind in enumerate(self.layer_kinds) if kind == "full_attention"),
        )

    @property
    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of the model, in the order of computation; a tied head has none."""
        hidden, inner = self.hidden_size, self.intermediate_size
        queries, keys = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        layer = {
            "input_layernorm": (hidden,),
            "self_attn.q_proj": (queries, hidden),
            "self_attn.k_proj": (keys, hidden),
            "self_attn.v_proj": (keys, hidden),
            "self_attn.q_norm": (self.head_dim,),
            "self_attn.k_norm": (self.head_dim,),
            "self_attn.o_proj": (hidden, queries),
            "post_attention_layernorm": (hidden,),
            "pre_feedforward_layernorm": (hidden,),
            "mlp.gate_proj": (inner, hidden),
            "mlp.up_proj": (inner, hidden),
            "mlp.down_proj": (hidden, inner),
            "post_feedforward_layernorm": (hidden,),
        }
        shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (self.vocab_size, hidden)}
        for index in range(self.num_layers):
            shapes.update({f"model.layers.{index}.{name}.weight": shape for name, shape in layer.items()})
        shapes["model.norm.weight"] = (hidden,)
        if not self.tied:
            shapes["lm_head.weight"] = (self.vocab_size, hidden)
        return shapes


class _ConfigError(ValueError):
    """What is wrong with a configuration, to be read after the file's name."""


class _Fields(Struct, frozen=True):
    """The fields of ``config.json`` (or its ``text_config``), with transformers' names and defaults."""

    vocab_size: Size = 262_208
    hidden_size: Annotated[int, Meta(ge=1, le=1 << 17)] = 2304
    intermediate_size: Size = 9216
    num_hidden_layers: Annotated[int, Meta(ge=1, le=1024)] = 26
    num_attention_heads: Annotated[int, Meta(ge=1, le=1024)] = 8
    num_key_value_heads: Annotated[int, Meta(ge=1, le=1024)] = 4
    head_dim: Annotated[int, Meta(ge=2, le=4096, multiple_of=2)] = 256
    hidden_activation: Literal["gelu_pytorch_tanh"] = "gelu_pytorch_tanh"
    max_position_embeddings: Size = 131_072
    rms_norm_eps: Positive = 1e-6
    query_pre_attn_scalar: Positive = 256.0
    sliding_window: Size = 4096
    sliding_window_pattern: Size | None = _PATTERN
    layer_types: tuple[LayerKind, ...] | None = None
    attention_bias: Literal[False] | None = False
    use_bidirectional_attention: Literal[False] | None = False
    rope_theta: Positive | None = None
    rope_local_base_freq: Positive | None = None
    rope_scaling: dict[str, Any] | None = None
    rope_parameters: dict[str, Any] | None = None


def _parse(content: Mapping[str, Any]) -> TextConfig:
    multimodal = _is_multimodal(content)
    text = content.get("text_config") if multimodal else content
    if not isinstance(text, dict) or text.get("model_type", "gemma3_text") != "gemma3_text":
        raise _ConfigError("has no text_config of type gemma3_text")
    for key in _REFUSED:
        if content.get(key) is not None or text.get(key) is not None:
            raise _ConfigError(f"sets {key}; give the plain Gemma 3 checkpoint that was not changed so")
    fields = _convert(text, _Fields)
    if fields.num_attention_heads % fields.num_key_value_heads:
        raise _ConfigError("has a number of heads that its number of KV heads does not divide")
    return TextConfig(
        multimodal=multimodal,
        vocab_size=fields.vocab_size,
        hidden_size=fields.hidden_size,
        intermediate_size=fields.intermediate_size,
        num_heads=fields.num_attention_heads,
        num_kv_heads=fields.num_key_value_heads,
        head_dim=fields.head_dim,
        context_length=fields.max_position_embeddings,
        sliding_window=fields.sliding_window,
        layer_kinds=_layer_kinds(fields),
        rms_norm_eps=fields.rms_norm_eps,
        query_pre_attn_scalar=fields.query_pre_attn_scalar,
        global_rope=_rope(fields, "full_attention"),
        local_rope=_rope(fields, "sliding_attention"),
        tied=_first("tie_word_embeddings", bool, True, (text, content)),
        # A multimodal configuration declares them outside.
        eos_ids=_ids(_first("eos_token_id", int | list[int], 1, (content, text))),
    )


def _is_multimodal(content: Mapping[str, Any]) -> bool:
    kind, classes = content.get("model_type"), content.get("architectures")
    if not isinstance(kind, str) or classes != [_SUPPORTED.get(kind)]:
        wanted = " and ".join(f"{name} ({kind})" for kind, name in _SUPPORTED.items())
        raise _ConfigError(f"describes {str(classes)[:100]} of type {str(kind)[:100]!r}; only {wanted} can be exported")
    return kind == "gemma3"


def _convert(value: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise _ConfigError(f"cannot be exported: {error}") from None


def _layer_kinds(fields: _Fields) -> tuple[LayerKind, ...]:
    count, pattern = fields.num_hidden_layers, fields.sliding_window_pattern or _PATTERN
    if fields.layer_types is None:
        return tuple("sliding_attention" if (i + 1) % pattern else "full_attention" for i in range(count))
    if len(fields.layer_types) != count:
        raise _ConfigError(f"has {len(fields.layer_types)} layer_types for {count} layers")
    return fields.layer_types


def _rope(fields: _Fields, kind: LayerKind) -> Rope:
    is_global = kind == "full_attention"
    theta = (fields.rope_theta or 1e6) if is_global else (fields.rope_local_base_freq or 1e4)
    scaling: Any = (fields.rope_scaling if is_global else None) or {}
    if fields.rope_parameters is not None:
        if not set(fields.rope_parameters) <= set(get_args(LayerKind)):
            raise _ConfigError("has rope_parameters that are not given by kind of layer")
        scaling = {**_convert(fields.rope_parameters.get(kind) or {}, dict[str, Any]), **scaling}
    name = str(scaling.get("rope_type", scaling.get("type", "default")))
    if name not in {"default", "linear"}:
        raise _ConfigError(f"asks for rope scaling of type {name[:100]!r}; only linear scaling can be exported")
    if name == "linear" and not is_global:
        raise _ConfigError("scales the rotary embedding of sliding layers, which Gemma 3 does not")
    theta = _convert(scaling.get("rope_theta", theta), Positive)
    return Rope(theta, _convert(scaling.get("factor"), Positive) if name == "linear" else 1.0)


def _first(key: str, kind: Any, default: Any, parts: tuple[Mapping[str, Any], ...]) -> Any:
    """The value of ``key`` in the first of ``parts`` that sets it, else ``default``."""
    return _convert(next((part[key] for part in parts if part.get(key) is not None), default), kind)


def _ids(declared: int | list[int]) -> tuple[int, ...]:
    return tuple(declared) if isinstance(declared, list) else (declared,)
