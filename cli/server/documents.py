"""The JSON documents of the server: what it is asked, and what it says beside the documents of `solve` and `run`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from ...runtime.events import NodeClosed, Solved, Written
from ...runtime.graph.node import Ties
from ...runtime.manifest import Manifest, ProviderName
from ...runtime.options import MAX_NEW_TOKENS, MAX_SAMPLES
from ...runtime.vote import Vote

Code = Literal[
    "bad_request",
    "unknown_host",
    "unauthorized",
    "not_found",
    "method_not_allowed",
    "slow_body",
    "too_large",
    "unsupported_media_type",
    "unprocessable",
    "no_answer",
    "no_graph",
    "no_value",
    "setting",
    "disconnected",
    "internal",
    "model",
    "starting",
    "overloaded",
    "stopping",
    "timeout",
]


class SolveRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `POST /v1/solve` takes. All but the question may be left out; the fields of decoding are `solve`'s options.

    Attributes:
        question: a word problem in Bengali.
        max_new_tokens: the limit of the answer's length.
        free: without the grammar: let the model write what it likes.
        drafts: read guessed tokens along; the answer is the same.
        sample: draw tokens, as the model card does; by default the likeliest are taken.
        temperature, top_k, top_p, min_p, seed: of sampling; giving one of them draws tokens.
        samples: draw so many graphs, and vote on their answers.
        stream: answer with server-sent events; by default as the Accept header has it.
        drawing: with a stream, send an SVG of the graph after every node.
    """

    question: str
    max_new_tokens: Annotated[int, Meta(ge=1, le=8192)] = MAX_NEW_TOKENS
    free: bool = False
    drafts: bool = True
    sample: bool = False
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    seed: int | None = None
    samples: Annotated[int, Meta(ge=1, le=MAX_SAMPLES)] | None = None
    stream: bool | None = None
    drawing: bool = False


class RunRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `POST /v1/run` takes: a graph, and how it is run. The fields are the options of `dagger-edge run`.

    Attributes:
        graph: the text that a model wrote, as a string; or the graph itself, an object with nodes or a list of nodes.
        exact: compute on rational numbers, not on doubles.
        strict: take no text that needs a repair.
        ties: how round takes halves: to the even neighbour, or away from zero.
        set: numbers that constants are to have, by id.
        sensitivity: say what each constant does to the answer.
    """

    graph: Raw
    exact: bool = False
    strict: bool = False
    ties: Ties = "even"
    settings: dict[str, int | float] = field(default_factory=dict, name="set")
    sensitivity: bool = False


class Served(Struct, frozen=True, kw_only=True):
    """What `GET /v1/bundle` says: which model answers here.

    Attributes:
        version: of dagger-edge.
        demo: whether it is the demo in the package, which is no DAGGER model.
        provider: what it runs on.
        threads: of one operator; null leaves it to onnxruntime.
        size_bytes: of all files of the bundle.
        manifest: the bundle's own description.
    """

    version: str
    demo: bool
    provider: ProviderName
    threads: int | None
    size_bytes: int
    manifest: Manifest


class State(Struct, frozen=True):
    """What `GET /healthz` and `GET /readyz` say when all is well.

    Attributes:
        status: alive, or ready.
    """

    status: Literal["alive", "ready"]


class Failure(Struct, frozen=True, kw_only=True):
    """Why there is no answer.

    Attributes:
        code: stable, for programs; docs/server.md lists them with their HTTP status.
        message: one line for people.
        node, field: where in a graph, if it is about a graph.
        text: what the model wrote, where that is no graph or one without an answer.
    """

    code: Code
    message: str
    node: str | UnsetType = UNSET
    field: str | UnsetType = UNSET
    text: str | UnsetType = UNSET


class ErrorDocument(Struct, frozen=True):
    """The body of every answer whose status is not 200."""

    error: Failure


class Voted(Struct, frozen=True, tag="vote"):
    """The last event where several samples were drawn.

    Attributes:
        vote: what came of the question.
    """

    vote: Vote


class Drawn(Struct, frozen=True, tag="drawing"):
    """The graph so far, after a node.

    Attributes:
        svg: an SVG document without any script.
    """

    svg: str


class Failed(Struct, frozen=True, tag="error"):
    """The last event where there is no answer.

    Attributes:
        error: why.
    """

    error: Failure


# What comes out of the model's thread, and what goes to a client.
Event = Written | NodeClosed | Solved | Voted
SentEvent = Event | Drawn | Failed
