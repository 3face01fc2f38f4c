"""What a word problem is made of: the data types in which the shapes of `shapes/` are written.

A *shape* is a short story told in a few sentences, each with several wordings, and one or more questions
about it, each with the steps that answer it. `compose.py` turns a shape into a problem and its graph.

Markup inside the texts and labels:

==================  =====================================================================================
``{a}``             the word bound to slot ``a``
``{a.র}``           its genitive (রহিমের, মিনার); ``{a.কে}`` accusative; ``{p.তে}`` locative (বাজারে, ঢাকায়)
``{x}``             the number ``x``, as digits or as a word
``{x#t}``           number, classifier and thing: ``৫টি আম``, ``৩ কেজি চাল``, ``৭ জন ছাত্র``
``{x#}``            number with the classifier ``টি``: ``৫টি``, ``পাঁচটি``
``{কত#t}``          the interrogative for a thing: ``কতটি আম``, ``কত কেজি চাল``
``{two=2|দ্বিগুণ}``    a constant that is there without digits: node ``two`` has the value 2, the text says দ্বিগুণ
==================  =====================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

DistractorKind = Literal["related", "attribute", "null"]
ALL_KINDS: tuple[DistractorKind, ...] = ("related", "attribute", "null")

# A wording that starts so is never trained on: the evaluation on unseen sentence shapes uses it.
HELD_OUT = "~"

NumberSpec = str | Callable[..., "int | float | tuple[int, int]"]
SlotSpec = str | Sequence[str]


@dataclass(frozen=True, slots=True)
class Step:
    """One operation: ``Step("left", "sub x y", "{a.র} বাকি {t}")`` is the node ``left`` = x - y with its label."""

    name: str
    expression: str
    label: str


@dataclass(frozen=True, slots=True)
class Ask:
    """A question about the story: its wordings, and the steps to its answer, the last of which is the answer.

    ``labels`` adds to, or overrides, the story's labels for numbers. ``where`` is a condition on the numbers,
    by their names.
    """

    wordings: Sequence[str]
    steps: Sequence[Step]
    labels: Mapping[str, str] = field(default_factory=dict)
    where: Callable[..., bool] | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """A family of word problems.

    Attributes:
        name: unique, snake_case.
        slots: word slots: a category of the lexicon (``"person"``, ``"thing"``, ...) or the words themselves.
        numbers: number slots in the order in which they are drawn: ``"2..60"``, ``"0.5..9.5/0.5"`` (a step), or
            a function of earlier numbers that gives a value or an inclusive range ``(low, high)``.
        story: the sentences, each a list of wordings.
        labels: label of each number (and constant) of the story.
        asks: the questions.
        distractors: the kinds of generic distractor sentence that leave the answer as it is.
        where: a condition on the numbers, for every question.
        weight: how often the shape is drawn, relative to others.
    """

    name: str
    slots: Mapping[str, SlotSpec]
    numbers: Mapping[str, NumberSpec]
    story: Sequence[Sequence[str]]
    labels: Mapping[str, str]
    asks: Sequence[Ask]
    distractors: Sequence[DistractorKind] = ALL_KINDS
    where: Callable[..., bool] | None = None
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Distractor:
    """A sentence with a number (``d``) that no question needs.

    It may use the problem's main person ``a`` and main thing ``t``; ``o`` is a person who is not in the
    problem, ``s`` a thing that is not. ``needs`` names the slots without which it cannot be used.
    """

    kind: DistractorKind
    wordings: Sequence[str]
    numbers: NumberSpec
    label: str
    needs: Sequence[str] = ()
