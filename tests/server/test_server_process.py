"""`dagger-edge serve` as a process: how it starts, what it logs, how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import httpx
import pytest
from serving import QUESTION, ROOT, Process, ask, events_of
from serving import client as client_of

from dagger_edge.cli.server.listener import Listener

OFFERED = ("starlette", "uvicorn", "prometheus_client")


def serve(*args, **environment):
    """A run that ends by itself: exit code and lines."""
    command = [sys.executable, "-m", "dagger_edge", "serve", *map(str, args)]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment}
    run = subprocess.run(command, capture_output=True, text=True, env=env, timeout=60, check=False)
    assert "Traceback" not in run.stderr
    return run.returncode, run.stderr.strip().splitlines()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_in_hand_is_answered_before_the_end(number):
    """A restart that loses questions, or a new connection that is taken and never served."""
    with Process("--log-format", "json") as process:
        got = []

        def asking():
            with client_of(process.url) as other:
                got.append(ask(other).json()["answer"])

        asked = {"question": QUESTION, "stream": True}
        with client_of(process.url) as client, client.stream("POST", "/v1/solve", json=asked) as response:
            events = events_of(response)
            next(events)
            waiting = [threading.Thread(target=asking) for _ in range(3)]
            for thread in waiting:
                thread.start()
            while "dagger_edge_queue_length 3.0" not in process.client.get("/metrics").text and len(got) < 3:
                pass
            process.process.send_signal(number)
            name, last = list(events)[-1]
        for thread in waiting:
            thread.join()
        assert process.ended() == 0
        assert (name, last["solution"]["answer"]) == ("solution", 3)
        assert got == [3, 3, 3]
        with pytest.raises(httpx.ConnectError):
            process.client.get("/healthz")
    lines = [json.loads(line) for line in process.log]
    assert [line["message"] for line in lines if line["message"] != "request"][-1] == "stopped"
    asked = [line for line in lines if line.get("path") == "/v1/solve"]
    assert {line["outcome"] for line in asked} == {"ok"}
    assert all(line["new_tokens"] > 0 and line["seconds"] > 0 for line in asked)
    assert "রহিম" not in json.dumps(lines, ensure_ascii=False)


def test_without_grace_clients_are_told_at_once():
    """A server that cannot be stopped while somebody asks."""
    with Process("--grace", 0) as process:
        asked = {"question": QUESTION, "samples": 64, "stream": True}
        with client_of(process.url) as client, client.stream("POST", "/v1/solve", json=asked) as response:
            while "dagger_edge_busy 1.0" not in process.client.get("/metrics").text:
                pass
            process.process.terminate()
            ((name, event),) = events_of(response)
        assert (name, event["error"]["code"]) == ("error", "stopping")
        assert process.ended() == 0


def test_a_second_signal_ends_at_once():
    """A person at a terminal who cannot get out before --grace is over."""
    with Process("--grace", 600) as process:
        asked = {"question": QUESTION, "samples": 64, "stream": True}
        with client_of(process.url) as client, client.stream("POST", "/v1/solve", json=asked):
            while "dagger_edge_busy 1.0" not in process.client.get("/metrics").text:
                pass
            process.process.send_signal(signal.SIGINT)
            while "stopping" not in process.log[-1]:
                pass
            process.process.send_signal(signal.SIGINT)
            assert process.ended() == 6


def test_a_stop_while_the_model_is_loaded_is_no_error():
    """A service manager that restarts what it has just stopped."""
    with Process(ready=False) as process:
        process.process.terminate()
        assert process.ended() == 0


def test_a_port_in_use_is_one_line_and_exit_code_5():
    """A traceback, or a model that is loaded first, for minutes."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, lines = serve("--port", port)
    assert code == 5
    assert lines == [f"error: 127.0.0.1:{port} is in use by another program: stop it, or give another --port"]


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["--host", "0.0.0.0", "--port", "0"], 2, "--token-file"),
        (["--host", "no.such.host.invalid"], 2, "no.such.host.invalid"),
        (["--host", "192.0.2.1", "--without-token"], 2, "cannot listen"),
        (["--token-file", "/nonexistent/token"], 2, "/nonexistent/token"),
        (["--token-file", os.devnull], 2, "16 or more characters"),
        (["--timeout", "0"], 2, "timeout"),
        (["--port", "0", "--bundle", "/nonexistent/bundle"], 4, "/nonexistent/bundle"),
    ],
)
def test_what_cannot_be_served_is_one_line(args, code, said):
    """An address open to the network by mistake; a fault that only shows when somebody asks."""
    got, lines = serve(*args)
    assert got == code
    assert said in lines[-1]
    assert "rror: " in lines[-1]


def test_questions_are_logged_only_where_that_is_wished_for():
    """An operator who looks for a fault and has nothing to look at."""
    with Process("--log-questions") as process:
        ask(process.client)
        process.process.terminate()
        assert process.ended() == 0
        assert any(QUESTION in line for line in process.log)


def test_systemd_is_told_when_it_is_ready_and_when_it_stops(tmp_path):
    """A service that others wait for, and that counts as started while gigabytes are loaded."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        with Process(NOTIFY_SOCKET=str(tmp_path / "notify")) as process:
            assert manager.recv(100) == b"READY=1"
            process.process.terminate()
            assert manager.recv(100) == b"STOPPING=1"
            assert process.ended() == 0


def test_help_and_the_other_commands_load_nothing_of_the_server():
    """A `solve` that pays for a web framework, or a `serve --help` that pays for the engine."""
    code = """
import sys
import dagger_edge.cli.main as main
sys.argv = ["dagger-edge", *sys.argv[1:]]
try:
    main.main()
finally:
    loaded = {name.partition(".")[0] for name in sys.modules} | set(sys.modules)
    print([name for name in (*%r, "numpy", "dagger_edge.cli.server") if name in loaded], file=sys.stderr)
""" % (OFFERED,)  # noqa: UP031 (braces)
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}

    def loaded(*args):
        run = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, env=env, check=True)
        return run.stderr.splitlines()[-1]

    assert loaded("serve", "--help") == "[]"
    assert loaded("solve", QUESTION) == "['numpy']"


def test_without_its_packages_it_says_what_to_install(tmp_path):
    """An ImportError for a user who has only the runtime."""
    for name in OFFERED:
        (tmp_path / f"{name}.py").write_text(f'raise ModuleNotFoundError("No module named {name!r}")')
    code, lines = serve(PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT / "src")]))
    assert code == 2
    assert "dagger-edge[cpu,serve]" in lines[-1]


def test_the_socket_says_that_it_is_tcp():
    """Nagle's delay: asyncio takes it off such sockets only, and every answer came 40 ms late."""
    with Listener("127.0.0.1", 0) as listener:
        assert listener.socket.proto == socket.IPPROTO_TCP
