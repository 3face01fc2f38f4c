"""What the server answers is what the Solver and the commands answer: the demo behind real HTTP."""

import json
from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree

import msgspec
import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families
from serving import OTHER, QUESTION, ROOT, ask, events_of, failure, plain, validator

import dagger_edge as de
from dagger_edge.cli import run

GRAPH = '{"nodes": [{"id": "n1", "op": "const", "val": 7}, {"id": "final_result", "op": "div", "args": ["n1", 7]}]}'


def test_an_answer_is_the_document_of_solve(client, solver):
    """A server with a format of its own: what reads `solve --json` must read this."""
    answer = ask(client)
    assert answer.status_code == 200
    assert plain(answer.json()) == plain(json.loads(msgspec.json.encode(solver.solve(QUESTION))))
    validator("solve").validate(answer.json())


def test_the_options_of_decoding_arrive(client, solver):
    """A field that is taken and forgotten."""
    sampling = de.Sampling(temperature=2.0, top_p=1.0, seed=5)
    wanted = solver.solve(OTHER, de.DecodeOptions(sampling=sampling))
    assert ask(client, OTHER, temperature=2.0, top_p=1.0, seed=5).json()["text"] == wanted.text
    assert ask(client, OTHER).json()["text"] != wanted.text


def test_samples_are_voted_on(client, solver):
    """A vote that is the first sample's answer, or another document than `solve --samples --json`."""
    vote = ask(client, samples=3, seed=1)
    wanted = solver.vote(QUESTION, 3, de.DecodeOptions(sampling=de.Sampling(seed=1)))
    assert plain(vote.json()) == plain(json.loads(msgspec.json.encode(wanted)))
    validator("vote").validate(vote.json())


def test_twenty_clients_at_once_get_their_own_answers(client, solver):
    """Answers that are mixed up, or a model that is used by two threads."""
    lines = (ROOT / "tests" / "data" / "demo_questions.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line)["question"] for line in lines]
    with ThreadPoolExecutor(len(questions)) as pool:
        answers = list(pool.map(lambda question: ask(client, question), questions))
    assert len(questions) == 20
    for question, answer in zip(questions, answers, strict=True):
        wanted = solver.solve(question)
        assert (answer.json()["text"], answer.json()["answer"]) == (wanted.text, wanted.answer)


@pytest.mark.parametrize("how", [{"json": {"stream": True}}, {"headers": {"Accept": "text/event-stream"}}])
def test_a_stream_has_the_events_of_the_solver(client, solver, how):
    """Nodes that come late, in another order, or without their values."""
    body = {"question": QUESTION, **how.get("json", {})}
    with client.stream("POST", "/v1/solve", json=body, headers=how.get("headers")) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        got = list(events_of(response))
    wanted = [json.loads(msgspec.json.encode(event)) for event in solver.stream(QUESTION)]
    assert [name for name, _ in got] == [event["type"] for event in wanted]
    assert [plain(event) for _, event in got] == [plain(event) for event in wanted]
    for _, event in got:
        validator("solve-event").validate(event)


def test_a_stream_draws_the_graph_as_it_grows(client):
    """A drawing that no reader of XML takes, or that does not grow; before the answer nothing is left aside."""
    with client.stream("POST", "/v1/solve", json={"question": QUESTION, "stream": True, "drawing": True}) as response:
        got = list(events_of(response))
    drawings = [event["svg"] for name, event in got if name == "drawing"]
    nodes = [event["node"]["id"] for name, event in got if name == "node"]
    boxes = [svg.count('class="dg-node') for svg in drawings]
    assert boxes == list(range(1, len(nodes) + 1))
    for svg in drawings:
        ElementTree.fromstring(svg)
        assert 'class="dg-lane"' not in svg
    assert [name for name, _ in got if name in {"node", "drawing"}] == ["node", "drawing"] * len(nodes)


def test_a_vote_can_be_streamed_too(client):
    """A client that asks for a stream and gets none, or none that ends."""
    with client.stream("POST", "/v1/solve", json={"question": QUESTION, "samples": 2, "stream": True}) as response:
        ((name, event),) = events_of(response)
    assert (name, event["vote"]["answer"]) == ("vote", 3)


def test_a_graph_without_an_answer_is_422_with_what_the_model_wrote(client):
    """A client that takes an answer for granted with status 200, or cannot see what went wrong."""
    answer = ask(client, free=True, max_new_tokens=20)
    assert "cut off" in failure(answer, 422, "no_answer")
    assert '"nodes"' in answer.json()["error"]["text"]
    with client.stream(
        "POST", "/v1/solve", json={"question": QUESTION, "stream": True, "free": True, "max_new_tokens": 20}
    ) as response:
        name, event = list(events_of(response))[-1]
    assert (name, event["error"]["code"]) == ("error", "no_answer")


@pytest.mark.parametrize("graph", [json.loads(GRAPH), GRAPH, f"Here it is: {GRAPH}"], ids=["object", "text", "prose"])
def test_a_run_is_the_document_of_run(client, graph, tmp_path):
    """A second way of running graphs."""
    path = tmp_path / "graph.json"
    path.write_text(graph if isinstance(graph, str) else json.dumps(graph), encoding="utf-8")
    options = {"exact": True, "sensitivity": True, "set": {"n1": 9}, "ties": "away"}
    answer = client.post("/v1/run", json={"graph": graph, **options})
    args = [str(path), "--json", "--exact", "--sensitivity", "--set", "n1=9", "--ties", "away"]
    assert answer.json() == json.loads(CliRunner().invoke(run.command, args).stdout)
    assert answer.json()["answer_text"] == "9/7"
    validator("run").validate(answer.json())


def test_what_is_served_is_told(client):
    """An operator who cannot tell the demo from the model, or an older bundle from the new one."""
    served = client.get("/v1/bundle").json()
    assert (served["demo"], served["provider"], served["version"]) == (True, "cpu", de.__version__)
    assert served["manifest"]["name"] == "dagger-edge-demo"
    validator("served-bundle").validate(served)
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_metrics_count_what_happened(client):
    """Counters that stand still, or a form that Prometheus cannot read."""

    def read():
        families = text_string_to_metric_families(client.get("/metrics").text)
        return {
            (sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples
        }

    before = read()
    timings = ask(client).json()["timings"]
    ask(client, "")
    after = read()

    def grew(*key):
        return after[key] - before.get(key, 0)

    assert grew("dagger_edge_requests_total", "/v1/solve", "ok") == 1
    assert grew("dagger_edge_requests_total", "/v1/solve", "unprocessable") == 1
    assert grew("dagger_edge_tokens_total", "new") == timings["new_tokens"]
    assert grew("dagger_edge_model_steps_total") == timings["steps"]
    assert (
        grew("dagger_edge_drafts_accepted_total") == timings["new_tokens"] - timings["forced_tokens"] - timings["steps"]
    )
    assert grew("dagger_edge_first_token_seconds_count") == grew("dagger_edge_answer_seconds_count") == 1
    assert grew("dagger_edge_first_token_seconds_sum") == pytest.approx(timings["ttft_s"])
    assert after["dagger_edge_queue_length",] == 0
    assert after["dagger_edge_ready",] == 1
    assert after["process_resident_memory_bytes",] > 1e7


def test_the_description_for_programs_resolves(client):
    """A reference to a schema that is not there, or an address that is not described."""
    document = client.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    text = json.dumps(document)
    for part in {name for name in text.split('"') if name.startswith("#/")}:
        found = document
        for key in part.removeprefix("#/").split("/"):
            found = found[key]
    for path in document["paths"]:
        assert client.request("OPTIONS", path).status_code == 405
