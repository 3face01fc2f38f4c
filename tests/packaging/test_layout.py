"""The layout: links, package list, what an import costs."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FORBIDDEN = ("torch", "transformers", "optimum", "onnx", "huggingface_hub")


def python(code, *path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *map(str, path)])}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


@pytest.mark.parametrize("name", ["runtime", "export", "cli", "docs", "requirements"])
def test_a_checkout_without_symlinks_is_noticed(name):
    link = ROOT / "src" / "dagger_edge" / name
    assert link.is_symlink()
    assert link.resolve() == ROOT / name


def test_no_package_is_missing_from_the_list_that_setuptools_ships():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {"dagger_edge"} | {
        "dagger_edge." + str(init.parent.relative_to(ROOT)).replace("/", ".")
        for top in ("runtime", "export", "cli")
        for init in (ROOT / top).rglob("__init__.py")
    }
    assert set(listed) == found


@pytest.mark.parametrize(
    "code",
    [
        "import dagger_edge",
        "import dagger_edge.cli.main",
        "from dagger_edge import *",
        "from dagger_edge.cli import solve, run, inspect, export",
        "import dagger_edge as de; de.demo().solve('রহিমের কাছে ৫টি আম ছিল। সে ২টি আম খেল। তার কাছে কতটি আম আছে?')",
    ],
)
def test_the_heavy_packages_stay_unloaded_even_where_they_could_be_imported(code, tmp_path):
    for name in FORBIDDEN:
        (tmp_path / f"{name}.py").touch()
    loaded = python(f"{code}\nimport sys; print(*[name for name in {FORBIDDEN!r} if name in sys.modules])", tmp_path)
    assert loaded == ""


def test_the_graph_language_needs_neither_onnxruntime_nor_tokenizers():
    code = """
import sys
from dagger_edge import Graph, execute
print("onnxruntime" in sys.modules, "tokenizers" in sys.modules)
"""
    assert python(code) == "False False"


def test_every_public_name_resolves():
    assert python("import dagger_edge as de; print(all(hasattr(de, name) for name in de.__all__))") == "True"


def test_help_imports_no_engine():
    code = """
import sys
sys.argv = ["dagger-edge", "--help"]
import dagger_edge.cli.main as main
try:
    main.main()
except SystemExit:
    print("loaded:", *[name for name in ("numpy", "onnxruntime", "tokenizers", "msgspec") if name in sys.modules])
"""
    assert python(code).splitlines()[-1] == "loaded:"
