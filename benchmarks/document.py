"""docs/benchmarks.md: puts tables and sentences of the committed results between its marks, and draws its pictures.

    PYTHONPATH=src python benchmarks/document.py            # after a result was measured anew; needs matplotlib
    PYTHONPATH=src python benchmarks/document.py --check    # exit code 1 where it is not up to date

What stands between `<!-- made: NAME -->` and `<!-- end -->` is made of benchmarks/results/*.json; all else is written
by hand and stays.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable

from documents import claims, curves, tables
from documents.files import DOCS

from dagger_edge.runtime.files import write_whole

PAGE, PICTURES = DOCS / "benchmarks.md", DOCS / "bench"
_BLOCK = re.compile(r"(<!-- made: ([a-z0-9-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_BENCH = "dagger-edge bench --threads 1,2"
_SCALING = "PYTHONPATH=src python benchmarks/scaling.py"

BLOCKS: dict[str, Callable[[], list[str]]] = {
    "provenance": tables.provenance,
    "demo": lambda: [
        *tables.bundle("bench_demo.json", f"{_BENCH} --samples 1,2,4,8 --out bench_demo.json"),
        *_picture("demo.svg", "Where the time of the demo goes, steps, prompts, threads, votes"),
    ],
    "270m": lambda: [
        *tables.bundle(
            "bench_270m.json", "dagger-edge bench --bundle DIR --threads 1,2 --questions 1 --samples 1 --repeats 9"
        ),
        *_picture("270m.svg", "Where the time of the 270M goes, steps, prompts, threads, votes"),
    ],
    "peers-4b": lambda: [
        *tables.race("peers_4b.json", "PYTHONPATH=src python benchmarks/decode_4b.py"),
        *_picture("peers-4b.svg", "Whole answers at the 4B shape, by engine"),
    ],
    "peers-270m": lambda: [
        *tables.race("peers_270m.json", "PYTHONPATH=src python benchmarks/peers_270m.py"),
        *_picture("peers-270m.svg", "Whole answers of the 270M, by engine"),
    ],
    "executor": lambda: tables.executor("graph_executor.json", "PYTHONPATH=src python benchmarks/graph_executor.py"),
    "scaling-demo": lambda: _scaling("demo", f"{_SCALING} --out scaling_demo.json"),
    "scaling-270m": lambda: _scaling("270m", f"{_SCALING} --bundle DIR --out scaling_270m.json"),
    "scaling-4b": lambda: _scaling(
        "4b", f"{_SCALING} --bundle DIR --threads 2 --repeats 3 --warm-up 0 --nodes 4,6,8,10 --out scaling_4b.json"
    ),
    "plan": lambda: tables.plan("plan_check.json", "PYTHONPATH=src python benchmarks/plan_check.py RESULT"),
    "agreement": lambda: tables.agreement("agreement.json", "PYTHONPATH=src python benchmarks/agreement.py --tries 20"),
    "claims-graph": lambda: claims.claims(claims.GRAPH),
    "claims-export": lambda: claims.claims(claims.EXPORT),
    "claims-decoding": lambda: claims.claims(claims.DECODING),
}


def _scaling(name: str, command: str) -> list[str]:
    pictures = _picture(f"scaling-{name}.svg", "Cost by question, graph and answers that are decoded together")
    return [*tables.scaling(f"scaling_{name}.json", command), *pictures]


def _picture(name: str, words: str) -> list[str]:
    """Where what it shows was measured."""
    (source,) = curves.PICTURES[name]
    return ["", f"![{words}](bench/{name})"] if tables.bench(source) is not None else []


def made(page: str) -> str:
    """``page`` with all that is between its marks made anew.

    Raises:
        SystemExit: a mark has a name that nothing is made for, or a table has no mark.
    """
    names = [found[2] for found in _BLOCK.finditer(page)]
    if sorted(names) != sorted(BLOCKS):
        wrong = sorted({*names} ^ {*BLOCKS})
        raise SystemExit(f"{PAGE.name}: marks and tables differ in {', '.join(wrong) or 'a mark that is there twice'}")
    return _BLOCK.sub(lambda found: found[1] + "\n".join(BLOCKS[found[2]]()).strip("\n") + "\n" + found[3], page)


def stale() -> list[str]:
    """What is not of the committed results."""
    page = PAGE.read_text(encoding="utf-8")
    found = [] if made(page) == page else [PAGE.name]
    for name, (source,) in curves.PICTURES.items():
        if tables.bench(source) is not None and not curves.written_for(PICTURES / name):
            found.append(name)
    return found


def write() -> None:
    """The page and its pictures."""
    PICTURES.mkdir(exist_ok=True)
    for name in curves.PICTURES:
        if (svg := curves.draw(name)) is not None:
            write_whole(PICTURES / name, svg)
    write_whole(PAGE, made(PAGE.read_text(encoding="utf-8")))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing, and say what is not up to date")
    if parser.parse_args().check:
        found = stale()
        if found:
            sys.stderr.write(f"not up to date: {', '.join(found)}: run benchmarks/document.py\n")
        return int(bool(found))
    write()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
