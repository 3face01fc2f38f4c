"""What the authors published, to stand beside what is measured here. Nothing in this file was measured here.

Accuracies in percent: the model cards of dipta007/DAGGER at 3173f86 (``hf_cards/models``), whose table of all models is
that of the paper's page (arXiv 2601.06853). They are of the checkpoints in bf16, decoded greedily by vLLM without a
grammar, in the authors' prompt, and read by the authors' parser, which mends what ours refuses (docs/quirks.md).
"""

from __future__ import annotations

from typing import Literal, get_args

from msgspec import Struct

Benchmark = Literal["MGSM", "MSVAMP", "MGSM +D", "MSVAMP +D"]
BENCHMARKS: tuple[Benchmark, ...] = get_args(Benchmark)
SOURCE = "published: model cards of dipta007/DAGGER at 3173f86, arXiv 2601.06853; not measured here"
# How many questions the figures are of.
QUESTIONS: dict[Benchmark, int] = {"MGSM": 250, "MSVAMP": 1000, "MGSM +D": 738, "MSVAMP +D": 2947}

_FIGURES = {
    "dagger-4B_GRPO": (29.2, 57.1, 13.1, 29.3),
    "dagger-4B_SFT": (40.4, 65.0, 25.1, 42.4),
    "dagger-4B_SFT_GRPO": (54.8, 70.3, 31.4, 42.9),
    "dagger-12B_GRPO": (67.6, 75.0, 48.4, 59.6),
    "dagger-12B_SFT": (70.0, 76.8, 56.8, 65.4),
    "dagger-12B_SFT_GRPO": (78.4, 78.8, 64.0, 66.8),
}
# By the kind of distractor: 1 less the error rates of its card (36, 34 and 33 %).
KIND_MODEL = "dagger-12B_SFT_GRPO"
KIND_ACCURACY = {"RED": 64.0, "OAD": 66.0, "NEED": 67.0}
# What the authors' files and scripts call the kinds.
_KINDS = {"RED": "RED", "OAD": "OAD", "CDD": "OAD", "NEED": "NEED", "NED": "NEED"}
_AUGMENTED = ("distract", "augment", "dmgsm", "dmsvamp", "+d")


class Published(Struct, frozen=True):
    """An accuracy that the authors published.

    Attributes:
        model: the checkpoint.
        benchmark: the test set.
        questions: how many questions it is of.
        accuracy: a share of 1.
    """

    model: str
    benchmark: Benchmark
    questions: int
    accuracy: float


def benchmark_of(name: str, *, augmented: bool) -> Benchmark | None:
    """The published test set that a set called ``name`` is, by its name; None where it says nothing.

    Args:
        name: of the set or its file.
        augmented: whether its questions have kinds of distractors.
    """
    low = name.lower()
    base = next((known for known in ("MSVAMP", "MGSM") if known.lower() in low), None)
    if base is None:
        return None
    added = augmented or any(word in low for word in _AUGMENTED)
    wanted = f"{base} +D" if added else base
    return next(known for known in BENCHMARKS if known == wanted)


def published_for(benchmark: Benchmark) -> tuple[Published, ...]:
    """The authors' figures on ``benchmark``, the smallest models first."""
    place = BENCHMARKS.index(benchmark)
    return tuple(
        Published(model, benchmark, QUESTIONS[benchmark], round(figures[place] / 100, 4))
        for model, figures in _FIGURES.items()
    )


def kind_name(kind: str) -> str:
    """The published name of a kind of distractor; any other as it is."""
    return _KINDS.get(kind.strip().upper(), kind)
