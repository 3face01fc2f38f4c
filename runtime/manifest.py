"""The manifest of a bundle: what ``manifest.json`` holds, and how it is read from an untrusted file.

Numbers have upper bounds, so that a hostile manifest cannot make the runtime allocate without limit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Literal, Self, get_args

import msgspec
from msgspec import Meta, Struct

from . import recipe as documents
from .recipe import RecipeDocument

FORMAT_VERSION = 1
MAX_MANIFEST_BYTES = 1 << 20

# Printable, since it is shown in terminals: a manifest must not send them escape sequences.
Text = Annotated[str, Meta(min_length=1, max_length=1000, pattern=r"\A[^\x00-\x1f\x7f-\x9f]+\Z")]
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Bytes = Annotated[int, Meta(ge=0, le=1 << 44)]
Count = Annotated[int, Meta(ge=1, le=1 << 24)]
TokenId = Annotated[int, Meta(ge=0, lt=1 << 24)]
PromptId = Literal["card", "paper", "question"]
PrecisionName = documents.PrecisionName
HeadName = Literal["all", "grammar", "short"]
ProviderName = Literal["cpu", "cuda"]
PRECISIONS: tuple[PrecisionName, ...] = get_args(PrecisionName)
HEADS: tuple[HeadName, ...] = get_args(HeadName)


class FileEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """Size in bytes and sha256 (lower-case hex) of one file."""

    size_bytes: Bytes
    sha256: Sha256


class AdapterSource(Struct, frozen=True, forbid_unknown_fields=True):
    """The LoRA adapter that was merged: model id or folder name, revision where known, and its files."""

    name: Text
    revision: Text | None
    files: dict[Text, FileEntry]


class Source(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The checkpoint: model id or folder name, revision where known, every safetensors shard, and its adapter."""

    name: Text
    revision: Text | None
    shards: dict[Text, FileEntry]
    adapter: AdapterSource | None = None

    @property
    def title(self) -> str:
        """Names and revisions in one line."""
        parts: list[Source | AdapterSource] = [self] if self.adapter is None else [self, self.adapter]
        return " with adapter ".join(part.name + (f" at {part.revision}" if part.revision else "") for part in parts)


class Architecture(Struct, frozen=True, forbid_unknown_fields=True):
    """The model's numbers. ``context_length`` and ``sliding_window`` are in tokens.

    ``global_layers`` are the indices of the layers that see the whole context; the others see the window.
    """

    model_type: Literal["gemma3_text"]
    num_layers: Annotated[int, Meta(ge=1, le=1024)]
    num_heads: Annotated[int, Meta(ge=1, le=1024)]
    num_kv_heads: Annotated[int, Meta(ge=1, le=1024)]
    head_dim: Annotated[int, Meta(ge=1, le=4096)]
    hidden_size: Annotated[int, Meta(ge=1, le=1 << 17)]
    vocab_size: Count
    context_length: Count
    sliding_window: Count
    global_layers: tuple[Annotated[int, Meta(ge=0, lt=1024)], ...]


class Precision(Struct, frozen=True, forbid_unknown_fields=True):
    """The name of the precision (``fp32``) and, as data, what was done to the weights to get there."""

    name: Text
    recipe: dict[Text, Text | int | float | bool]


# Parts that are not read whole for every token: the embedding of a model with a head of its own, and the tables.
EMBEDDING_PART, HEAD_PART, SHARED_PART, TABLES_PART = "embedding", "head", "embedding and head", "rotary tables"


class WeightPart(Struct, frozen=True, forbid_unknown_fields=True):
    """One kind of weights in the file: its bytes, and how many numbers of the checkpoint they hold (None: none)."""

    size_bytes: Bytes
    numbers: Annotated[int, Meta(ge=1, le=1 << 44)] | None

    @property
    def bits(self) -> float | None:
        """Bits a number, scales and zero points included."""
        return None if self.numbers is None else 8 * self.size_bytes / self.numbers


class Prefix(Struct, frozen=True, forbid_unknown_fields=True):
    """The ids whose state the bundle holds: how many, and the sha256 of their decimals, joined by commas."""

    tokens: Count
    ids_sha256: Sha256

    @classmethod
    def of(cls, ids: Sequence[int]) -> Self:
        """That of ``ids``."""
        return cls(len(ids), hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest())


class SpecialIds(Struct, frozen=True, forbid_unknown_fields=True):
    """Token ids of the chat format. Decoding ends at any id of ``stop``."""

    bos: TokenId
    pad: TokenId
    start_of_turn: TokenId
    end_of_turn: TokenId
    stop: Annotated[tuple[TokenId, ...], Meta(min_length=1, max_length=64)]


class Parity(Struct, frozen=True, forbid_unknown_fields=True):
    """What the export measured against the checkpoint in torch fp32.

    The logits of ``positions`` tokens of one prompt were compared: their absolute differences, the mean of the
    Kullback-Leibler divergence in nats, and the share of positions with the same likeliest token. Of
    ``greedy_tokens`` tokens that the graph decoded, ``greedy_equal`` are the reference's choice after the same
    tokens. With ``teacher_forced`` the graph was run layer by layer and decoded nothing: the tokens are those of a
    fixed answer, and equal means that the likeliest after each was the reference's, with a cache and without. The
    ``uncached`` figures are of the last positions, from before the window on, read in one step. ``question_positions``
    are those after the prompts' common beginning, of questions of the product, read as the bundle is used: from its
    snapshot, if it has one; None where the context has no room for them. Bundles of dagger-edge 0.1 lack all from
    ``greedy_equal`` on: all of their tokens were equal.
    """

    reference: Text
    positions: Count
    max_logit_diff: float
    mean_logit_diff: float
    greedy_tokens: Count
    greedy_equal: Annotated[int, Meta(ge=0)] | None = None
    kl_divergence: float | None = None
    top1_agreement: float | None = None
    uncached_max_logit_diff: float | None = None
    uncached_kl_divergence: float | None = None
    teacher_forced: bool = False
    question_positions: Count | None = None
    question_kl_divergence: float | None = None
    question_top1_agreement: float | None = None

    @property
    def summary(self) -> str:
        """The report in one line."""
        distance = "" if self.kl_divergence is None else f", KL {self.kl_divergence:.2g}"
        if self.top1_agreement is not None:
            distance += f", the same token likeliest at {self.top1_agreement:.1%}"
        equal = self.greedy_tokens if self.greedy_equal is None else self.greedy_equal
        tokens = "likeliest tokens after a given answer's" if self.teacher_forced else "greedily decoded tokens"
        line = (
            f"logits within {self.max_logit_diff:.2g} of {self.reference} (mean {self.mean_logit_diff:.2g}{distance};"
            f" {self.positions} positions); {equal} of {self.greedy_tokens} {tokens} equal"
        )
        if self.question_kl_divergence is None or self.question_top1_agreement is None:
            return line
        return (
            f"{line}; on questions KL {self.question_kl_divergence:.2g}, the same token likeliest at"
            f" {self.question_top1_agreement:.1%} ({self.question_positions} positions)"
        )


class Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    """All of ``manifest.json``. ``parity`` is None where the export was told not to measure it, ``weights`` and
    ``recipe`` in bundles of dagger-edge 0.1, ``prefix`` where there is no snapshot. ``providers`` are those that have
    kernels for the graph; None, in bundles of 0.1, is the CPU."""

    format_version: int
    name: Text
    source: Source
    architecture: Architecture
    precision: Precision
    files: dict[str, FileEntry]
    prompt: PromptId
    special_ids: SpecialIds
    tools: dict[Text, Text]
    parity: Parity | None
    export_command: Text
    created: Text
    weights: dict[Text, WeightPart] | None = None
    prefix: Prefix | None = None
    providers: Annotated[tuple[ProviderName, ...], Meta(min_length=1, max_length=2)] | None = None
    recipe: RecipeDocument | None = None

    @property
    def made_for(self) -> tuple[ProviderName, ...]:
        """The execution providers that the graph is made for."""
        return self.providers or ("cpu",)

    @property
    def parity_summary(self) -> str:
        """The parity report in one line."""
        return "not measured at export" if self.parity is None else self.parity.summary

    @property
    def token_bytes(self) -> int | None:
        """The weights that are read for every single token, in bytes; None where the manifest does not say."""
        if self.weights is None:
            return None
        return sum(part.size_bytes for name, part in self.weights.items() if name not in {EMBEDDING_PART, TABLES_PART})

    def encode(self) -> bytes:
        """Indented UTF-8 JSON, the same bytes for the same manifest."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


class _Version(Struct):
    format_version: int


def decode_manifest(data: bytes) -> Manifest:
    """The manifest in ``data`` (UTF-8 JSON).

    Raises:
        ValueError: not JSON, nested too deeply, of another format version, or a field is missing, unknown, of
            the wrong type or out of range. The message says which.
    """
    try:
        version = msgspec.json.decode(data, type=_Version).format_version
        if version != FORMAT_VERSION:
            raise ValueError(f"format version {version}, but this dagger-edge reads version {FORMAT_VERSION}")
        manifest = msgspec.json.decode(data, type=Manifest)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from None
    _check_ids(manifest)
    return manifest


def _check_ids(manifest: Manifest) -> None:
    """Every special id is a row of the logits, every global layer a layer."""
    ids, shape = manifest.special_ids, manifest.architecture
    for name, index in (
        ("bos", ids.bos),
        ("pad", ids.pad),
        ("start_of_turn", ids.start_of_turn),
        ("end_of_turn", ids.end_of_turn),
        *(("stop", index) for index in ids.stop),
    ):
        if index >= shape.vocab_size:
            raise ValueError(f"special id {name} is {index}, outside the vocabulary of {shape.vocab_size}")
    for layer in shape.global_layers:
        if layer >= shape.num_layers:
            raise ValueError(f"global layer {layer} of {shape.num_layers} layers")
