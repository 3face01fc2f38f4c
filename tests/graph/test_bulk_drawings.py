"""`show` over JSON Lines: trees, drawings in rows, files named by ids that nobody can trust."""

import json

from click.testing import CliRunner
from row_samples import FAILING, QUESTION, TEXT, invoke, lines_of, rows_of

from dagger_edge.cli import show
from dagger_edge.runtime.errors import UsageError


def test_show_draws_every_row():
    """Trees that cannot be told apart, or a drawing that JSON Lines break."""
    data = lines_of({"id": "a", "output": TEXT}, {"id": "b", "output": "no graph"}, {"id": "c", "output": FAILING})
    trees = invoke(show, data)
    assert trees.exit_code == 1
    assert "1\ta\tstrict\tanswer: 7\nfinal_result: 5 + 2 = 7 (৭)\n" in trees.stdout
    assert "3\tc\tfailed\tno answer: node" in trees.stdout
    rows = rows_of(invoke(show, data, "--json", "--format", "svg", "--question", QUESTION))
    assert rows[0]["result"]["drawing"].startswith("<svg")
    assert "আম" in rows[0]["result"]["drawing"]
    assert rows[1]["error"]["code"] == "no_graph"
    assert (rows[2]["result"]["answer"], rows[2]["result"]["level"]) == (None, "strict")


def test_drawings_with_hostile_ids(tmp_path):
    """A file outside of the folder, over another, or without a name."""
    ids = ["../../x", "/etc/passwd", "..", "", "a" * 500, "একটি", "q 1\n\x00", "q_1", "CON", 7, None]
    out = tmp_path / "drawings"
    data = lines_of(*({"id": row_id, "output": TEXT} for row_id in ids))
    done = invoke(show, data, "--json", "--format", "html", "--out", str(out))
    assert done.exit_code == 0
    names = [row["result"]["file"] for row in rows_of(done)]
    assert names[:4] == ["000001-x.html", "000002-etc_passwd.html", "000003.html", "000004.html"]
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    assert list(tmp_path.iterdir()) == [out]
    assert all(path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>") for path in out.iterdir())
    assert all("drawing" not in row["result"] for row in rows_of(done))


def test_no_drawing_overwrites_anything(tmp_path):
    """Somebody's files replaced by drawings."""
    (tmp_path / "000001.svg").write_text("mine")
    done = invoke(show, lines_of(TEXT), "--format", "svg", "--out", str(tmp_path))
    assert isinstance(done.exception, UsageError)
    assert (tmp_path / "000001.svg").read_text() == "mine"


def test_show_json_of_a_single_graph():
    """A page that a program has to find between other lines."""
    done = CliRunner().invoke(show.command, ["-", "--json", "--format", "mermaid"], input=TEXT)
    document = json.loads(done.stdout)
    assert (document["format"], document["answer"], document["level"]) == ("mermaid", 7, "strict")
    assert document["drawing"].startswith("flowchart")
