"""Rows of JSON Lines, and the commands run over them."""

import json

from click.testing import CliRunner
from graph_samples import call, const, graph_of

from dagger_edge.cli import run

GRAPH = {"nodes": [{"id": "n1", "op": "const", "val": 5}, {"id": "final_result", "op": "add", "args": ["n1", 2]}]}
TEXT = json.dumps(GRAPH)
FAILING = graph_of(const("a", 1), const("b", 0), call("it", "div", "a", "b")).to_json()
QUESTION = "রহিমের কাছে ৯টি আম ছিল। সে ২টি আম পেল। তার কাছে কতটি আম আছে?"


def lines_of(*rows):
    """Rows as the bytes of a file; a row may be bytes already."""
    return b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows)


def invoke(module, data, *args, path="-"):
    if path == "-":
        args = ("--lines", *args)
    return CliRunner().invoke(module.command, [path, *args], input=data)


def rows_of(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def run_rows(data, *args):
    return rows_of(invoke(run, data, "--json", *args))


def summary(done):
    return done.stderr.strip().splitlines()[-1]
