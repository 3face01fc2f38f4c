"""What all engines do: one question with its graph, as near as the demo's corpus comes to 50 and 300 tokens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from dagger_edge.export.demo.corpus import evaluation_set
from dagger_edge.runtime.bundle import Bundle
from dagger_edge.runtime.prompt import Prompt
from dagger_edge.runtime.spelling import Spelling

_QUESTION_TOKENS, _GRAPH_TOKENS = 50, 300
_PROBLEMS = 60


@dataclass(frozen=True)
class Task:
    """A prompt and its answer in ids.

    Attributes:
        question: its text.
        prompt: all of the prompt.
        fixed: how many ids of it stand before the question, the same for all questions.
        answer: the graph in its fence.
        number: of the problem in the corpus' evaluation set.
    """

    question: str
    prompt: list[int]
    fixed: int
    answer: list[int]
    number: int

    @classmethod
    def of(cls, folder: Path) -> Task:
        """The one for the tokenizer and the template of the bundle in ``folder``."""
        bundle = Bundle.open(folder, verify=False)
        tokenizer = Tokenizer.from_file(str(bundle.tokenizer_path))
        prompt = Prompt(tokenizer, bundle.prompt_template)
        spelling = Spelling(tokenizer, bundle.manifest.special_ids.end_of_turn)
        problems = evaluation_set(_PROBLEMS, held_out=False)

        def distance(number: int) -> float:
            question, graph = problems[number].question, problems[number].graph.to_json(fenced=True)
            return abs(len(spelling(question)) / _QUESTION_TOKENS - 1) + abs(len(spelling(graph)) / _GRAPH_TOKENS - 1)

        nearest = min(range(len(problems)), key=distance)
        chosen = problems[nearest]
        answer = spelling(chosen.graph.to_json(fenced=True))
        return cls(chosen.question, prompt.encode(chosen.question), len(prompt.prefix_ids), answer, nearest)
