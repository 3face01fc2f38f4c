"""`dagger-edge pack`, then install and solve where there is no network: `python benchmarks/pack_offline.py --work DIR`.

It builds the wheel of this checkout, installs it with its extras `cpu` and `pack` into a bare environment, as users do,
and packs there: a tar for the Python given by `--python`, and a folder for another processor and Python, whose wheels'
tags are looked at. Then, in a network namespace with no interface but loopback and with an empty environment: unpack,
`install.sh`, `solve`, `verify`, and `doctor` where there is one. With `--root DIR` all of that happens inside the
system in DIR (`debootstrap --variant=minbase --include=python3 STABLE DIR`), which has Python and nothing else.

Needs a package index for the first part, `unshare`, and root or user namespaces. Prints what it did as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
QUESTION = "রহিমের কাছে ৫টি আম ছিল। সে করিমকে ২টি আম দিল। রহিমের কাছে এখন কতটি আম আছে?"
DEMO = "lib/python{}.{}/site-packages/dagger_edge/bundles/demo".format(*sys.version_info)
OTHER = ("linux-aarch64", "3.12")
# Fails where anything but loopback is there, or a connection to the world does not fail at once.
NO_NETWORK = """
import socket, sys
assert [name for _, name in socket.if_nameindex()] == ["lo"], socket.if_nameindex()
try:
    socket.create_connection(("192.0.2.1", 443), timeout=3)
except OSError as error:
    print(error.strerror)
else:
    sys.exit("there is a network")
"""
# {python} is there on the target; {pack} and {prefix} are new.
ON_SITE = """
set -eu
cd {here}
{python} -c "$NO_NETWORK"
{python} -c 'import tarfile; tarfile.open("pack.tar").extractall()'
sh pack/install.sh --python {python} --prefix {prefix}
sh pack/install.sh --python {python} --prefix {prefix}
{prefix}/bin/dagger-edge solve "$QUESTION" --json >answer.json
{prefix}/bin/dagger-edge verify {prefix}/current/bundle
if {prefix}/bin/dagger-edge --help | grep -q '^  doctor'; then
    {prefix}/bin/dagger-edge doctor --bundle {prefix}/current/bundle
fi
"""
# Another system below $0, with what the kernel gives every system.
ENTER = 'cd "$0"; mount -t proc proc proc; mount -t sysfs sysfs sys; mount --bind /dev dev; exec chroot . "$@"'


def run(*command: object, **more: object) -> str:
    """Runs it and gives its output."""
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True, check=False, **more)  # type: ignore[call-overload]
    if done.returncode:
        sys.exit(f"{command[0]} failed: {done.stdout}")
    return str(done.stdout)


def timed(times: dict[str, float], name: str, *command: object, **more: object) -> str:
    """As `run`; notes the seconds."""
    began = time.perf_counter()
    out = run(*command, **more)
    times[name] = round(time.perf_counter() - began, 1)
    return out


def target_of(python: str) -> str:
    """The version of an interpreter, as ``--python`` of `pack` takes it."""
    return run(python, "-c", "import sys; print('{}.{}'.format(*sys.version_info))").strip()


def make_packs(work: Path, python: str, times: dict[str, float]) -> dict[str, object]:
    """The tar for ``python`` and the folder for the other target, by a plainly installed dagger-edge."""
    environment = work / "packer"
    run(sys.executable, "-m", "venv", environment)
    pip, tool = environment / "bin" / "pip", environment / "bin" / "dagger-edge"
    run(pip, "wheel", "-q", "--no-deps", "-w", work, ROOT)
    (wheel,) = work.glob("dagger_edge-*.whl")
    timed(times, "pip install", pip, "install", "-q", f"{wheel}[cpu,pack]")
    bundle = environment / DEMO
    options = ["--python", python, "--bundle", bundle, "--tar", "--json"]
    packed: dict[str, object] = json.loads(timed(times, "pack", tool, "pack", work / "pack.tar", *options))
    again: dict[str, object] = json.loads(run(tool, "pack", work / "again.tar", *options))
    assert packed["sums_sha256"] == again["sums_sha256"], "two packs of the same differ"
    on, other = OTHER
    run(tool, "pack", work / "other", "--platform", on, "--python", other)
    return packed


def check_other(folder: Path) -> list[str]:
    """That every wheel for the other target can be installed there; gives those with machine code."""
    from packaging.tags import cpython_tags, parse_tag
    from packaging.utils import parse_wheel_filename

    on, python = OTHER
    version = tuple(map(int, python.split(".")))
    platforms = [f"manylinux_2_{minor}_{on.partition('-')[2]}" for minor in range(5, 43)]
    names = ["manylinux2014_" + on.partition("-")[2], *platforms]
    allowed = {*cpython_tags(version, platforms=names), *parse_tag("py3-none-any"), *parse_tag("py2.py3-none-any")}
    native = []
    for wheel in sorted((folder / "wheels").glob("*.whl")):
        tags = parse_wheel_filename(wheel.name)[3]
        assert tags & allowed, wheel.name
        native += [] if wheel.name.endswith("-any.whl") else [wheel.name]
    return native


def install_on_site(work: Path, python: str, root: Path | None, times: dict[str, float]) -> dict[str, object]:
    """Unpacks, installs and solves without network and environment; gives the answer's document."""
    site = work / "site" if root is None else root / "srv/site"
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(parents=True)
    shutil.copy(work / "pack.tar", site)
    here = site if root is None else Path("/srv/site")
    script = ON_SITE.format(here=here, python=python, prefix=here / "prefix")
    bare = ["PATH=/usr/bin:/bin", f"HOME={here}", "LC_ALL=C", f"QUESTION={QUESTION}", f"NO_NETWORK={NO_NETWORK}"]
    alone = ["unshare", "-n", "-m"] if os.geteuid() == 0 else ["unshare", "-r", "-n", "-m"]
    inside = [] if root is None else ["sh", "-c", ENTER, root]
    sys.stderr.write(timed(times, "on site", *alone, *inside, "env", "-i", *bare, "sh", "-c", script))
    document: dict[str, object] = json.loads((site / "answer.json").read_text(encoding="utf-8"))
    assert document["answer"] == 3, document
    return document


def main() -> None:
    """All of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="a folder, made if it is not there")
    parser.add_argument("--python", default="/usr/bin/python3", help="the target's interpreter [/usr/bin/python3]")
    parser.add_argument("--root", type=Path, help="the target's system, below this folder; --python is inside it")
    parser.add_argument("--version", help="the target's Python, where its interpreter is inside --root")
    options = parser.parse_args()
    work = options.work.resolve()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    times: dict[str, float] = {}
    packed = make_packs(work, options.version or target_of(options.python), times)
    native = check_other(work / "other")
    answer = install_on_site(work, options.python, options.root, times)
    result = {"seconds": times, "packed": packed, "other_target": native, "answer": answer["answer"]}
    sys.stdout.write(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
