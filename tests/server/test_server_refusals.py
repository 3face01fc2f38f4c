"""Requests that are not served: the right status, one line of JSON that names the fault, and a server that goes on."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving import QUESTION, Process, ask, failure
from serving import client as client_of

from dagger_edge.cli.server.responses import MAX_BODY_BYTES

GRAPH = {"nodes": [{"id": "final_result", "op": "add", "args": [1, 2]}]}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"null", "object"),
        (b"[]", "object"),
        (b"\xff\xfe", "body"),
        (b'{"question": "\xff"}', "body"),
        (b"[" * 100_000, "body"),
        (b'{"max_new_tokens": 5}', "question"),
        (b'{"question": 5}', "$.question"),
        (b'{"question": "a", "max_new_tokens": 0}', "$.max_new_tokens"),
        (b'{"question": "a", "max_new_tokens": 1e999}', "body"),
        (b'{"question": "a", "samples": 65}', "$.samples"),
        (b'{"question": "a", "maxnewtokens": 5}', "maxnewtokens"),
        (b'{"question": "a", "temperature": "hot"}', "$.temperature"),
    ],
)
def test_a_document_of_another_form_is_400_and_named(client, body, said):
    """A misspelt field that is silently ignored, an answer that does not say which field is wrong."""
    answer = client.post("/v1/solve", content=body, headers={"Content-Type": "application/json"})
    assert said in failure(answer, 400, "bad_request")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"question": "  "}, "empty"),
        ({"question": "ক" * 9_000}, "9,000 characters"),
        ({"question": "রহিম ৫টি আম খেল। " * 300}, "1,024"),
        ({"question": QUESTION, "temperature": 0}, "temperature"),
        ({"question": QUESTION, "seed": -1}, "seed"),
        ({"question": QUESTION, "max_new_tokens": 5}, "allow"),
        ({"question": QUESTION, "drawing": True}, "stream"),
    ],
)
def test_what_cannot_be_answered_is_422(client, fields, said):
    """A question that is at fault and looks like a fault of the server."""
    assert said in failure(client.post("/v1/solve", json=fields), 422, "unprocessable")


@pytest.mark.parametrize(
    ("fields", "code", "node"),
    [
        ({"graph": "no graph"}, "no_graph", None),
        ({"graph": {"nodes": [{"id": "final_result", "op": "div", "args": [1, 0]}]}}, "no_value", "final_result"),
        ({"graph": {"nodes": [{"id": "final_result", "op": "pow", "args": ["n9", 0]}]}}, "no_graph", "final_result"),
        ({"graph": GRAPH, "set": {"n7": 1}}, "setting", None),
        ({"graph": f"see: {json.dumps(GRAPH)}", "strict": True}, "no_graph", None),
        ({"graph": 5}, "no_graph", None),
    ],
)
def test_a_graph_without_an_answer_names_its_node(client, fields, code, node):
    """A failure that a program cannot act on."""
    answer = client.post("/v1/run", json=fields)
    assert failure(answer, 422, code)
    assert answer.json()["error"].get("node") == node


@pytest.mark.parametrize("declared", [True, False])
def test_a_huge_body_is_413(client, declared):
    """A body that fills the memory; one whose length is not declared is counted while it comes."""
    body = b'{"question": "' + b"a" * (20 * MAX_BODY_BYTES)
    content = body if declared else iter([body[at : at + 65536] for at in range(0, len(body), 65536)])
    answer = client.post("/v1/solve", content=content, headers={"Content-Type": "application/json"})
    assert f"{MAX_BODY_BYTES:,}" in failure(answer, 413, "too_large")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
def test_another_type_is_415(client, headers):
    """A form on another site, which a browser sends without asking, must not make the model work."""
    failure(client.post("/v1/solve", content=b'{"question": "a"}', headers=headers), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/solve", 405, "method_not_allowed"),
        ("POST", "/v1/bundle", 405, "method_not_allowed"),
        ("OPTIONS", "/v1/solve", 405, "method_not_allowed"),
        ("GET", "/v1/solve/", 404, "not_found"),
        ("GET", "/../etc/passwd", 404, "not_found"),
        ("GET", "/%2e%2e/%00", 404, "not_found"),
    ],
)
def test_addresses_and_methods_that_are_not_there(client, method, path, status, code):
    """Plain text or HTML where a program expects JSON."""
    answer = client.request(method, path)
    failure(answer, status, code)
    assert (answer.headers.get("allow") is not None) is (status == 405)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "[::2]", ""])
def test_a_request_for_another_host_is_refused(client, host):
    """DNS rebinding: a page whose own name leads to this machine would read every answer."""
    failure(client.get("/v1/bundle", headers={"Host": host}), 400, "unknown_host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1:1", "[::1]:8080"])
def test_loopback_has_several_names(client, host):
    """A check of hosts that shuts out a browser on this machine."""
    assert client.get("/v1/bundle", headers={"Host": host}).status_code == 200


def test_every_answer_forbids_sniffing_and_framing(client):
    """A header that only some answers have."""
    for answer in (client.get("/"), client.get("/nowhere"), client.get("/v1/bundle"), client.get("/healthz")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(["question", "samples", "seed", "top_k", "stream", "graph", "set", "ties", "exact", "x"])
BODIES = (
    st.binary(max_size=200)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(NAMES, JSON, max_size=5).map(lambda value: json.dumps(value).encode())
    | st.dictionaries(NAMES, JSON, max_size=3).map(lambda value: json.dumps({"graph": GRAPH, **value}).encode())
)


@given(path=st.sampled_from(["/v1/solve", "/v1/run"]), body=BODIES)
@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_body_is_a_fault_of_the_server(client, path, body):
    """An exception that nobody thought of: status 500, or an answer that is no JSON."""
    answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
    if answer.headers["content-type"].startswith("application/json"):
        assert answer.status_code in {200, 400, 422}, answer.text
        assert isinstance(answer.json(), dict)
    else:
        assert '"internal"' not in answer.text


def test_after_all_that_the_server_answers(client):
    """A refusal that leaves something behind."""
    assert ask(client).json()["answer"] == 3


def test_a_token_is_asked_for_where_there_is_one(tmp_path):
    """Answers for everybody on the network; probes and the page stay open."""
    path = tmp_path / "token"
    path.write_text("0123456789abcdef\n")
    with Process("--token-file", path) as process, client_of(process.url) as client:
        for headers in ({}, {"Authorization": "Bearer 0123456789abcdeX"}, {"Authorization": "Basic 0123456789abcdef"}):
            answer = client.get("/v1/bundle", headers=headers)
            failure(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
        failure(ask(client), 401, "unauthorized")
        failure(client.get("/metrics"), 401, "unauthorized")
        assert [client.get(path).status_code for path in ("/", "/healthz", "/readyz")] == [200, 200, 200]
        client.headers["Authorization"] = "Bearer 0123456789abcdef"
        assert ask(client).json()["answer"] == 3
