"""Our runtime: one token at a time like the others, and an answer with all that it has (snapshot, grammar, drafts)."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dagger_edge.runtime.bundle import WEIGHTS_FILE, Bundle
from dagger_edge.runtime.context import Context
from dagger_edge.runtime.cost import DEFAULT, StepCost
from dagger_edge.runtime.decode import Constraint, Limits, check_finite, decode
from dagger_edge.runtime.draft import GraphDrafter, Record
from dagger_edge.runtime.grammar import GraphGrammar
from dagger_edge.runtime.logits import LAST, last
from dagger_edge.runtime.opening import open_parts
from dagger_edge.runtime.ort import onnxruntime_version
from dagger_edge.runtime.prompt import Prompt

from .worker import Answer, Request, serve

_MAX_NEW_TOKENS = 1024


class Ours:
    """A bundle in our runtime."""

    def __init__(self, folder: Path, threads: int) -> None:
        self._bundle, self._threads = Bundle.open(folder, verify=False), threads
        # As `dagger-edge solve` does, so that load and memory are what users have.
        session, tokenizer, spelling = open_parts(self._bundle, threads=threads)
        if spelling is None:
            raise SystemExit(f"{folder}: its tokenizer is of a kind that graphs are not written with")
        self._spelling = spelling
        self._words = spelling.bits_without(session.core_tokens)
        self._grammar = GraphGrammar(spelling, _MAX_NEW_TOKENS, self._words)
        self._snapshot = self._bundle.snapshot(Prompt(tokenizer, self._bundle.prompt_template).prefix_ids)
        self._limit = self._bundle.manifest.architecture.context_length
        self._context = Context(session, limit=self._limit)
        self._kept, self._cost = 0, DEFAULT

    @property
    def extra(self) -> dict[str, Callable[[Request], Answer]]:
        return {"held": self._held, "steps": self._steps, "rows": self._rows, "answer": self._answer}

    def feed(self, ids: Sequence[int]) -> NDArray[np.float32]:
        return self._context.feed(ids)[-1]

    def clear(self) -> None:
        self._context.rewind(0)

    def keep(self, length: int) -> None:
        if self._snapshot is not None and len(self._snapshot.ids) != length:
            raise SystemExit(f"the bundle's snapshot is of {len(self._snapshot.ids)} ids, not {length}")
        self._kept = length
        self._load()

    def restore(self) -> None:
        self._context.rewind(self._kept)

    def _load(self) -> None:
        """The fixed part out of the bundle's file, as the first question after a start needs it."""
        if self._snapshot is not None:
            self._context.load(self._snapshot.state)
        else:
            self.restore()

    def about(self) -> dict[str, Any]:
        manifest = self._bundle.manifest
        return {
            "version": f"onnxruntime {onnxruntime_version()}",
            "bundle": manifest.name,
            "weights_sha256": manifest.files[WEIGHTS_FILE].sha256,
            "precision": manifest.precision.name,
            "recipe": manifest.precision.recipe,
            "bundle_bytes": self._bundle.size_bytes,
            "snapshot": self._snapshot is not None,
            "settings": {"intra_op_num_threads": self._threads, "verify": False},
        }

    def _held(self, request: Request) -> Answer:
        """{"do": "held", "ids": [...], "begins": bool}: reads the last ids again, one by one, under the grammar.

        {"seconds": [of each]}, the grammar's own time with it. Nothing is skipped or guessed; the logits are those of
        the tokens that the grammar may let in behind an id. ``begins``: the answer begins with these ids.
        """
        if request["begins"]:
            self._grammar = GraphGrammar(self._spelling, _MAX_NEW_TOKENS, self._words)
        self._context.rewind(self._context.length - len(request["ids"]))
        seconds = []
        for token in request["ids"]:
            begin = time.perf_counter()
            self._grammar.accept(token)
            logits = self._context.feed([token], LAST, LAST if self._grammar.core_only else ())[-1]
            _look(logits)
            seconds.append(time.perf_counter() - begin)
        return {"seconds": seconds}

    def _steps(self, request: Request) -> Answer:
        """{"do": "steps", "ids": [...], "sizes": [1, 2, ...], "repeats": n}: median seconds of a step of each size, in
        turn, all of its logits made; what is measured here decides how much `_answer` drafts."""
        begin, sizes = self._context.length, request["sizes"]
        taken: dict[int, list[float]] = {size: [] for size in sizes}
        for _ in range(request["repeats"]):
            for size in sizes:
                started = time.perf_counter()
                self._context.feed(request["ids"][:size], last(size))
                taken[size].append(time.perf_counter() - started)
                self._context.rewind(begin)
        seconds = [median(taken[size]) for size in sizes]
        self._cost = StepCost(tuple(sizes), tuple(np.maximum.accumulate(seconds).tolist()))
        return {"sizes": sizes, "seconds": seconds}

    def _rows(self, request: Request) -> Answer:
        """{"do": "rows", "id": n, "counts": [1, 2, ...], "repeats": n}: median seconds of a step in which so many rows
        read one id each, as answers do that are decoded together."""
        begin, seconds = self._context.length, []
        for count in request["counts"]:
            self._context.fork(count)
            taken = []
            for _ in range(request["repeats"] + 1):
                started = time.perf_counter()
                self._context.feed_rows([request["id"]] * count)
                taken.append(time.perf_counter() - started)
            # The first is not counted: its buffers are new.
            seconds.append(median(taken[1:]))
            self._context.keep_first(begin)
        return {"counts": request["counts"], "seconds": seconds}

    def _answer(self, request: Request) -> Answer:
        """{"do": "answer", "question": "...", "prompt": [...], "ids": [...]}: writes ids as the answer to the question.

        The model runs at every step, and what greedy decoding does with its logits is done; then the next of ids is
        taken, since random weights would never write a graph.
        """
        wanted = request["ids"]

        def choose(logits: NDArray[np.float32], constraint: Constraint, position: int) -> int:
            _look(logits)
            token: int = wanted[position]
            if not constraint.allows(token):
                raise SystemExit(f"the grammar does not allow id {token} at {position}")
            return token

        begin = time.perf_counter()
        self._load()
        loaded = time.perf_counter() - begin
        # As of the first question after a start: nothing is known yet of how often guesses are right.
        drafter = GraphDrafter(request["question"], self._spelling, self._cost, Record(), _text)
        limits = Limits((), _MAX_NEW_TOKENS, self._limit)
        grammar = GraphGrammar(self._spelling, _MAX_NEW_TOKENS, self._words)
        written, steps = [], []
        for event in decode(
            self._context, request["prompt"], limits, constraint=grammar, choose=choose, drafter=drafter
        ):
            written += event.ids
            if event.step:
                steps.append(event.step)
        seconds = time.perf_counter() - begin
        if written != wanted:
            raise SystemExit("another answer was written than the one that was wanted")
        return {"seconds": [loaded, seconds], "steps": len(steps), "fed": sum(steps)}


def _look(logits: NDArray[np.float32]) -> None:
    """What greedy decoding does with logits where the likeliest token may come."""
    check_finite(logits)
    logits.argmax()


def _text(grammar: Any) -> str:
    text: str = grammar.text.decode(errors="replace")
    return text


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    serve(Ours(options.bundle, options.threads))


if __name__ == "__main__":
    main()
