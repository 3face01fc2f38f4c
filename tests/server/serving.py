"""Servers for the tests: as a process, as users start it, and inside the test, where the model can be made to wait."""

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
from jsonschema import Draft202012Validator

from dagger_edge.cli.server.app import Rules
from dagger_edge.cli.server.gate import Access
from dagger_edge.cli.server.listener import Listener
from dagger_edge.cli.server.process import Model, Service, http_server
from dagger_edge.runtime.solver import demo_bundle

ROOT = Path(__file__).resolve().parents[2]
QUESTION = "রহিমের কাছে ৫টি আম ছিল। সে করিমকে ২টি আম দিল। রহিমের কাছে এখন কতটি আম আছে?"
OTHER = "একটি বাগানে ৮টি গাছ আছে। ৩টি কাটা হল। কয়টি থাকে?"


class Process:
    """``dagger-edge serve`` with ``args``, waited for until it listens.

    ``log`` has its lines of stderr; the rest is there after `ended`.
    """

    def __init__(self, *args, ready=True, **environment):
        command = [sys.executable, "-m", "dagger_edge", "serve", "--port", "0", "--threads", "1", *map(str, args)]
        env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8", env=env)
        self.log = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        line = self._wait(lambda: next((line for line in self.log if "listening" in line), None))
        self.url = re.search(r"http://[^,\"]+", line)[0]
        self.client = client(self.url)
        if ready:
            self._wait(lambda: self.client.get("/readyz").status_code == 200)

    def _read(self):
        self.log += []
        for line in self.process.stderr:
            self.log.append(line)

    def _wait(self, found):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if value := found():
                return value
            assert self.process.poll() is None, self.log
            time.sleep(0.02)
        raise AssertionError(f"nothing came: {self.log}")

    def ended(self):
        """The exit code."""
        code = self.process.wait(60)
        self._reader.join()
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()
        if self.process.poll() is None:
            self.process.kill()
        self.ended()
        self.process.stderr.close()


@contextmanager
def serving(model=Model(str(demo_bundle()), "cpu", 1, verify=True), *, queue=16, seconds=60.0):  # noqa: B008 (frozen)
    """The same server in a thread of the test, as a client."""
    worker, site = Service(model, queue, 5, Rules(Access(None, None), seconds, False), json_log=False).parts()
    with Listener("127.0.0.1", 0) as listener:
        server = http_server(site, queue, 5)
        thread = threading.Thread(target=asyncio.run, args=[server.serve(sockets=[listener.socket])])
        worker.start(lambda: None)
        thread.start()
        try:
            with client(listener.url) as made:
                yield made
        finally:
            worker.close()
            worker.abandon()
            server.should_exit = True
            thread.join(30)
            assert worker.join(30)


def client(url):
    """A client that takes nothing from the environment."""
    return httpx.Client(base_url=url, timeout=60, trust_env=False)


def ask(client, question=QUESTION, **fields):
    """The response to a question."""
    return client.post("/v1/solve", json={"question": question, **fields})


def events_of(response):
    """The events of a stream: the name of each, and its document."""
    name = None
    for line in response.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def failure(response, status, code):
    """The message of an error that is as it is published."""
    assert (response.status_code, response.json()["error"]["code"]) == (status, code), response.text
    assert response.headers["content-type"] == "application/json"
    validator("server-error").validate(response.json())
    assert "Traceback" not in response.text
    return response.json()["error"]["message"]


def validator(name):
    """Of the published schema of that name."""
    schema = json.loads((ROOT / "docs" / "schema" / f"{name}.schema.json").read_text(encoding="utf-8"))
    return Draft202012Validator(schema)


def plain(document):
    """Without what is another at each run."""
    if isinstance(document, dict):
        return {key: plain(value) for key, value in document.items() if key not in {"timings", "total_s"}}
    return [plain(item) for item in document] if isinstance(document, list) else document
