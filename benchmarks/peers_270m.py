"""How fast a question is answered by the real Gemma 3 270M: our runtime against all peers there are.

    PYTHONPATH=src python benchmarks/standins.py WORK --shape 270m --checkpoint DIR --llama LIBDIR
    PYTHONPATH=src python benchmarks/peers_270m.py WORK --checkpoint DIR --llama LIBDIR

One run in which the engines, each in a process of its own, take turns, as in decode_4b.py, whose docstring says what
the parts are. The weights are real, of a base model that has not learned to write graphs, so that the answer is given.
Each peer at its best: two threads for all; onnxruntime-genai on our INT4 and INT8 bundles, which make the last logits
alone, and its own build in INT4 where there is one; llama.cpp natively built, with weights repacked; transformers in
fp32 (bf16 is slower on a processor without its instructions: --bf16 adds it). A peer's prompt cache is off in the
whole prompt, and on in what follows its fixed part. Six to ten minutes on two cores, on which nothing else may run.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from peers.files import write
from peers.race import ROOM, ROOT, Commands, Race, chosen, into_page_cache, provenance
from peers.task import Task
from standins import GENAI, bundle_of, gguf_of


def commands(options: argparse.Namespace, task: Task) -> Commands:
    """How each engine is started; those of which nothing is there are left out."""
    threads = ["--threads", str(options.threads)]
    positions = ["--positions", str(len(task.prompt) + len(task.answer) + ROOM)]
    found: dict[str, tuple[str, list[str]]] = {}
    for precision in ("int4", "int8"):
        bundle = str(bundle_of(options.work, precision))
        found[f"ours {precision.upper()}"] = ("ours", [bundle, *threads])
        found[f"genai {precision.upper()}"] = ("genai", [bundle, *threads, *positions])
    if (options.work / GENAI).is_dir():
        found["genai's build INT4"] = ("genai", [str(options.work / GENAI), *threads, *positions])
    for kind in ("Q4_0", "Q8_0"):
        arguments = [str(options.llama.resolve()), str(gguf_of(options.work, kind)), *threads, *positions]
        found[f"llama.cpp {kind}"] = ("llamacpp", arguments)
    for kind in ("fp32", "bf16") if options.bf16 else ("fp32",):
        found[f"transformers {kind}"] = ("transformers_cpu", [str(options.checkpoint), "--dtype", kind, *threads])
    return chosen(found, options.only)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="what standins.py made")
    parser.add_argument("--checkpoint", type=Path, required=True, help="what it was made of")
    parser.add_argument("--llama", type=Path, required=True, help="folder of llama.cpp's shared libraries")
    parser.add_argument("--bf16", action="store_true", help="transformers in bf16 too")
    parser.add_argument("--only", help="names of engines with commas between them")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=64, help="single steps that are timed in a round (default 64)")
    parser.add_argument("--threads", type=int, default=2, help="of every engine (default 2)")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/race_270m.json", help="the document")
    parser.add_argument(
        "--bench", type=Path, default=ROOT / "benchmarks/results/peers_270m.json", help="in bench's form"
    )
    options = parser.parse_args()
    command = "PYTHONPATH=src python benchmarks/peers_270m.py WORK --checkpoint DIR --llama LIBDIR"
    command += " --bf16" * options.bf16 + (f' --only "{options.only}"' if options.only else "")
    about = provenance(options.threads, options.rounds, options.steps, "Gemma 3 270M", command)
    task = Task.of(bundle_of(options.work, "int4"))
    for path in (options.checkpoint, *sorted(options.work.iterdir())):
        into_page_cache(path)
    race = Race(commands(options, task), task, options.rounds, options.steps, options.threads)
    document, tables = race.run(about)
    write(document, options.out, options.bench)
    print(tables)  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
