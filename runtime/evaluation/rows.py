"""What became of a question: one row of a run, and what the run was made with."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from ..bench.rows import Provenance
from ..graph.schema import Level
from ..options import MAX_SAMPLES

# rejected: the text is no graph. failed: a graph without a value. wrong, correct: by `score.same_answer`.
Outcome = Literal["correct", "wrong", "failed", "rejected"]

FORMAT: Literal[1] = 1

Text = Annotated[str, Meta(max_length=8_000)]
Count = Annotated[int, Meta(ge=0, le=1 << 40)]
Share = Annotated[float, Meta(ge=0, le=1)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Flags(Struct, frozen=True, forbid_unknown_fields=True):
    """Distractors among the constants of a graph, by their numbers.

    Attributes:
        marked: that the graph marks.
        wanted: that the gold graph marks.
        found: that both mark.
    """

    marked: Count
    wanted: Count
    found: Count


class EvalRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One question and what became of it.

    Attributes:
        set, row: its test set, and its number in it from 1.
        question, gold, kind: the question, its answer, the kind of distractor that was added to it.
        outcome: see `Outcome`.
        level: how far from the language the text was; null where it is no graph.
        fixes: codes of what was mended.
        answer: that of the graph; null where it has none.
        error: why not.
        text: the model's output; of a vote, that of the first graph with the answer.
        flags: distractors; null where there is no gold graph.
        tokens: of the text.
        steps: runs of the model, of a vote those for all graphs together.
        seconds: from the question to the answer.
        confidence: share of a vote's graphs with this answer.
    """

    set: Text
    row: Annotated[int, Meta(ge=1, le=1 << 20)]
    question: Text
    gold: int | float
    outcome: Outcome
    text: str
    kind: Text | None = None
    level: Level | None = None
    fixes: tuple[Text, ...] = ()
    answer: int | float | None = None
    error: Text | None = None
    flags: Flags | None = None
    tokens: Count | None = None
    steps: Count | None = None
    seconds: Annotated[float, Meta(ge=0)] | None = None
    confidence: Share | None = None

    @property
    def key(self) -> tuple[str, int]:
        """What rows are told apart by."""
        return self.set, self.row


class SetEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """A test set of a run: its name, the sha256 of its file, and how many questions are in the file."""

    name: Text
    sha256: Sha256
    questions: Count


class Draws(Struct, frozen=True, forbid_unknown_fields=True):
    """How tokens were drawn; as of `sampling.Sampling`."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    seed: int


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What decides the rows of a run. Two runs with equal settings have equal answers.

    Attributes:
        sets: the test sets.
        outputs_sha256: of the file that the texts came from; null where a bundle wrote them.
        bundle, precision, weights_sha256: of the bundle, else null.
        prompt: the template that questions were put into.
        provider, threads: of the bundle's session.
        max_new_tokens, grammar, drafts, draws, samples: how was decoded; without ``draws`` the likeliest tokens were
            taken, without ``samples`` there was no vote.
    """

    sets: tuple[SetEntry, ...]
    outputs_sha256: Sha256 | None = None
    bundle: Text | None = None
    precision: Text | None = None
    weights_sha256: Sha256 | None = None
    prompt: Text | None = None
    provider: Text | None = None
    threads: Annotated[int, Meta(ge=1)] | None = None
    max_new_tokens: Count | None = None
    grammar: bool | None = None
    drafts: bool | None = None
    draws: Draws | None = None
    samples: Annotated[int, Meta(ge=1, le=MAX_SAMPLES)] | None = None

    @property
    def title(self) -> str:
        """The run in a few words."""
        if self.bundle is None:
            return "outputs from elsewhere"
        how = "grammar" if self.grammar else "free"
        draws = "greedy" if self.draws is None else f"temperature {self.draws.temperature:g}"
        votes = "" if self.samples is None else f", vote of {self.samples}"
        return f"{self.bundle}, {self.precision}, {how}, {draws}{votes}"


class Header(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line of a file of rows.

    Attributes:
        evaluation: the format's version.
        settings: what decides the rows.
        dagger_edge: the version that wrote them.
        created: when the file was begun.
        provenance: code, versions and machine; null where no model was run.
    """

    evaluation: Literal[1]
    settings: Settings
    dagger_edge: Text
    created: Text
    provenance: Provenance | None = None
