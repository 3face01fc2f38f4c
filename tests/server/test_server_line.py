"""The line before the model: clients that leave, a line that is full, time that is up, a model that fails."""

import threading
import time

import httpx
import pytest
from serving import OTHER, QUESTION, ask, events_of, failure, serving
from serving import client as client_of

from dagger_edge.runtime.session import Session


class Steps:
    """The steps of the model, which can be held: ``held`` is how many seconds each takes, None where none ends."""

    def __init__(self, monkeypatch):
        self.count, self.held = 0, 0.0
        self.released = threading.Event()
        self.fails = None
        original = Session.run_bound

        def step(*args):
            self.count += 1
            if self.held is None:
                assert self.released.wait(30)
            elif self.held:
                time.sleep(self.held)
            if self.fails is not None:
                raise self.fails
            return original(*args)

        monkeypatch.setattr(Session, "run_bound", step)

    def wait(self, count):
        """Until so many steps have begun."""
        end = time.monotonic() + 30
        while self.count < count:
            assert time.monotonic() < end
            time.sleep(0.005)


@pytest.fixture
def steps(monkeypatch):
    return Steps(monkeypatch)


@pytest.fixture(scope="module")
def answers(solver):
    """Of the two questions."""
    return solver.solve(QUESTION).text, solver.solve(OTHER).text


@pytest.mark.parametrize("fields", [{"stream": True}, {}, {"samples": 2, "seed": 1}], ids=["stream", "whole", "vote"])
def test_a_client_that_leaves_stops_the_model(steps, answers, fields):
    """A model that goes on for nobody while others wait; a next answer that has something of the last one in it."""
    with serving() as client:
        assert ask(client).json()["text"] == answers[0]
        steps.count, steps.held = 0, 0.15
        with client_of(client.base_url) as leaving:
            leave = leave_stream if "stream" in fields else ask
            # The time limit is what makes httpx hang up.
            leaving.timeout = 0.4
            with pytest.raises(httpx.ReadTimeout):
                leave(leaving, **fields)
        at_leaving = steps.count
        time.sleep(0.8)
        assert at_leaving <= steps.count <= at_leaving + 1
        steps.held = 0.0
        assert ask(client, OTHER).json()["text"] == answers[1]


def leave_stream(client, **fields):
    with client.stream("POST", "/v1/solve", json={"question": QUESTION, **fields}) as response:
        next(events_of(response))
        raise httpx.ReadTimeout("seen enough")


def test_a_full_line_is_503_with_a_time_to_come_back(steps, answers):
    """Questions that pile up without end; a client that leaves the line must make room."""
    with serving(queue=1) as client:
        ask(client)
        steps.count, steps.held = 0, None
        got = {}

        def asking(name, question, **more):
            with client_of(client.base_url) as other:
                got[name] = ask(other, question, **more)

        first = threading.Thread(target=asking, args=["first", QUESTION])
        first.start()
        steps.wait(1)
        with client_of(client.base_url) as leaving:
            leaving.timeout = 0.3
            with pytest.raises(httpx.ReadTimeout):
                ask(leaving)
        second = threading.Thread(target=asking, args=["second", OTHER])
        second.start()
        wait_for_line(client, 1)
        refused = ask(client)
        assert "2 questions" in failure(refused, 503, "overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        assert (
            client.post(
                "/v1/run", json={"graph": {"nodes": [{"id": "final_result", "op": "add", "args": [1, 2]}]}}
            ).json()["answer"]
            == 3
        )
        steps.held = 0.0
        steps.released.set()
        first.join()
        second.join()
        assert (got["first"].json()["text"], got["second"].json()["text"]) == answers


def wait_for_line(client, length):
    end = time.monotonic() + 30
    while f"dagger_edge_queue_length {length}.0" not in client.get("/metrics").text:
        assert time.monotonic() < end


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_takes_too_long_is_given_up(steps, answers, stream):
    """A client that waits for ever, or a model that goes on after it was told the time is up."""
    with serving(seconds=0.6) as client:
        ask(client)
        steps.count, steps.held = 0, 0.2
        if stream:
            with client.stream("POST", "/v1/solve", json={"question": QUESTION, "stream": True}) as response:
                name, event = list(events_of(response))[-1]
            assert (name, event["error"]["code"]) == ("error", "timeout")
        else:
            assert "0.6 s" in failure(ask(client), 504, "timeout")
        at_end = steps.count
        time.sleep(0.5)
        assert steps.count <= at_end + 1
        steps.held = 0.0
        assert ask(client, OTHER).json()["text"] == answers[1]


def test_a_fault_inside_is_500_without_its_words(steps, answers, caplog):
    """A path, a traceback or a question of somebody else in an answer; a question in the log; a thread that dies."""
    with serving() as client:
        ask(client)
        steps.fails = RuntimeError(f"/secret/place {QUESTION}")
        answer = ask(client)
        assert "secret" not in failure(answer, 500, "internal")
        with client.stream("POST", "/v1/solve", json={"question": QUESTION, "stream": True}) as response:
            assert "secret" not in str(list(events_of(response)))
        steps.fails = None
        assert ask(client, OTHER).json()["text"] == answers[1]
    assert "RuntimeError" in caplog.text
    assert "run_bound" in caplog.text
    assert "রহিম" not in caplog.text


def test_a_model_that_cannot_be_opened_ends_the_wait():
    """A client that waits for a model that will never come."""

    class Broken:
        def open(self):
            time.sleep(0.3)
            raise RuntimeError("no model")

    with serving(Broken()) as client:
        failure(client.get("/readyz"), 503, "starting")
        failure(ask(client), 503, "stopping")
        failure(client.get("/readyz"), 503, "stopping")
        failure(ask(client), 503, "stopping")
