"""What was asked of the graph language, the export and decoding: of each row its command and its result."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

from dagger_edge.runtime.bench.rows import OURS, decode_result
from dagger_edge.runtime.bench.table import number

from .files import RESULTS, document, sentences

# What was measured in words, and whether that is what was asked; None where no file says it.
Found = tuple[str, bool | None]


class Claim(NamedTuple):
    """A row that was asked for.

    Attributes:
        what, bar: of the row.
        found: says what a result file holds; a test's row has none.
        result: that file.
        command: that measures it.
        lift: what would bring it to the bar, where it is below.
    """

    what: str
    bar: str
    found: Callable[[Any], Found] | None
    result: str | None
    command: str
    lift: str = ""


_EXPORT = "python benchmarks/export_4b.py --work DIR"
_PRECISION = "python benchmarks/precision_270m.py --work DIR --questions 12"
_DECODE = "python benchmarks/decode_4b.py --int4 DIR --int8 DIR --gguf FILE --llama LIBDIR"
_EXECUTOR = "python benchmarks/graph_executor.py"
_START = "python benchmarks/start_up.py --bundle BUNDLE --threads 2 --tokens 256"


def _faster(how: str, bar: float, **settings: object) -> Callable[[Any], Found]:
    """How many times as fast as plain Python."""

    def found(_: Any) -> Found:
        result = decode_result((RESULTS / "graph_executor.json").read_bytes())
        ratios = []
        for row in result.rows:
            if row.settings.get("how") != how or any(row.settings.get(key) != value for key, value in settings.items()):
                continue
            asked = {key: value for key, value in row.settings.items() if key != "how"}
            (peer,) = [other for other in result.rows if other.run == 0 and other.settings == asked]
            ratios.append(median(p / o for p, o in zip(peer.samples, row.samples, strict=True)))
        assert result.runs[1].engine == OURS
        return " and ".join(f"{ratio:.3g}" for ratio in ratios), min(ratios) >= bar

    return found


def _export(precision: str, minutes: float) -> Callable[[Any], Found]:
    def found(results: Any) -> Found:
        one = results[precision]
        peak, took = one["peak_rss_bytes"] / 2**30, one["seconds"] / 60
        return f"{peak:.2f} GiB, {took:.0f} minutes", peak < 4 and took < minutes

    return found


def _bundle_size(results: Any) -> Found:
    files = results["int4"]["files"]
    size = (results["int4"]["bundle_bytes"] - files.get("prefix.npy", 0)) / 1e9
    return f"{size:.3f} GB", size <= 2.6


def _parity(results: Any) -> Found:
    divergence, equal, tokens = (results[key] for key in ("kl_divergence", "greedy_equal", "greedy_tokens"))
    return f"{divergence:.1e} nats, {equal:,} of {tokens:,}", divergence < 1e-8 and equal == tokens


def _precision(name: str, divergence: float, top1: float = 0.0) -> Callable[[Any], Found]:
    def found(results: Any) -> Found:
        one = results["variants"][name]
        met = one["kl"] <= divergence and one["top1"] >= top1
        return f"{one['kl']:.2g} nats, {one['top1']:.1%}, {one['weights_bytes'] / 1e6:.1f} MB", met

    return found


def _against_q4_0(ours_in: str) -> Callable[[Any], Found]:
    """The result of ours that the types of llama.cpp are held against."""

    def found(results: Any) -> Found:
        theirs, ours = results["types"]["Q4_0"], document(ours_in)["variants"]["int4"]
        met = ours["kl"] < theirs["kl"] and ours["weights_bytes"] <= theirs["weights_bytes"]
        return f"{ours['kl']:.2f} nats; Q4_0: {theirs['kl']:.2f} nats, {theirs['weights_bytes'] / 1e6:.1f} MB", met

    return found


def _rows_speed(results: Any) -> Found:
    """Of 256 tokens through the same number of weights."""

    def cost(name: str) -> float:
        kernel = results["kernels"][name]
        (ms,) = [step["ms"] for step in kernel["steps"] if step["tokens"] == 256]
        return float(ms / kernel["weights"])

    dense, blocks = cost("dense") / cost("rows"), cost("blocks-8-32") / cost("rows")
    return f"{dense:.2f} times as fast as fp32, {blocks:.2f} times as 8-bit blocks", dense > 1.5 and blocks > 2


def _bar(name: str) -> Callable[[Any], Found]:
    """A bar of a race."""

    def found(results: Any) -> Found:
        (bar,) = [bar for bar in results["bars"] if bar["what"] == name]
        return f"{bar['ratio']:.2f} ({bar['lowest']:.2f} to {bar['highest']:.2f})", bar["met"]

    return found


def _plain_with_all_logits(results: Any) -> Found:
    """Against both peers."""
    bars = [_bar(f"plain decode against {peer}, ours with all logits")(results) for peer in ("genai", "llama.cpp")]
    return " and ".join(words for words, _ in bars), all(met for _, met in bars)


def _memory(results: Any) -> Found:
    """A process that was started and answered a question; the interpreter alone is more than the demo."""
    found = [one for one in results["results"] if one["bundle"] != "dagger-edge-demo"]
    words = ", ".join(f"{one['precision']} {one['peak_by_bundle']:.2f}" for one in found)
    return f"{words} times the bundle", max(one["peak_by_bundle"] for one in found) <= 1.2


def _ready(results: Any) -> Found:
    words, met = [], True
    for one in results["results"]:
        bar = 0.5 if one["bundle"] == "dagger-edge-demo" else 3.0
        seconds = one["ready_s"]["median"]
        met = met and seconds <= bar
        words.append(f"{one['bundle']} {one['precision']} {seconds:.2f} s")
    return ", ".join(words), met


def _steps(results: Any) -> Found:
    """With all guesses."""
    ways = [cost["forced tokens, lookup, structure"]["tokens_a_step"] for cost in results["costs"].values()]
    return f"{' and '.join(map(number, ways))} ({results['graphs']} graphs)", min(ways) >= 4.4


def _exact(results: Any) -> Found:
    one = results["quick_against_slow"]
    return f"270M: {one['equal']} of {one['questions']}, {one['tokens']} tokens", one["equal"] == one[
        "questions"
    ] >= 100


def _hostile(results: Any) -> Found:
    slowest = max(value for name, value in results["slowest_ms"].items())
    met = not results["failures"] and results["inputs"] >= 1_000_000 and slowest < 50
    return f"{results['inputs']:,} inputs, {results['failures']} failures, slowest {slowest:.0f} ms", met


GRAPH = [
    Claim(
        "one graph, parsed before",
        "no slower than plain Python",
        _faster("evaluate", 1.0, parse="excluded"),
        "graph_executor.json",
        _EXECUTOR,
    ),
    Claim(
        "one graph, parsing included",
        "no slower than plain Python",
        _faster("evaluate", 1.0, parse="included"),
        "graph_executor.json",
        _EXECUTOR,
        "equal within the spread, and not above: every check of the language is made, and a parser in C would lift it",
    ),
    Claim(
        "`execute_many` on 1,250 graphs",
        "10 times",
        _faster("execute_many", 10.0, parse="excluded"),
        "graph_executor.json",
        _EXECUTOR,
        "`GraphBatch`, which is prepared once, is far above; grouping graphs by shape is most of the rest",
    ),
    Claim("`sweep` over 1,000,000 inputs", "100 times", _faster("sweep", 100.0), "graph_executor.json", _EXECUTOR),
    Claim(
        "hostile inputs",
        "1,000,000, no crash, 50 ms",
        _hostile,
        "graph_hostile.json",
        "python benchmarks/graph_hostile.py",
    ),
    Claim(
        "differential", "10,000 graphs of all operations", None, None, "pytest tests/graph/test_graph_differential.py"
    ),
    Claim("quirks of the reference", "each row a test", None, None, "python benchmarks/against_authors.py --clone DIR"),
]
EXPORT = [
    Claim("4B to INT4, calibrated", "4 GiB, 60 minutes", _export("int4", 60), "export_4b.json", _EXPORT),
    Claim(
        "4B to INT8",
        "4 GiB, 15 minutes",
        _export("int8", 15),
        "export_4b.json",
        _EXPORT,
        "fewer ranges, or fewer passes over the weights, in the search of each output's range",
    ),
    Claim("4B to FP16", "4 GiB, 15 minutes", _export("fp16", 15), "export_4b.json", _EXPORT),
    Claim("4B INT4 bundle without its snapshot", "2.6 GB", _bundle_size, "export_4b.json", _EXPORT),
    Claim(
        "fp32 against torch, 270M",
        "1e-8 nats, greedy ids equal",
        _parity,
        "parity_270m_fp32.json",
        "python benchmarks/parity_270m.py --work DIR",
    ),
    Claim("FP16, 270M", "0.001 nats, 98 %", _precision("fp16", 0.001, 0.98), "precision_270m.json", _PRECISION),
    Claim("INT8, 270M", "0.02 nats", _precision("int8", 0.02), "precision_270m.json", _PRECISION),
    Claim(
        "INT8's products, 256 tokens",
        "1.58 of fp32, 2.39 of 8-bit blocks in the first trial",
        _rows_speed,
        "kernels.json",
        "dagger-edge measure --threads 2 --json",
    ),
    Claim("INT4, 270M", "0.15 nats", _precision("int4", 0.15), "precision_270m.json", _PRECISION),
    Claim(
        "INT4 against llama.cpp's Q4_0",
        "less at no larger a size",
        _against_q4_0("precision_270m.json"),
        "llamacpp_270m.json",
        "python benchmarks/llamacpp_270m.py --work DIR --questions 12",
    ),
    Claim(
        "the same, weights on no grid",
        "less at no larger a size",
        _against_q4_0("precision_270m_off_grid.json"),
        "llamacpp_270m_off_grid.json",
        "python benchmarks/llamacpp_270m.py --work DIR --questions 12 --checkpoint CHECKPOINT",
    ),
    Claim("LoRA merged while streaming", "peft's merge", None, None, "pytest -m export tests/export/test_adapter.py"),
    Claim(
        "60 kills, full disk, damaged shards",
        "whole or absent",
        None,
        None,
        "DAGGER_EDGE_KILLS=60 pytest -m export tests/export/test_interruption.py",
    ),
]
DECODING = [
    Claim(
        "plain decode, one token a step under the grammar, against onnxruntime-genai",
        "1",
        _bar("plain decode against genai"),
        "decode_4b.json",
        _DECODE,
    ),
    Claim("the same against llama.cpp", "1", _bar("plain decode against llama.cpp"), "decode_4b.json", _DECODE),
    Claim(
        "both with the logits of every token that graphs can hold, at every step",
        "1",
        _plain_with_all_logits,
        "decode_4b.json",
        _DECODE,
        "not what an answer needs; keys and values in 8 bits, which make prompts slower (docs/decoding.md)",
    ),
    Claim(
        "prefill of 512 tokens against the best peer", "1.6", _bar("512 tokens of a prompt"), "decode_4b.json", _DECODE
    ),
    Claim(
        "first token, snapshot against whole prompt, INT4",
        "12",
        _bar("first token, whole prompt against snapshot, ours INT4"),
        "decode_4b.json",
        _DECODE,
    ),
    Claim(
        "the same, INT8",
        "12",
        _bar("first token, whole prompt against snapshot, ours INT8"),
        "decode_4b.json",
        _DECODE,
        "a machine with less noise: the question's tokens are a 13th of the prompt (docs/decoding.md)",
    ),
    Claim("whole answer against the best peer", "4, reach for 5", _bar("whole answer"), "decode_4b.json", _DECODE),
    Claim(
        "whole answer, the peer's prompt cache warm",
        "2, reach for 2.5",
        _bar("whole answer, prompt cache warm"),
        "decode_4b.json",
        _DECODE,
    ),
    Claim(
        "tokens a model step", "4.4", _steps, "model_steps.json", "python benchmarks/model_steps.py --tokenizer FILE"
    ),
    Claim(
        "peak memory, started and a question answered",
        "1.2",
        _memory,
        "start_up.json",
        _START,
    ),
    Claim(
        "start to first question",
        "3 s at 4B, 0.5 s for the demo",
        _ready,
        "start_up.json",
        _START,
        "weights already in the kernels' layout: onnxruntime copies them at every start",
    ),
    Claim(
        "same ids as slow decoding",
        "100 questions each on the demo and the 270M",
        _exact,
        "exact_270m.json",
        "python benchmarks/exact_270m.py --bundle DIR --questions 100; DAGGER_EDGE_EXACT_QUESTIONS=100 pytest"
        " tests/runtime/test_exact.py",
    ),
    Claim(
        "always a graph",
        "10,000 adversarial runs",
        None,
        None,
        "DAGGER_EDGE_ADVERSARIAL_RUNS=10000 pytest tests/runtime/test_grammar.py",
    ),
    Claim(
        "sampling with and without drafts",
        "20,000 draws, chi-square",
        None,
        None,
        "pytest tests/runtime/test_sampling.py",
    ),
]


def claims(rows: list[Claim]) -> list[str]:
    """The rows with what was measured, and those that are missed with what would lift them."""
    made = []
    for claim in rows:
        words, met = "the test holds it", None
        if claim.found is not None and claim.result is not None:
            results = document(claim.result)
            words, met = ("not measured yet", False) if results is None else claim.found(results)
        verdict = {True: "met", False: "**missed**", None: ""}[met]
        lift = f": {claim.lift}" if met is False and claim.lift else ""
        result = "" if claim.result is None else f"`{claim.result}`"
        made.append([claim.what, claim.bar, words, f"{verdict}{lift}", f"`{claim.command}`", result])
    return sentences(("row", "asked", "measured", "", "command", "result"), made)
