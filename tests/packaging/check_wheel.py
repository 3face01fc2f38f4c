"""Installs the one wheel in a folder into a bare environment and answers a question with it: `check_wheel.py DIST`.

Guards: the wheel holds every package and data file of pyproject.toml; it runs, and imports, without torch; the runtime
stays below 250 MB of site-packages.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
QUESTION = "রহিমের কাছে ৫টি আম ছিল। সে করিমকে ২টি আম দিল। রহিমের কাছে এখন কতটি আম আছে?"
MAX_SITE_PACKAGES_MB = 250
EVERYTHING = """
from dagger_edge import *
from dagger_edge.export.demo import corpus, msvamp
from dagger_edge.runtime.bundle import template_text
assert len(template_text("card")) > 1000 and len(template_text("paper")) > 1000
assert msvamp.LABELS.exists() and corpus.evaluation_set(3, held_out=True)
"""


def check_contents(wheel: Path) -> None:
    """Every file that pyproject.toml promises is in the wheel."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    held = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    source = ROOT / "src"
    for package in settings["packages"]:
        folder = source / package.replace(".", "/")
        patterns = ["*.py", *settings["package-data"].get(package, [])]
        wanted = {str(path.relative_to(source)) for pattern in patterns for path in folder.glob(pattern)}
        assert wanted, f"{package} has no files"
        assert wanted <= held, f"the wheel lacks {sorted(wanted - held)}"


def check_install(wheel: Path, folder: Path) -> float:
    """Installs the wheel into ``folder``, answers a question; returns the size of site-packages in MB."""
    venv.create(folder, with_pip=True)
    python, tool = folder / "bin" / "python", folder / "bin" / "dagger-edge"
    subprocess.run([python, "-m", "pip", "install", "-q", f"{wheel}[cpu]"], check=True)
    out = subprocess.run([tool, "solve", QUESTION, "--json"], check=True, capture_output=True, cwd=folder)
    answer = json.loads(out.stdout)["answer"]
    assert answer == 3, f"the installed wheel answered {answer}, not 3"
    subprocess.run([python, "-c", EVERYTHING], check=True, cwd=folder)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in ("torch", "transformers", "optimum", "onnx"):
        assert not (site / name).exists(), f"{name} was installed with the runtime"
    return sum(file.stat().st_size for file in site.rglob("*") if file.is_file()) / 1e6


def main(dist: Path) -> None:
    """Checks the wheel in ``dist``."""
    (wheel,) = dist.glob("*.whl")
    check_contents(wheel)
    with tempfile.TemporaryDirectory() as folder:
        size_mb = check_install(wheel.resolve(), Path(folder))
    assert size_mb < MAX_SITE_PACKAGES_MB, f"site-packages has {size_mb:.0f} MB"
    print(f"wheel {wheel.stat().st_size / 1e6:.1f} MB, site-packages {size_mb:.0f} MB: complete, and it answers")  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
