"""Hostile input for the graph language: a million texts, each gives a result or the typed error, quickly.

    PYTHONPATH=src python benchmarks/graph_hostile.py [--inputs 1000000] [--seed 0] [--json FILE]
    PYTHONPATH=src python benchmarks/graph_hostile.py --atheris --inputs 500000      # needs `pip install atheris`

Without ``--atheris`` the texts are gold graphs of the repository, mutated: bits flipped, cut anywhere, spans repeated
or moved, keys doubled, numbers and operations replaced (NaN, thousands of digits, towers of powers), brackets by the
hundred thousand, other quotes, prose around them. With it they are found by coverage. Every text is read (strictly
and with repairs), and a graph that comes of it is executed in every way, checked and drawn. A text fails if anything
but the typed error is raised, if a call takes more than 50 ms of the processor (the best of three; 500 ms where it
draws), if two ways of executing differ, or if a graph that was cut off is read. It is printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from dagger_edge.runtime.bench.provenance import provenance
from dagger_edge.runtime.errors import GraphError
from dagger_edge.runtime.graph import (
    OPS,
    Graph,
    Result,
    check_question,
    evaluate,
    execute,
    execute_many,
    read,
    sensitivity,
)
from dagger_edge.runtime.graph.show import to_html, to_mermaid, to_text

DATA = Path(__file__).resolve().parents[1] / "tests" / "data"
LIMIT_MS = 50.0
# Drawing takes longer than all else together, and is for people: a few of the graphs, and more time for each.
DRAWING_LIMIT_MS = 500.0
DRAWN_SHARE = 0.01
SAMPLE_EVERY = 100_000
QUESTION = "রজারের 5টি টেনিস বল আছে। সে আরও দেড় ডজন কিনেছে, প্রতিটি ১২.৫০ টাকা। মোট কত টাকা?"

NUMBERS = (
    "NaN", "Infinity", "-Infinity", "-0", "-0.0", "0", "1e-400", "1e400", "9" * 41, "9" * 4000, "0." + "0" * 50 + "1",
    "1e308", "9007199254740993", "123456789012345678901234567890", "true", "null", '"১২.৫"', '"1,25,000"', '"3/4"',
    '"1/3"', '"50%"', '"1e3"', '"-5 টাকা"', "১২", "3/4", '"\\ud800"', "[]", "{}", "1e", "--1", "0x10", "1_000",
)  # fmt: skip
SNIPPETS = (
    b"```json\n", b"```", b"'", b'"', b"\\", b"\\u0000", b"\x00", b"\xff", "\u200b".encode(), "\u202e".encode(), b",,",
    b"{", b"}", b"[", b"]", b"[" * 100, b'{"a":' * 30, b"True", b"None", b'"id": "n1", ', b'"val": 7, ', b'"args": [],',
    b'{"nodes": [', b"// comment\n", b"\n\n", b"final_result", "চূড়ান্ত".encode(), b'{"id": "n1", "op": "const"}, ',
)  # fmt: skip


def gold_texts() -> list[bytes]:
    """The gold graphs of the repository, in the style of the prompt."""
    lines = [line for path in sorted(DATA.glob("*_gold.jsonl")) for line in path.read_text("utf-8").splitlines()]
    return [Graph.parse(json.dumps(json.loads(line)["graph"])).to_json(fenced=True).encode() for line in lines]


Mutation = Callable[[random.Random, bytes, bytes], bytes]


def flip_bits(rng: random.Random, text: bytes, _other: bytes) -> bytes:
    changed = bytearray(text)
    for _ in range(rng.choice((1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def insert_snippet(rng: random.Random, text: bytes, _other: bytes) -> bytes:
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(SNIPPETS) + text[at:]


def move_span(rng: random.Random, text: bytes, other: bytes) -> bytes:
    """A span of one graph in another, in the place of a span or between."""
    start, at = rng.randrange(len(other)), rng.randrange(len(text))
    return text[:at] + other[start : start + rng.randrange(1, 200)] + text[at + rng.choice((0, 0, 1, 50)) :]


def repeat_span(rng: random.Random, text: bytes, _other: bytes) -> bytes:
    start = rng.randrange(len(text))
    stop = min(len(text), start + rng.randrange(1, 120))
    return text[:start] + text[start:stop] * rng.choice((2, 3, 50, 400)) + text[stop:]


def _replaced(rng: random.Random, text: bytes, old: list[bytes], new: str) -> bytes:
    """``text`` with one of the texts ``old`` replaced where it stands first."""
    present = [piece for piece in old if piece in text]
    return text.replace(rng.choice(present), new.encode(), 1) if present else text


def replace_number(rng: random.Random, text: bytes, _other: bytes) -> bytes:
    numbers = [line.split(b'"val": ')[1].split(b",")[0] for line in text.splitlines() if b'"val": ' in line]
    return _replaced(rng, text, [b'"val": ' + number for number in numbers], '"val": ' + rng.choice(NUMBERS))


def replace_op(rng: random.Random, text: bytes, _other: bytes) -> bytes:
    names = [name for op in OPS.values() for name in (op.name, *op.aliases, op.name.upper())]
    return _replaced(rng, text, [f'"op": "{op}"'.encode() for op in OPS], f'"op": "{rng.choice([*names, "eval"])}"')


def double_key(rng: random.Random, text: bytes, _other: bytes) -> bytes:
    key = rng.choice(("id", "op", "val", "args", "distractor", "label", "nodes", "type"))
    return _replaced(rng, text, [b'{"id"', b'"op"', b'"label"'], f'"{key}": {rng.choice(NUMBERS)}, "op"')


def pile_brackets(rng: random.Random, text: bytes, _other: bytes) -> bytes:
    piece = rng.choice((b"[", b"{", b"]", b"[]", b"{}", b'{"nodes":', b'[{"', b"'", b'"', b"\\", b"```", b"[1,"))
    pile = piece * rng.choice((20, 1000, 60_000 // len(piece), 100_000))
    return rng.choice((pile, b'{"nodes": [' + pile, text + pile, pile + text))


def build_tower(rng: random.Random, _text: bytes, _other: bytes) -> bytes:
    """A chain of operations that grow, wide or deep, up to the limits and past them."""
    op, arity = rng.choice((("pow", 2), ("mul", 2), ("mul", 64), ("lcm", 3), ("mean", 64), ("add", 70), ("div", 2)))
    values = [rng.choice((2, 7, 1e308, 1.0000001, -3.5, 9007199254740881, 1e-300, 0)) + index for index in range(3)]
    nodes: list[dict[str, Any]] = [{"id": f"c{i}", "op": "const", "val": value} for i, value in enumerate(values)]
    for index in range(rng.choice((3, 40, 120, 252, 300))):
        last = nodes[-1]["id"]
        args = [last, last] if arity == 2 else [last, *rng.choices([node["id"] for node in nodes], k=arity - 1)]
        nodes.append({"id": f"n{index}", "op": op, "args": args})
    nodes.append({"id": "final_result", "op": "identity", "args": [nodes[rng.randrange(len(nodes))]["id"]]})
    document: dict[str, Any] = {"nodes": nodes}
    return (str(document) if rng.random() < 0.3 else json.dumps(document)).encode()


def write_as_python(_rng: random.Random, text: bytes, _other: bytes) -> bytes:
    try:
        return str(json.loads(text[8:-4])).encode()
    except (ValueError, RecursionError):
        return text.replace(b'"', b"'")


def add_prose(rng: random.Random, text: bytes, other: bytes) -> bytes:
    before, after = rng.choices(
        (b"", b"Here is the graph: ", b"[1] {x} ", "উত্তর: ".encode(), b'{"nodes": ', other), k=2
    )
    return before + text + after


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits,
    insert_snippet,
    move_span,
    repeat_span,
    replace_number,
    replace_op,
    double_key,
    pile_brackets,
    build_tower,
    write_as_python,
    add_prose,
)
# The last two cost the most and find the least when repeated.
WEIGHTS = (20, 15, 15, 8, 15, 8, 8, 2, 1, 4, 4)


Value = TypeVar("Value")


class Examiner:
    """Examines texts one by one and counts what became of them."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.failures: list[str] = []
        self.slowest_ms: dict[str, float] = {}

    def examine(self, text: bytes, *, cut_off: bool = False, drawn: bool = False) -> None:
        """Read and run ``text``; ``cut_off``: it is the beginning of a graph, and must be refused."""
        reading = self._call(read, text)
        if reading is None:
            self.outcomes["rejected"] += 1
            return
        if cut_off:
            raise AssertionError("read, though it was cut off")
        graph = reading.graph
        self._call(check_question, graph, QUESTION)
        self._call(_execute_exactly, graph)
        result, value, answers = self._call(execute, graph), self._call(evaluate, graph), self._call(_run_batch, graph)
        expected = None if result is None else float(result.answer)
        if value != (result and result.answer) or answers != expected:
            raise AssertionError(f"execute gives {expected}, evaluate {value}, a batch {answers}")
        if drawn:
            for draw in (to_text, to_mermaid, to_html):
                self._call(draw, graph, result, limit_ms=DRAWING_LIMIT_MS)
            self._call(sensitivity, graph, limit_ms=DRAWING_LIMIT_MS)
        self.outcomes["no value" if result is None else reading.level] += 1

    def fail(self, reason: str, text: bytes) -> None:
        """Note and print a text that fails."""
        self.failures.append(f"{reason}: {text[:2000]!r}")
        print(self.failures[-1], file=sys.stderr)  # noqa: T201

    def _call(self, function: Callable[..., Value], *args: object, limit_ms: float = LIMIT_MS) -> Value | None:
        """What ``function`` returns, None where it raises the typed error. Raises AssertionError if it is too slow."""
        value, taken_ms = _timed(function, args)
        if taken_ms > limit_ms:
            taken_ms = min(taken_ms, *(_timed(function, args)[1] for _ in range(2)))
        name = function.__name__
        self.slowest_ms[name] = max(self.slowest_ms.get(name, 0.0), taken_ms)
        if taken_ms > limit_ms:
            raise AssertionError(f"{name} took {taken_ms:.0f} ms")
        return value


def _timed(function: Callable[..., Value], args: tuple[object, ...]) -> tuple[Value | None, float]:
    value = None
    started = time.process_time()
    try:
        value = function(*args)
    except GraphError as error:
        if not str(error).isprintable():
            raise AssertionError("an error that is more than a line of text") from error
    return value, (time.process_time() - started) * 1e3


def _execute_exactly(graph: Graph) -> Result:
    return execute(graph, exact=True)


def _run_batch(graph: Graph) -> float:
    answers = execute_many([graph])
    for error in answers.errors.values():
        raise error
    return float(answers.values[0])


def run_mutations(examiner: Examiner, inputs: int, seed: int) -> list[float]:
    """Examine ``inputs`` mutations; resident memory in MiB now and then."""
    rng = random.Random(seed)
    texts = gold_texts()
    memory_mib = []
    for index in range(inputs):
        text, other = rng.choice(texts), rng.choice(texts)
        # A fifth are cut, before the last bracket of the graph.
        cut_off = rng.random() < 0.2
        if cut_off:
            text = text[: rng.randrange(text.rindex(b"}"))]
        else:
            for mutation in rng.choices(MUTATIONS, WEIGHTS, k=rng.choice((1, 1, 1, 2, 3))):
                text = mutation(rng, text, other)
        try:
            examiner.examine(text, cut_off=cut_off, drawn=len(text) < 5000 and rng.random() < DRAWN_SHARE)
        except Exception:
            examiner.fail(traceback.format_exc(), text)
        if (index + 1) % SAMPLE_EVERY == 0 or index + 1 == inputs:
            memory_mib.append(_resident_mib())
            print(f"{index + 1:,} texts, {dict(examiner.outcomes)}", file=sys.stderr)  # noqa: T201
    return memory_mib


def _resident_mib() -> float:
    """Resident memory of this process now, in MiB; Linux."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * resource.getpagesize() / 2**20, 1)


def run_atheris(examiner: Examiner, inputs: int, seed: int) -> None:
    """Examine ``inputs`` texts that libFuzzer makes of the gold graphs, guided by coverage. Ends the process."""
    import atheris

    corpus = Path("work") / "hostile-corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for index, text in enumerate(gold_texts()[::10]):
        (corpus / f"gold-{index}").write_bytes(text)
    atheris.instrument_all()
    options = [f"-runs={inputs}", f"-seed={seed + 1}", "-max_len=4096", "-rss_limit_mb=1024", "-timeout=5"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], examiner.examine)
    atheris.Fuzz()


def main() -> None:
    """The command line of this script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="how many texts (default: a million)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--atheris", action="store_true", help="texts found by coverage, with the package atheris")
    parser.add_argument("--json", type=Path, help="write the record there")
    args = parser.parse_args()
    examiner = Examiner()
    if args.atheris:
        run_atheris(examiner, args.inputs, args.seed)
        return
    started = time.monotonic()
    memory_mib = run_mutations(examiner, args.inputs, args.seed)
    record = {
        "python": platform.python_version(),
        "inputs": args.inputs,
        "seed": args.seed,
        "outcomes": dict(examiner.outcomes.most_common()),
        "failures": len(examiner.failures),
        "slowest_ms": {name: round(taken_ms, 1) for name, taken_ms in sorted(examiner.slowest_ms.items())},
        "resident_mib": memory_mib,
        "seconds": round(time.monotonic() - started),
        "provenance": msgspec.to_builtins(
            provenance(f"PYTHONPATH=src python benchmarks/graph_hostile.py --inputs {args.inputs} --seed {args.seed}")
        ),
    }
    print(json.dumps(record, indent=2))  # noqa: T201
    if args.json:
        args.json.write_text(json.dumps(record, indent=2) + "\n")
    sys.exit(1 if examiner.failures else 0)


if __name__ == "__main__":
    main()
