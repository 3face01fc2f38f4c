"""A batch: every row once, whatever is there already."""

import random
import sys

import msgspec
import pytest
from batch_samples import STATE, Says, lines, rows_of, work

from dagger_edge.runtime.batch.cluster import Cluster
from dagger_edge.runtime.batch.row_set import RowSet
from dagger_edge.runtime.batch.state import InputMark, State, state_path
from dagger_edge.runtime.batch.stopping import Stop
from dagger_edge.runtime.batch.work import BadRow, Failure, Outcome, Row, work_on
from dagger_edge.runtime.errors import BundleError, ModelError, UsageError
from dagger_edge.runtime.journal import JournalError

ROWS = [
    Row(2, "two", msgspec.Raw(b'"q2"')),
    BadRow(3, Failure("not_json", "no")),
    Row(5, "fail"),
    Row(6, "bug", msgspec.Raw(b"17")),
    Row(9, "nine"),
]
NUMBERS = [2, 3, 5, 6, 9]


class Shuffled:
    """An engine that has all rows in hand, and gives outcomes in another order, some of them twice, or none of some."""

    def __init__(self, lost=()):
        self.lost = lost

    def work(self, task, rows, stopped):
        with task.open() as operator:
            found = [work_on(operator, row) for row in rows if row.number not in self.lost]
        random.Random(1).shuffle(found)
        yield from found + found[:2]


def test_a_line_for_each_row_with_its_number_and_id(tmp_path):
    """A failure that ends the batch, or an id that is lost or is another's."""
    done = work(tmp_path, ROWS)
    assert (done.before, done.done, done.failed) == (0, 5, 3)
    out, errors = lines(tmp_path / "out.jsonl"), lines(tmp_path / "out.errors.jsonl")
    assert [(row["row"], row.get("id"), row["result"]["text"]) for row in out] == [(2, "q2", "two"), (9, None, "nine")]
    assert errors == [
        {"row": 3, "error": {"code": "not_json", "message": "no"}},
        {"row": 5, "error": {"code": "no_answer", "message": "nothing for fail"}},
        {"row": 6, "id": 17, "error": {"code": "internal", "message": "ZeroDivisionError: not thought of"}},
    ]


def test_wherever_a_kill_came_the_rest_is_done_and_nothing_twice(tmp_path):
    """Both files cut at every place: a row that is left out, or is there twice."""
    work(tmp_path, ROWS)
    out, errors = ((tmp_path / name).read_bytes() for name in ("out.jsonl", "out.errors.jsonl"))
    moments = random.Random(2)
    for _ in range(150):
        for name, data in (("out.jsonl", out), ("out.errors.jsonl", errors)):
            (tmp_path / name).write_bytes(data[: moments.randint(0, len(data))])
        work(tmp_path, ROWS)
        assert sorted(rows_of(tmp_path)) == NUMBERS
    assert work(tmp_path, ROWS, task=Says(broken=True)).before == 5, "what is done needs no operator"


@pytest.mark.parametrize("ordered", [False, True])
def test_order_and_outcomes_that_come_twice(tmp_path, ordered):
    """An engine that did a row twice after a death, and the row is there twice; or order that is not kept."""
    rows = [Row(number, "fail" if number % 5 == 0 else "text") for number in range(50)]
    work(tmp_path, rows, engine=Shuffled(), ordered=ordered)
    assert sorted(rows_of(tmp_path)) == list(range(50))
    found = [row["row"] for row in lines(tmp_path / "out.jsonl")]
    assert (found == sorted(found)) == ordered


@pytest.mark.parametrize("ordered", [False, True])
def test_rows_that_an_engine_lost_are_told_and_done_the_next_time(tmp_path, ordered):
    """A batch that says that it is complete, and is not."""
    rows = [Row(number, "text") for number in range(10)]
    with pytest.raises(ModelError, match="1 rows came back without an outcome"):
        work(tmp_path, rows, engine=Shuffled(lost=(4,)), ordered=ordered)
    work(tmp_path, rows, ordered=ordered)
    assert sorted(rows_of(tmp_path)) == list(range(10))


def test_stopping_ends_after_the_row_in_hand(tmp_path):
    """A stop that waits for the end of the file; or one after which a row is missing."""
    stop, told = Stop(), []

    def tell(progress):
        told.append(progress.done)
        stop.asked = progress.done == 3

    rows = [Row(number, "text") for number in range(10)]
    assert work(tmp_path, rows, stopped=stop, tell=tell).done == 3
    assert told == [1, 2, 3]
    assert rows_of(tmp_path) == [0, 1, 2]
    work(tmp_path, rows)
    assert rows_of(tmp_path) == list(range(10))


def test_an_operator_that_cannot_be_opened_ends_the_batch(tmp_path):
    """A broken bundle, and a million rows of errors."""
    with pytest.raises(BundleError, match="broken"):
        work(tmp_path, ROWS, task=Says(broken=True))
    assert rows_of(tmp_path) == []


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (State(InputMark(2, "b"), STATE.options, STATE.errors), "the input is another one .2 bytes, it had 1"),
        (State(STATE.input, {"samples": 8}, STATE.errors), "samples is 8, it was null"),
        (State(STATE.input, {**STATE.options, "new": "x"}, STATE.errors), 'new is "x", it was null'),
        (State(STATE.input, STATE.options, "other.jsonl"), "errors go to other.jsonl, they went to out.errors.jsonl"),
    ],
)
def test_another_batch_is_not_gone_on_with(tmp_path, state, told):
    """Answers of two models, or to two files, in one output."""
    work(tmp_path, ROWS)
    before = (tmp_path / "out.jsonl").read_bytes()
    with pytest.raises(UsageError, match=told):
        work(tmp_path, ROWS, state=state)
    assert (tmp_path / "out.jsonl").read_bytes() == before


def test_a_file_that_is_there_and_no_batch_is_left_alone(tmp_path):
    """An output of something else to which rows are added, or of which lines are cut off."""
    (tmp_path / "out.jsonl").write_text("mine")
    with pytest.raises(UsageError, match=r"out\.jsonl: is there already, and no batch"):
        work(tmp_path, ROWS)
    assert (tmp_path / "out.jsonl").read_text() == "mine"


@pytest.mark.parametrize("content", [b"", b"{", b'{"format":2}', b"[1]"])
def test_a_state_that_is_none_is_refused(tmp_path, content):
    """A state that is cut short, and the batch begins anew over what is there."""
    work(tmp_path, ROWS)
    state_path(tmp_path / "out.jsonl").write_bytes(content)
    with pytest.raises(UsageError, match="not the state of a batch"):
        work(tmp_path, ROWS)


def test_a_row_that_is_there_twice_is_refused(tmp_path):
    """An output that was put together by hand, and is taken for whole."""
    work(tmp_path, ROWS)
    path = tmp_path / "out.jsonl"
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(JournalError, match="line 3: row 2 is there twice"):
        work(tmp_path, ROWS)


def test_a_set_of_rows_is_what_a_set_is():
    """A row number that is taken for its neighbour, or that is forgotten where the set grows."""
    moments = random.Random(3)
    ours, theirs = RowSet(), set()
    for _ in range(3000):
        number = moments.randrange(moments.choice([10, 1000, 100_000]))
        assert ours.add(number) == (number not in theirs)
        theirs.add(number)
        assert len(ours) == len(theirs)
    assert all((number in ours) == (number in theirs) for number in range(100_001))


def test_outcomes_travel(tmp_path):
    """A result that another process gives, and that comes out otherwise."""
    for outcome in (Outcome(3, b'{"a":1}'), Outcome(4, failure=Failure("model", "x"))):
        data = msgspec.msgpack.encode(outcome)
        assert msgspec.msgpack.decode(data, type=Outcome) == outcome


def test_without_ray_it_is_said_what_to_install(tmp_path, monkeypatch):
    """An ImportError where an extra is missing."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match="--engine ray needs Ray: pip install"):
        work(tmp_path, [Row(1, "text")], engine=Cluster())
    assert rows_of(tmp_path) == []
