"""A text with a graph in it, to the document of its run: what `dagger-edge run` and the server share."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from ..runtime.graph import Graph, Reading, execute, read, sensitivity, with_values
from ..runtime.graph.node import Number, Ties
from .documents import Run


@dataclass(frozen=True, slots=True)
class Runner:
    """How texts are run.

    Attributes:
        exact: on rational numbers, not on doubles.
        strict: take no text that needs a repair.
        ties: how ``round`` takes halves.
        settings: numbers that constants are to have, by id.
        with_influences: say what each constant does to the answer.
    """

    exact: bool
    strict: bool
    ties: Ties
    settings: dict[str, Number]
    with_influences: bool

    def run(self, text: str | bytes) -> tuple[Graph, Run]:
        """The graph in ``text`` and what running it gives. Raises GraphError, or UsageError for a setting."""
        reading = Reading(Graph.parse(text), "strict") if self.strict else read(text)
        graph = with_values(reading.graph, self.settings) if self.settings else reading.graph
        result = execute(graph, exact=self.exact, ties=self.ties)
        parts = msgspec.structs.asdict(result) | {"level": reading.level, "fixes": reading.fixes}
        if self.with_influences:
            parts["sensitivity"] = sensitivity(graph, ties=self.ties)
        return graph, Run(**parts)
