"""docs/benchmarks.md and its pictures are of the committed results; races are read in the form of `bench`."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from dagger_edge.runtime.bench.compare import compare
from dagger_edge.runtime.bench.rows import BenchResult, decode_result
from dagger_edge.runtime.bench.table import markdown

ROOT = Path(__file__).parents[2]


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield
    for name in [name for name in sys.modules if name.split(".")[0] in {"peers", "documents", "document", "standins"}]:
        del sys.modules[name]


def test_the_page_says_what_was_measured_last():
    """Figures that were measured anew, beside the old ones in the docs."""
    command = [sys.executable, ROOT / "benchmarks/document.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT / "src")})
    assert done.returncode == 0, done.stderr


def test_a_changed_result_is_told(scripts, tmp_path, monkeypatch):
    """A check that finds nothing whatever was changed."""
    import document
    from documents import files, tables

    assert document.stale() == []
    results = shutil.copytree(files.RESULTS, tmp_path / "results")
    for module in (files, tables):
        monkeypatch.setattr(module, "RESULTS", results)
    changed = results / "peers_4b.json"
    changed.write_text(changed.read_text("utf-8").replace('"created": "20', '"created": "19'), "utf-8")
    assert document.stale() == ["benchmarks.md", "peers-4b.svg"]
    changed.unlink()
    assert document.stale() == ["benchmarks.md"]
    assert "Not measured yet" in document.made(document.PAGE.read_text("utf-8"))


def test_a_race_is_a_result_like_any_other(scripts):
    """In a form of its own, it could not be compared with the next one."""
    from peers.result import to_result

    found = json.loads((ROOT / "benchmarks/results/decode_4b.json").read_text("utf-8"))
    made = decode_result(msgspec.json.encode(to_result(found)))
    assert [run.engine for run in made.runs] == ["dagger-edge", "dagger-edge", "onnxruntime-genai", "llama.cpp"]
    assert all(run.options["version"] for run in made.runs)
    peer = next(index for index, run in enumerate(made.runs) if run.engine == "llama.cpp")
    rounds = [row["llama.cpp Q4_0"] for row in found["rounds"]]
    row = made.find(peer, "answer", start="prompt cache")
    assert row.samples == pytest.approx([one["warm answer"] for one in rounds], rel=1e-4)
    assert made.find(peer, "prefill", tokens=512).samples[0] == pytest.approx(512 / rounds[0]["prompt 512"], rel=1e-4)
    assert "## llama.cpp: " in markdown(made)
    found = compare(made, made)
    assert found.regressions == found.untold == 0
    assert len({change.run for change in found.changes}) == 4


def test_stand_ins_are_removed_and_nothing_else(scripts, tmp_path):
    """A folder of somebody's own, named as work by mistake, and emptied."""
    import standins

    (tmp_path / "bundle-int4").mkdir()
    (tmp_path / "bundle-int4/model.onnx").touch()
    (tmp_path / "Q4_0.gguf.made").touch()
    (tmp_path / "thesis.txt").touch()
    standins.remove(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    (tmp_path / "thesis.txt").unlink()
    standins.remove(tmp_path)
    assert not tmp_path.exists()


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks/results").glob("*.json")), ids=lambda path: path.name)
def test_a_committed_result_is_readable_and_names_no_folder(path):
    """A machine's folders in a file that is published, or a result that `compare` refuses."""
    text = path.read_text("utf-8")
    assert not any(folder in text for folder in ("/home/", "/root/", "/" + "tmp/", "/" + "work/"))
    if '"result_version"' in text:
        assert isinstance(decode_result(text.encode()), BenchResult)
