"""What a measurement of a machine's kernels says: the document of `dagger-edge measure --json`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from ..manifest import Bytes, Count, Text
from ..untrusted import decode_document
from .kernel import KernelName

MAX_REPORT_BYTES = 1 << 18
# Tokens a step: what is measured, and what estimates need of it.
TOKENS = (1, 2, 4, 6, 8, 16, 64, 256)
_NEEDED = (1, 6, 16, 64)

Milliseconds = Annotated[float, Meta(gt=0, le=1e9)]


class ModelShape(Struct, frozen=True, forbid_unknown_fields=True):
    """The matrices of a model, as far as their cost goes.

    Attributes:
        name: ``4b``, or the numbers that were asked for.
        hidden: width of the residual stream.
        intermediate: width inside the feed-forward part.
        attention: numbers of the weights of one layer's attention.
        layers: how many there are.
        vocabulary: rows of the embedding, which is the head too; 0 leaves it out.
    """

    name: Text
    hidden: Count
    intermediate: Count
    attention: Annotated[int, Meta(ge=0, le=1 << 40)]
    layers: Annotated[int, Meta(ge=1, le=1024)]
    vocabulary: Annotated[int, Meta(ge=0, le=1 << 24)]

    @property
    def layer_weights(self) -> int:
        """Numbers of the weights of one layer's products."""
        return self.attention + 3 * self.hidden * self.intermediate


class Step(Struct, frozen=True, forbid_unknown_fields=True):
    """What a step cost: the median over ``rounds``, and the distance between the quartiles, in milliseconds."""

    tokens: Count
    ms: Milliseconds
    spread_ms: Annotated[float, Meta(ge=0, le=1e9)]
    rounds: Count


class KernelCost(Struct, frozen=True, forbid_unknown_fields=True):
    """A kernel over matrices of ``weights`` numbers together, ``matrices`` of them.

    Attributes:
        title: the kernel, for people.
        precision: of the bundles that use it.
        bits: a weight takes, with its scales.
        matrices: that each step went through, of ``hidden`` by ``intermediate`` numbers.
        weights: numbers in them.
        steps: by rising number of tokens.
    """

    title: Text
    precision: Literal["fp32", "int8", "int4"]
    bits: Annotated[float, Meta(gt=0, le=64)]
    matrices: Count
    weights: Annotated[int, Meta(ge=1, le=1 << 40)]
    steps: Annotated[tuple[Step, ...], Meta(min_length=len(_NEEDED), max_length=64)]

    def __post_init__(self) -> None:
        """Refuses steps that estimates cannot be made of."""
        counts = [step.tokens for step in self.steps]
        missing = set(_NEEDED) - set(counts)
        if missing:
            raise ValueError(f"`steps` has none of {min(missing)} tokens")
        if counts != sorted(set(counts)):
            raise ValueError("`steps` are not by rising number of tokens")

    def ms(self, tokens: int, weights: int) -> float:
        """Milliseconds of a step of so many tokens through so many weights: in proportion, and between two measured
        numbers of tokens on a straight line."""
        for low, high in zip(self.steps, self.steps[1:], strict=False):
            if low.tokens <= tokens <= high.tokens:
                share = (tokens - low.tokens) / (high.tokens - low.tokens)
                return (low.ms + share * (high.ms - low.ms)) * weights / self.weights
        raise ValueError(f"{tokens} tokens are outside what was measured")


class Estimate(Struct, frozen=True, forbid_unknown_fields=True):
    """A whole model on one kernel, products and head alone: attention and small operations come on top.

    Attributes:
        size_bytes: of its weights.
        fits: whether there is memory for it.
        question_ms: the question's 60 tokens after the fixed prompt.
        drafted_ms: 60 steps of 6 tokens, which an answer with drafts takes.
        plain_ms: 300 steps of one token.
    """

    size_bytes: Bytes
    fits: bool
    question_ms: Milliseconds
    drafted_ms: Milliseconds
    plain_ms: Milliseconds

    @property
    def answer_ms(self) -> float:
        """Question and drafted answer."""
        return self.question_ms + self.drafted_ms


class MachineReport(Struct, frozen=True, forbid_unknown_fields=True):
    """All of the document.

    Attributes:
        report_version: of its form.
        dagger_edge, onnxruntime: versions.
        created: UTC in ISO 8601.
        processor: its name.
        instructions: those for whole numbers, and for wide vectors, that it has.
        cores: that the process might use.
        threads: of one operator; null is what onnxruntime chose (one per physical core).
        memory_bytes, available_bytes: of the machine, before anything was measured.
        bandwidth_bytes_per_s: at which memory is read.
        shape: of the matrices and of the model that is estimated.
        kernels: what was measured.
        estimates: for a model of the shape.
        best: the kernel that an answer is quickest with, of those that fit; null where none does.
    """

    report_version: Literal[1]
    dagger_edge: Text
    onnxruntime: Text
    created: Text
    processor: Text
    instructions: tuple[Text, ...]
    cores: Count
    threads: Count | None
    memory_bytes: Bytes
    available_bytes: Bytes
    bandwidth_bytes_per_s: Annotated[float, Meta(gt=0, le=1e15)]
    shape: ModelShape
    kernels: Annotated[dict[KernelName, KernelCost], Meta(min_length=1)]
    estimates: dict[KernelName, Estimate]
    best: KernelName | None


def decode_report(data: bytes) -> MachineReport:
    """The report in ``data`` (UTF-8 JSON).

    Raises:
        ValueError: too long, not JSON, or a field is missing, unknown, of the wrong type or out of range. The message
            says which.
    """
    return decode_document(data, MachineReport, MAX_REPORT_BYTES)


def model_shape(name: str) -> ModelShape:
    """The shape called ``name``: of a Gemma 3 model (``4b``), or the feed-forward part of one layer (``2560x10240``).

    Raises:
        ValueError: it is neither, or larger than any model.
    """
    if name in _MODELS:
        return _MODELS[name]
    numbers = name.lower().split("x")
    if len(numbers) != 2 or not all(part.isascii() and part.isdigit() for part in numbers):
        raise ValueError(f"{name[:100]!r} is no shape: give {', '.join(_MODELS)}, or two numbers such as 2560x10240")
    hidden, intermediate = (int(part[:9]) for part in numbers)
    if not (min(hidden, intermediate) >= _MIN_WIDTH and max(hidden, intermediate) <= _MAX_WIDTH):
        raise ValueError(f"{name[:100]!r} is no shape: both numbers must be from {_MIN_WIDTH} to {_MAX_WIDTH}")
    return ModelShape(name, hidden, intermediate, attention=0, layers=1, vocabulary=0)


def _gemma(
    name: str, hidden: int, intermediate: int, heads: tuple[int, int], layers: int, vocabulary: int
) -> ModelShape:
    queries, keys = (count * 256 for count in heads)
    return ModelShape(name, hidden, intermediate, hidden * 2 * (queries + keys), layers, vocabulary)


_MIN_WIDTH, _MAX_WIDTH = 32, 1 << 16
_MODELS = {
    "270m": _gemma("270m", 640, 2048, (4, 1), 18, 262_144),
    "4b": _gemma("4b", 2560, 10_240, (8, 4), 34, 262_208),
    "12b": _gemma("12b", 3840, 15_360, (16, 8), 48, 262_208),
}
MODEL_NAMES = tuple(_MODELS)
