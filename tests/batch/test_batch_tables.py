"""Questions out of files: JSON Lines, csv, parquet; and what is no row."""

import json
from pathlib import Path

import pytest

from dagger_edge.cli.rows import MAX_ROW_BYTES
from dagger_edge.cli.tables import Table, format_of
from dagger_edge.runtime.batch.work import BadRow
from dagger_edge.runtime.errors import UsageError

QUESTION = 'রহিমের কাছে ৯টি আম, "লাল", ছিল।\nসে ২টি খেল।'


def found(table):
    """Each row as number, id and its text or its error's code."""
    rows = []
    for row in table.rows():
        row_id = json.loads(bytes(row.id)) if row.id else None
        rows.append((row.number, row_id, row.failure.code if isinstance(row, BadRow) else row.text))
    return rows


def table(tmp_path, data, form, **names):
    path = tmp_path / f"in.{form}"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    made = Table(path, format_of(path, None), **names)
    assert made.count() == len(list(made.rows()))
    return made


def test_json_lines(tmp_path):
    """A row without a question that ends the batch, or numbers that are not the lines' in an editor."""
    lines = [
        "\ufeff" + json.dumps({"id": 7, "question": QUESTION}),
        "",
        json.dumps(QUESTION),
        "{",
        '{"id":"x","text":"a"}',
        '{"question":" "}',
        '{"question":5}',
        '{"question":"' + "ক" * 8001 + '"}',
        "[" * 5000,
    ]
    data = "\n".join(lines).encode() + b'\n{"question":"\xff"}\n' + b" " * MAX_ROW_BYTES + b"{}"
    assert found(table(tmp_path, data, "jsonl")) == [
        (1, 7, QUESTION),
        (3, None, QUESTION),
        (4, None, "not_json"),
        (5, "x", "no_question"),
        (6, None, "no_question"),
        (7, None, "no_question"),
        (8, None, "no_question"),
        (9, None, "not_json"),
        (10, None, "not_utf8"),
        (11, None, "row_too_long"),
    ]
    named = table(tmp_path, '{"a":{"q":"x","n":[1]}}\n', "jsonl", question="a.q", id="a.n")
    assert found(named) == [(1, [1], "x")]


def test_csv(tmp_path):
    """A question that is cut at a comma or a line end, or a flaw that takes the rows behind it along."""
    quoted = '"' + QUESTION.replace('"', '""') + '"'
    text = f'\ufeffid,question,answer\r\na,{quoted},1\r\n\r\nb,one, and two,1\r\nc,"x"y,1\r\n,plain,1\r\ne,,1\r\nf\r\n'
    data = text.encode() + b"g,\xff\xfe,1\nh,last,1\ni," + b"x" * (MAX_ROW_BYTES + 9) + b',1\nj,end,1\nk,"open,1\n'
    assert found(table(tmp_path, data, "csv")) == [
        (1, "a", QUESTION),
        (2, "b", "bad_csv"),
        (3, None, "bad_csv"),
        (4, None, "plain"),
        (5, "e", "no_question"),
        (6, "f", "bad_csv"),
        (7, None, "not_utf8"),
        (8, "h", "last"),
        (9, None, "row_too_long"),
        (10, "j", "end"),
        (11, None, "bad_csv"),
    ]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "no header of csv: empty"),
        (b"\xff\xfei\0d\0", "no header of csv: not UTF-8"),
        (b"id;question\n1;x\n", 'no column "question"; it has "id;question": name it with --question-field'),
        (b"question,question\n", 'more than one column "question"'),
    ],
)
def test_csv_without_a_column_of_questions_is_told_before_anything_is_done(tmp_path, data, told):
    """A million rows of errors for one wrong name."""
    with pytest.raises(UsageError, match=told):
        list(table(tmp_path, data, "csv").rows())


def test_columns_of_csv_by_name(tmp_path):
    """A benchmark file with names of its own."""
    made = table(tmp_path, "modified_question,no\nx,4\n", "csv", question="modified_question", id="no")
    assert found(made) == [(1, "4", "x")]


def test_parquet(tmp_path):
    """Ids that change their type, and nulls that are questions."""
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "in.parquet"
    columns = {"id": [1, 2, None] * 1000, "x": [1.5, 2.5, 3.5] * 1000, "question": [QUESTION, None, "b"] * 1000}
    parquet.write_table(pa.table(columns), path, row_group_size=700)
    rows = found(Table(path, "parquet"))
    assert rows[:3] == [(1, 1, QUESTION), (2, 2, "no_question"), (3, None, "b")]
    assert [row[0] for row in rows] == list(range(1, 3001))
    assert found(Table(path, "parquet", id="x"))[1] == (2, 2.5, "no_question")
    assert Table(path, "parquet").count() == 3000
    with pytest.raises(UsageError, match='no column "q"; it has "id", "x", "question": name it with --question-field'):
        list(Table(path, "parquet", question="q").rows())
    data = bytearray(path.read_bytes())
    data[100:2000] = bytes(1900)
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"in\.parquet: "):
        list(Table(path, "parquet").rows())
    path.write_bytes(b"PAR1")
    with pytest.raises(UsageError, match=r"in\.parquet: not a parquet file that can be read"):
        list(Table(path, "parquet").rows())


def test_formats_by_ending():
    """A file that is read as what it is not."""
    assert [format_of(Path(name), None) for name in ("a.JSONL", "a.ndjson", "a.csv", "a.pq")] == [
        *("jsonl", "jsonl", "csv", "parquet")
    ]
    assert format_of(Path("a.txt"), "csv") == "csv"
    with pytest.raises(UsageError, match=r"a\.txt: its ending is none of"):
        format_of(Path("a.txt"), None)
