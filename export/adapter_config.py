"""``adapter_config.json`` of a PEFT folder: which LoRA adapters can be merged, and how strong they are."""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from .folder import InputFolder

ADAPTER_CONFIG_FILE = "adapter_config.json"

Rank = Annotated[int, Meta(ge=1, le=1 << 16)]
Alpha = Annotated[float, Meta(ge=-1e6, le=1e6)]
Names = Annotated[tuple[str, ...], Meta(max_length=4096)]

# Fields that say how the adapter was trained or stored, and nothing about how it is merged.
_BOOKKEEPING = frozenset(
    "auto_mapping base_model_name_or_path eva_config inference_mode layers_pattern loftq_config"
    " lora_dropout megatron_core peft_version qalora_group_size revision runtime_config task_type".split()
)
# What alpha_pattern and rank_pattern are made of: names, and regular expressions that cannot explode.
_PATTERN = re.compile(r"[\w.^$*+?|()\[\]:\\-]{1,200}")
_EXPLOSIVE = re.compile(r"\)[*+?]|\\[0-9]")
_QUANTIFIER = re.compile(r"(?<!\()[*+?]")
_MAX_QUANTIFIERS = 3


class AdapterConfig(Struct, frozen=True):
    """The fields that decide how an adapter is merged, with PEFT's names and defaults.

    PEFT's initialisations that change the base weights too (PiSSA, OLoRA, CorDA, LoftQ) are not among the
    values of ``init_lora_weights``: their adapters do not belong to the base as it was published.
    """

    peft_type: Literal["LORA"]
    r: Rank = 8
    lora_alpha: Alpha = 8.0
    use_rslora: bool = False
    use_dora: bool = False
    rank_pattern: Annotated[dict[str, Rank], Meta(max_length=4096)] | None = None
    alpha_pattern: Annotated[dict[str, Alpha], Meta(max_length=4096)] | None = None
    target_modules: str | Names | None = None
    layers_to_transform: int | tuple[int, ...] | None = None
    exclude_modules: str | Names | None = None
    modules_to_save: Names | None = None
    ensure_weight_tying: bool = False
    init_lora_weights: bool | Literal["gaussian", "eva", "orthogonal"] = True
    fan_in_fan_out: Literal[False] = False
    bias: Literal["none"] = "none"
    lora_bias: Literal[False] = False

    @classmethod
    def read(cls, folder: InputFolder) -> AdapterConfig:
        """The configuration in ``folder``.

        Raises:
            UsageError: it is missing, not a LoRA adapter's, or asks for something that cannot be merged.
        """
        content = folder.json(ADAPTER_CONFIG_FILE)
        for key in sorted(content.keys() - set(cls.__struct_fields__) - _BOOKKEEPING):
            if content[key]:
                raise folder.error(
                    f"{ADAPTER_CONFIG_FILE} sets {key[:100]}, which cannot be merged; merge it with peft"
                )
        try:
            config = msgspec.convert(content, cls)
            for pattern in (*(config.rank_pattern or ()), *(config.alpha_pattern or ())):
                _check_pattern(pattern)
        except (msgspec.ValidationError, ValueError, re.error) as error:
            raise folder.error(f"{ADAPTER_CONFIG_FILE} cannot be merged: {error}") from None
        return config

    def rank(self, module: str) -> int:
        """The rank of the module with that path in the model that was trained."""
        found: int = _by_pattern(self.rank_pattern, module, self.r)
        return found

    def scale(self, module: str) -> float:
        """What the product of the module's two factors is multiplied by."""
        alpha: float = _by_pattern(self.alpha_pattern, module, self.lora_alpha)
        rank = self.rank(module)
        return alpha / (math.sqrt(rank) if self.use_rslora else rank)

    def targets(self, module: str) -> bool:
        """Whether the configuration surely promises factors for ``module``, which is in a layer of the text part."""
        names = self.target_modules
        if not isinstance(names, tuple) or self.exclude_modules:
            return False
        layers = (self.layers_to_transform,) if isinstance(self.layers_to_transform, int) else self.layers_to_transform
        if layers is not None and int(module.split(".")[2]) not in layers:
            return False
        return any(module == name or module.endswith(f".{name}") for name in names)


def _by_pattern(patterns: dict[str, Any] | None, module: str, default: Any) -> Any:
    """The value of the first pattern that matches the end of ``module``, as PEFT looks for it."""
    for pattern, value in (patterns or {}).items():
        if _compile(pattern).match(module):
            return value
    return default


@cache
def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(.*\.)?({pattern})$")


def _check_pattern(pattern: str) -> None:
    plain = _PATTERN.fullmatch(pattern) and not _EXPLOSIVE.search(pattern)
    if not plain or len(_QUANTIFIER.findall(pattern)) > _MAX_QUANTIFIERS:
        raise ValueError(f"pattern {pattern[:100]!r} is too complicated; name the modules instead")
    _compile(pattern)
