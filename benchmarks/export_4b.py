"""Memory, time and size of exports of a model of the 4B shape, each in a process of its own.

    PYTHONPATH=src python benchmarks/export_4b.py --work DIR [--precision fp32 --precision int4 ...]

Makes the stand-in checkpoint (benchmarks/standin.py) in DIR where it is not there, exports it with
``dagger-edge export --no-verify``, and removes each bundle after its figures are taken. Peak memory is that of the
process as the kernel counts it (pages of mapped files included). It exits with 1 where a peak reaches 4 GiB.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from standin import SHAPES, write_checkpoint

from dagger_edge.runtime.bench.provenance import provenance

ROOT = Path(__file__).resolve().parent.parent
LIMIT_BYTES = 4 << 30
PRECISIONS = ("fp32", "fp16", "int8", "int4")


def export(checkpoint: Path, bundle: Path, precision: str, *, keep: bool) -> dict[str, Any]:
    """Runs one export as a process and measures it."""
    shutil.rmtree(bundle, ignore_errors=True)
    command = [sys.executable, "-m", "dagger_edge", "export", str(checkpoint), str(bundle)]
    command += ["--precision", precision, "--no-verify"]
    started = time.perf_counter()
    process = os.posix_spawn(sys.executable, command, os.environ)
    _, status, usage = os.wait4(process, 0)
    seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"the export in {precision} failed with status {status}")
    files = {path.name: path.stat().st_size for path in sorted(bundle.iterdir())}
    if not keep:
        shutil.rmtree(bundle)
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_rss_bytes": usage.ru_maxrss * 1024,
        "bundle_bytes": sum(files.values()),
        "files": files,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the checkpoint and the bundles")
    parser.add_argument("--shape", choices=SHAPES, default="4b")
    parser.add_argument("--precision", choices=PRECISIONS, action="append", help="repeatable; by default all")
    parser.add_argument("--keep", action="store_true", help="do not remove the bundles")
    parser.add_argument("--tokenizer", type=Path, help="as of standin.py")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/export_4b.json", help="result file")
    options = parser.parse_args()
    checkpoint = options.work / f"standin-{options.shape}"
    if not checkpoint.exists():
        partial = checkpoint.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        write_checkpoint(partial, options.shape, 4, options.tokenizer)
        partial.rename(checkpoint)
    result = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
    command = f"PYTHONPATH=src python benchmarks/export_4b.py --work DIR --shape {options.shape}"
    result["provenance"] = msgspec.to_builtins(provenance(command))
    for precision in options.precision or PRECISIONS:
        result[precision] = export(checkpoint, options.work / f"bundle-{precision}", precision, keep=options.keep)
        print(precision, json.dumps(result[precision]))  # noqa: T201
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0 if all(result[name]["peak_rss_bytes"] < LIMIT_BYTES for name in PRECISIONS if name in result) else 1


if __name__ == "__main__":
    raise SystemExit(main())
