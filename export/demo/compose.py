"""Turns a shape into one problem: draws words and numbers, writes the question, builds the graph."""

from __future__ import annotations

import inspect
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ...runtime.graph import Graph, Node, execute
from ...runtime.graph.node import FINAL_ID
from .distractors import DISTRACTORS, SCENERY
from .lexicon import CASES, CATEGORIES, Noun
from .numbers import NumberStyle, Value, tidy
from .order import in_one_order
from .shape import HELD_OUT, Ask, Distractor, NumberSpec, Shape, SlotSpec

_MARKUP = re.compile(r"\{([^{}]+)\}")
_MAX_DRAWS = 5000
# A sentence that begins so leans on the one before it.
_LEANING = tuple(
    "সে তিনি তার তাঁর তারা তাদের তাঁরা তাঁদের তাকে তাঁকে এর এগুলি এগুলো সেগুলি সেগুলো সেখান তারপর এরপর পরে তখন তবে তাহলে "
    "এদের এতে এভাবে".split()
)
_VOWELS = "া ি ু ে ো".split()
_CONSONANTS = list("কখগঘচছজঝটঠডদধনপফবভমযরলশসহ")


@dataclass(frozen=True, slots=True)
class Problem:
    """A question, the graph that answers it, and where it came from."""

    question: str
    graph: Graph
    answer: float
    shape: str


class Composer:
    """Makes problems of one or more shapes from a seeded generator.

    Args:
        rng: the source of every draw: same state, same problem.
        held_out: write with the wordings kept out of training instead of the trained ones.
        distractor_weights: how often a problem gets 0, 1, 2 and 3 distractor sentences.
    """

    def __init__(
        self,
        rng: random.Random,
        *,
        held_out: bool = False,
        distractor_weights: Sequence[float] = (40, 28, 20, 12),
    ) -> None:
        self._rng = rng
        self._held_out = held_out
        self._distractor_weights = distractor_weights

    def compose(self, shape: Shape) -> Problem:
        """One problem of ``shape``, its words, numbers, wordings and distractors drawn anew."""
        rng = self._rng
        words = self._bind(shape.slots)
        ask = rng.choice(list(shape.asks))
        numbers = self._draw_numbers(shape, ask)
        text = _Text(rng, words, numbers)
        sentences = [text.render(self._wording(options)) for options in shape.story]
        question = text.render(self._wording(ask.wordings))
        labels = {name: text.label(label) for name, label in {**shape.labels, **ask.labels}.items()}
        sentences = self._add_distractors(shape, [*sentences, question], words, text, labels)
        steps = [(step.name, step.expression.split(), text.label(step.label)) for step in ask.steps]
        parts = sentences
        # Now and then a distractor follows the question, as in the authors' data.
        if parts[-2].is_distractor and rng.random() < 0.1:
            parts = [*parts[:-2], parts[-1], parts[-2]]
        full = " ".join(part.text for part in parts)
        graph = _build_graph([constant for part in parts for constant in part.constants], labels, steps)
        return Problem(full, graph, float(execute(graph).answer), shape.name)

    def _bind(self, slots: Mapping[str, SlotSpec]) -> dict[str, Noun]:
        words: dict[str, Noun] = {}
        for slot, spec in slots.items():
            taken = {noun.text for noun in words.values()}
            while (noun := self._word(spec)).text in taken:
                pass
            words[slot] = noun
        return words

    def _word(self, spec: SlotSpec) -> Noun:
        if not isinstance(spec, str):
            return Noun(self._rng.choice(list(spec)))
        # A name that no list holds teaches the model to copy what it has never seen.
        if spec == "person" and self._rng.random() < 0.15:
            return Noun(self._invented_name())
        return self._rng.choice(CATEGORIES[spec])

    def _invented_name(self) -> str:
        syllables = self._rng.randint(2, 4)
        name = "".join(self._rng.choice(_CONSONANTS) + self._rng.choice([*_VOWELS, ""]) for _ in range(syllables))
        return name + self._rng.choice(["", "", self._rng.choice(_CONSONANTS)])

    def _draw_numbers(self, shape: Shape, ask: Ask) -> dict[str, Value]:
        for _ in range(_MAX_DRAWS):
            numbers: dict[str, Value] = {}
            for name, spec in shape.numbers.items():
                numbers[name] = _draw(self._rng, spec, numbers)
            if all(_call(rule, numbers) for rule in (shape.where, ask.where) if rule is not None):
                return numbers
        raise ValueError(f"shape {shape.name}: no numbers satisfy its conditions in {_MAX_DRAWS} draws")

    def _wording(self, options: Sequence[str]) -> str:
        kept = [option for option in options if option.startswith(HELD_OUT)]
        trained = [option for option in options if not option.startswith(HELD_OUT)]
        return self._rng.choice(kept if self._held_out and kept else trained).removeprefix(HELD_OUT)

    def _add_distractors(
        self,
        shape: Shape,
        sentences: list[_Part],
        words: Mapping[str, Noun],
        text: _Text,
        labels: dict[str, str],
    ) -> list[_Part]:
        rng = self._rng
        count = rng.choices(range(4), weights=self._distractor_weights)[0]
        fitting = [d for d in DISTRACTORS if d.kind in shape.distractors and set(d.needs) <= set(words)]
        result = list(sentences)
        for index, distractor in enumerate(rng.sample(fitting, min(count, len(fitting)))):
            part, label = self._distractor_part(distractor, f"d{index}", words, text)
            labels[f"d{index}"] = label
            result.insert(self._place(result), part)
        if rng.random() < 0.1:
            result.insert(self._place(result), _Part(rng.choice(SCENERY), []))
        return result

    def _place(self, sentences: Sequence[_Part]) -> int:
        """Where a sentence may be put in: never between a pronoun, or a clause, and what it leans on."""
        free = [
            index
            for index, part in enumerate(sentences)
            if not part.text.startswith(_LEANING) and not (index and sentences[index - 1].text.endswith(","))
        ]
        return self._rng.choice(free or [0])

    def _distractor_part(
        self, distractor: Distractor, name: str, words: Mapping[str, Noun], text: _Text
    ) -> tuple[_Part, str]:
        taken = {noun.text for noun in words.values()}
        extra = dict(words)
        for slot, category in (("o", "person"), ("s", "thing")):
            while (noun := self._word(category)).text in taken:
                pass
            extra[slot] = noun
        value = _draw(self._rng, distractor.numbers, {})
        local = text.with_scope(extra, {"d": value})
        part = local.render(self._wording(distractor.wordings))
        renamed = _Part(part.text, [(name, value) for _ in part.constants], is_distractor=True)
        return renamed, local.label(distractor.label)


@dataclass(frozen=True, slots=True)
class _Part:
    """A sentence and the constants in it, in the order of reading."""

    text: str
    constants: list[tuple[str, Value]]
    is_distractor: bool = False


class _Text:
    """Fills the markup of `shape.py` from bound words and drawn numbers."""

    def __init__(
        self,
        rng: random.Random,
        words: Mapping[str, Noun],
        numbers: Mapping[str, Value],
        style: NumberStyle | None = None,
    ) -> None:
        self._rng = rng
        self._words = words
        self._numbers = numbers
        self._style = style or NumberStyle(rng)

    def with_scope(self, words: Mapping[str, Noun], numbers: Mapping[str, Value]) -> _Text:
        """The same number style over other words and numbers."""
        return _Text(self._rng, words, numbers, self._style)

    def render(self, template: str) -> _Part:
        """``template`` with its markup filled; repeated numbers count once."""
        constants: dict[str, Value] = {}

        def fill(match: re.Match[str]) -> str:
            return self._fill(match.group(1), constants)

        return _Part(_MARKUP.sub(fill, template), list(constants.items()))

    def label(self, template: str) -> str:
        """A label: words only."""
        return _MARKUP.sub(lambda match: self._word_form(match.group(1)), template)

    def _fill(self, markup: str, constants: dict[str, Value]) -> str:
        if "|" in markup:
            head, text = markup.split("|", 1)
            name, value = head.split("=", 1)
            constants[name] = tidy(Fraction(value))
            return text
        if markup.startswith("কত#"):
            return self._interrogative(self._words[markup.removeprefix("কত#")])
        name, hash_mark, thing = markup.partition("#")
        if name in self._numbers:
            constants[name] = self._numbers[name]
            return self._number(self._numbers[name], thing) if hash_mark else self._plain(name)
        return self._word_form(markup)

    def _plain(self, name: str) -> str:
        return self._style.write(self._numbers[name])[0]

    def _number(self, value: Value, thing: str) -> str:
        noun = self._words[thing] if thing else Noun("")
        text, is_word = self._style.write(value)
        if noun.is_measured:
            return f"{text}{noun.classifier} {noun.text}"
        classifier = noun.classifier
        if classifier == "টি" and self._rng.random() < 0.12:
            classifier = "টা"
        if text == "দুই" and self._rng.random() < 0.6:
            text = "দু"
        digits = not is_word and not text.endswith("হাজার")
        space = " " if self._style.space_before_classifier and digits else ""
        if classifier == "জন" and digits and self._rng.random() < 0.5:
            space = " "
        return f"{text}{space}{classifier} {noun.text}".rstrip()

    def _interrogative(self, noun: Noun) -> str:
        if noun.is_measured:
            return f"কত{noun.classifier} {noun.text}"
        if noun.classifier == "জন":
            return self._rng.choice(("কতজন ", "কত জন ")) + noun.text
        return self._rng.choice(("কতটি ", "কতটি ", "কয়টি ", "কতগুলি ", "কতগুলো ", "কতটা ")) + noun.text

    def _word_form(self, markup: str) -> str:
        slot, dot, case = markup.partition(".")
        word = self._words[slot].text
        return CASES[case](word) if dot else word


def _call(function: Callable[..., object], numbers: Mapping[str, Value]) -> object:
    return function(**{name: numbers[name] for name in inspect.signature(function).parameters})


def _draw(rng: random.Random, spec: NumberSpec, numbers: Mapping[str, Value]) -> Value:
    if isinstance(spec, str):
        bounds, _, step = spec.partition("/")
        low, high = (Fraction(bound) for bound in bounds.split(".."))
        unit = Fraction(step or 1)
        return tidy(low + unit * rng.randint(0, int((high - low) / unit)))
    value = _call(spec, numbers)
    if isinstance(value, tuple):
        return rng.randint(*value) if value[0] <= value[1] else value[0]
    assert isinstance(value, int | float | Fraction)
    return tidy(value)


def _build_graph(
    constants: Sequence[tuple[str, Value]],
    labels: Mapping[str, str],
    steps: Sequence[tuple[str, list[str], str]],
) -> Graph:
    """Constants in the order of reading, then the steps in the demo's one order."""
    values = dict(constants)
    used = {arg for _, (_, *args), _ in steps for arg in args}
    nodes = [
        Node(id=name, op="const", val=value, distractor=name not in used, label=labels[name])
        for name, value in values.items()
    ]
    for name, (op, *args), label in steps:
        nodes.append(Node(id=name, op=op, args=tuple(args), distractor=False, label=label))
    answer = steps[-1][0]
    nodes.append(Node(id=FINAL_ID, op="identity", args=(answer,), distractor=False, label="চূড়ান্ত উত্তর"))
    return in_one_order(nodes)
