"""The line before the model: clients that leave, a line that is full, time that is up, a model that fails."""

import math
import threading
import time

import httpx
import pytest
from serving import OTHER, QUESTION, ask, events_of, failure, serving
from serving import client as client_of

from dagger_edge.runtime.session import Session


class Steps:
    """The steps of the model: counted, and held where a test wants it."""

    def __init__(self, monkeypatch):
        self.count, self.fails = 0, None
        self._most = math.inf
        self._changed = threading.Condition()
        original = Session.run_bound

        def step(*args):
            with self._changed:
                self.count += 1
                number = self.count
                self._changed.notify_all()
                assert self._changed.wait_for(lambda: number <= self._most, 60)
            if self.fails is not None:
                raise self.fails
            return original(*args)

        monkeypatch.setattr(Session, "run_bound", step)

    def hold(self, after):
        """Lets so many more steps end; the next one begins and waits."""
        with self._changed:
            self.count, self._most = 0, after

    def release(self):
        """Holds none any more."""
        with self._changed:
            self._most = math.inf
            self._changed.notify_all()

    def wait(self, count):
        """Until so many have begun."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.count >= count, 60)


def wait_for(client, line):
    """Until the metrics have ``line``."""
    end = time.monotonic() + 60
    while line not in client.get("/metrics").text:
        assert time.monotonic() < end
        time.sleep(0.02)


IDLE = "dagger_edge_busy 0.0"
LEFT = 'dagger_edge_requests_total{endpoint="/v1/solve",outcome="disconnected"} 1.0'


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
        steps.hold(2)
        with client_of(client.base_url) as leaving:
            leave = leave_stream if "stream" in fields else ask
            # The time limit is what makes httpx hang up.
            leaving.timeout = 0.5
            with pytest.raises(httpx.ReadTimeout):
                leave(leaving, **fields)
        wait_for(client, LEFT)
        at_leaving = steps.count
        steps.release()
        wait_for(client, IDLE)
        assert steps.count == at_leaving
        assert ask(client, OTHER).json()["text"] == answers[1]


def leave_stream(client, **fields):
    with client.stream("POST", "/v1/solve", json={"question": QUESTION, **fields}) as response:
        next(events_of(response))
        raise httpx.ReadTimeout("seen enough")


def test_a_full_line_is_503_with_a_time_to_come_back(steps, answers):
    """Questions that pile up without end; a client that leaves the line must make room; graphs need no model."""
    graph = {"nodes": [{"id": "final_result", "op": "add", "args": [1, 2]}]}
    got = {}

    def asking(name, question):
        with client_of(client.base_url) as other:
            got[name] = ask(other, question)

    with serving(queue=1) as client:
        ask(client)
        steps.hold(0)
        first = threading.Thread(target=asking, args=["first", QUESTION])
        first.start()
        steps.wait(1)
        with client_of(client.base_url) as leaving:
            leaving.timeout = 0.3
            with pytest.raises(httpx.ReadTimeout):
                ask(leaving)
        wait_for(client, LEFT)
        second = threading.Thread(target=asking, args=["second", OTHER])
        second.start()
        wait_for(client, "dagger_edge_queue_length 1.0")
        refused = ask(client)
        assert "2 questions" in failure(refused, 503, "overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        assert client.post("/v1/run", json={"graph": graph}).json()["answer"] == 3
        steps.release()
        first.join()
        second.join()
        assert (got["first"].json()["text"], got["second"].json()["text"]) == answers


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_takes_too_long_is_given_up(steps, answers, stream):
    """A client that waits for ever, or a model that goes on after it was told the time is up."""
    with serving(seconds=1) as client:
        wait_for(client, "dagger_edge_ready 1.0")
        steps.hold(1)
        if stream:
            with client.stream("POST", "/v1/solve", json={"question": QUESTION, "stream": True}) as response:
                name, event = list(events_of(response))[-1]
            assert (name, event["error"]["code"]) == ("error", "timeout")
        else:
            assert "1 s" in failure(ask(client), 504, "timeout")
        at_end = steps.count
        steps.release()
        wait_for(client, IDLE)
        assert steps.count == at_end
        # On a busy machine the time may be up for this one too.
        later = next(answer for answer in iter(lambda: ask(client, OTHER), None) if answer.status_code != 504)
        assert later.json()["text"] == answers[1]


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

    tried = threading.Event()

    class Broken:
        def open(self):
            tried.wait(60)
            raise RuntimeError("no model")

    with serving(Broken()) as client:
        failure(client.get("/readyz"), 503, "starting")
        threading.Timer(0.3, tried.set).start()
        failure(ask(client), 503, "stopping")
        failure(client.get("/readyz"), 503, "stopping")
        failure(ask(client), 503, "stopping")
