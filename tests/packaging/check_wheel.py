"""Installs the one wheel in a folder into a bare environment and answers a question with it: `check_wheel.py DIST`.

Guards: the wheel holds the demo bundle, the templates and every package of the list; it runs without torch; its
runtime stays below 250 MB of site-packages.
"""

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

QUESTION = "রহিমের কাছে ৫টি আম ছিল। সে করিমকে ২টি আম দিল। রহিমের কাছে এখন কতটি আম আছে?"
MAX_SITE_PACKAGES_MB = 250


def main(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "-q", f"{wheel}[cpu]"], check=True)
        tool = Path(folder) / "bin" / "dagger-edge"
        out = subprocess.run([tool, "solve", QUESTION, "--json"], check=True, capture_output=True, cwd=folder)
        answer = json.loads(out.stdout)["answer"]
        assert answer == 3, f"the installed wheel answered {answer}, not 3"
        (site,) = Path(folder).glob("lib/python*/site-packages")
        size_mb = sum(file.stat().st_size for file in site.rglob("*") if file.is_file()) / 1e6
        assert size_mb < MAX_SITE_PACKAGES_MB, f"site-packages has {size_mb:.0f} MB"
        for name in ("torch", "transformers", "optimum", "onnx"):
            assert not (site / name).exists(), f"{name} was installed with the runtime"
        print(  # noqa: T201
            f"1 passed, 0 failed (wheel {wheel.stat().st_size / 1e6:.1f} MB, site-packages {size_mb:.0f} MB)"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
