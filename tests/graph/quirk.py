"""What one known quirk of the authors' executors is: a text, what theirs made of it, and what ours must."""

import json
from dataclasses import dataclass

from dagger_edge.runtime.graph import GraphError, GraphParseError, execute, read

# Outcomes of theirs that are no number. "hangs": nothing after ten seconds.
WORDS = ("none", "raises", "nan", "inf", "complex", "big int", "hangs")


@dataclass(frozen=True)
class Ours:
    """What ours gives: an answer with the codes of its fixes and warnings, or the reason why there is none."""

    answer: float | None = None
    codes: tuple[str, ...] = ()
    exact_text: str = ""
    reason: str = ""
    rejected: bool = False


@dataclass(frozen=True)
class Quirk:
    """One row of docs/quirks.md: ``theirs`` are the outcomes of the evaluation, the reward and the GPT evaluation."""

    id: str
    what: str
    shown: str
    text: str | bytes
    theirs: tuple[str, str, str]
    ours: Ours


def row(name, what, example, theirs, ours):
    """A quirk. ``example`` is what the table shows of a text, and the text; ``theirs`` has three outcomes by ``|``."""
    shown, text = example
    outcomes = [outcome.strip() for outcome in theirs.split("|")]
    return Quirk(name, what, shown, text, tuple(outcomes * 3 if len(outcomes) == 1 else outcomes), ours)


def gives(answer, *codes, exact_text=""):
    return Ours(answer=answer, codes=codes, exact_text=exact_text)


def rejected(reason):
    """No graph."""
    return Ours(reason=reason, rejected=True)


def fails(reason):
    """A graph without an answer."""
    return Ours(reason=reason)


def node(name, op, *args, **more):
    """A node as models write it; a field that is given as ``...`` is left out."""
    fields = {"id": name, "op": op} | ({"args": list(args)} if args else {})
    for key in ("val", "args"):
        if key in more:
            fields[key] = more.pop(key)
    fields |= {"distractor": False, "label": "ক"} | more
    return {key: value for key, value in fields.items() if value is not ...}


def const(name, val, **more):
    return node(name, "const", val=val, **more)


def final(*args, op="identity", **more):
    return node("final_result", op, *args, **more)


def graph_text(*nodes, **more):
    return json.dumps({"nodes": list(nodes), **more}, ensure_ascii=False)


def val(written):
    """A constant whose ``val`` stands in the text as ``written``."""
    text = graph_text(const("n1", "HERE"), final("n1")).replace('"HERE"', written)
    return _code(f'"val": {written}'), text


def arg(written):
    """4 plus an argument that stands in the text as ``written``."""
    text = graph_text(const("n1", 4), final("n1", "HERE", op="add")).replace('"HERE"', written)
    return _code(f'"args": ["n1", {written}]') + ", `n1` is 4", text


def op(name, *values):
    """An operation on constants."""
    consts = [const(f"n{index}", value) for index, value in enumerate(values)]
    shown = f"{name}({', '.join(map(str, values))})"
    return _code(shown), graph_text(*consts, final(*(item["id"] for item in consts), op=name))


def nodes(shown, *items, **more):
    """A whole graph, told in words."""
    return shown, graph_text(*items, **more)


def outcome(text):
    """What ours makes of ``text``, in the terms of `Ours`."""
    try:
        reading = read(text)
        result = execute(reading.graph)
    except GraphError as error:
        return Ours(reason=error.reason, rejected=isinstance(error, GraphParseError))
    codes = dict.fromkeys([fix.code for fix in reading.fixes] + [warning.code for warning in result.warnings])
    return Ours(result.answer, tuple(codes), execute(reading.graph, exact=True).answer_text)


def _code(text):
    return f"`{text}`"
