"""The document that a benchmark is: runs, rows, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, NamedTuple

import numpy as np
from msgspec import Meta, Struct

from ..manifest import Bytes, Count, ProviderName, Sha256, Text
from ..untrusted import decode_document

MAX_RESULT_BYTES = 1 << 24

Setting = Annotated[int, Meta(ge=0, le=1 << 44)] | Text
Settings = dict[Text, Setting]
Number = Annotated[float, Meta(ge=0, le=1e18)]
Rate = Annotated[float, Meta(gt=0, le=1e18)]
# A machine's row says what the machine does, a figure's what the program does on it; a derived one repeats others.
Kind = Literal["machine", "figure", "derived"]
Better = Literal["lower", "higher"]
# The engine that peers are compared with.
OURS = "dagger-edge"


class Quantity(Struct, frozen=True):
    """What a row's numbers are: their unit, which of them are better, whether they follow the machine's speed."""

    unit: str
    better: Better
    kind: Kind = "figure"
    timed: bool = True


_LESS: Better = "lower"
_MORE: Better = "higher"
# In the order of the table.
QUANTITIES: Mapping[str, Quantity] = {
    "memory speed": Quantity("GB/s", _MORE, "machine"),
    "matrix speed": Quantity("GMAC/s", _MORE, "machine"),
    "other work": Quantity("cores", _LESS, "machine", timed=False),
    "graph": Quantity("us", _LESS),
    "load": Quantity("s", _LESS),
    "prefill": Quantity("tokens/s", _MORE),
    "first token": Quantity("ms", _LESS),
    "going back": Quantity("ms", _LESS),
    "plain token": Quantity("ms", _LESS),
    "plain speed": Quantity("tokens/s", _MORE, "derived"),
    "token": Quantity("ms", _LESS),
    "speed": Quantity("tokens/s", _MORE, "derived"),
    "answer": Quantity("s", _LESS),
    "answer quantile": Quantity("s", _LESS, "derived"),
    "answer part": Quantity("s", _LESS, "derived"),
    "answers": Quantity("1/min", _MORE, "derived"),
    "steps": Quantity("an answer", _LESS, timed=False),
    "tokens": Quantity("an answer", _LESS, "derived", timed=False),
    "step size": Quantity("tokens", _MORE, "derived", timed=False),
    "answered": Quantity("of all", _MORE, "derived", timed=False),
    "vote": Quantity("s", _LESS),
    "vote speed": Quantity("tokens/s", _MORE, "derived"),
    "step": Quantity("ms", _LESS),
    "batch step": Quantity("ms", _LESS),
    "peak memory": Quantity("MB", _LESS, timed=False),
    "energy": Quantity("J", _LESS),
}


# Of "answer part"; together they are the answer.
READING_PART, MODEL_PART, REST_PART = "reading the question", "the model's steps", "grammar, drafts, text"


class Pace(NamedTuple):
    """How fast the machine was while something was measured, by a yardstick (`yardstick.Yardstick`): rounds a second of
    calculating and of reading."""

    calculating: Rate
    reading: Rate


class Sample(Struct, frozen=True, forbid_unknown_fields=True):
    """A number that one process found: of a quantity, under settings, and the machine's pace meanwhile."""

    what: Text
    value: Number
    settings: Settings = {}
    pace: Pace | None = None


class Row(Struct, frozen=True, forbid_unknown_fields=True):
    """What was found of one quantity under the same settings.

    Attributes:
        run: index of the run.
        what: the quantity; docs/benchmarks.md says what each is.
        settings: those that tell rows of the quantity apart.
        unit: of all numbers of the row.
        better: which numbers are.
        kind: of the machine, of the program on it, or derived from other rows.
        samples: of each process that measured, in order.
        median: of the samples.
        quartiles: of the samples, the lower and the upper.
        ceiling: the best that the machine allows, by its own rows; null where nothing is known.
        share: how much of the ceiling is reached, 1 is all of it.
        paces: of the machine beside each sample; empty where nobody looked.
    """

    run: Annotated[int, Meta(ge=0, le=1 << 16)]
    what: Text
    settings: Settings
    unit: Text
    better: Better
    kind: Kind
    samples: Annotated[tuple[Number, ...], Meta(min_length=1, max_length=10_000)]
    median: Number
    quartiles: tuple[Number, Number]
    ceiling: Number | None = None
    share: Number | None = None
    paces: Annotated[tuple[Pace, ...], Meta(max_length=10_000)] = ()


class Ceiling(Struct, frozen=True, forbid_unknown_fields=True):
    """What bounds a run: bytes and products of a token, and how fast this machine is at them.

    Attributes:
        weight_bytes: of the weights that are read for every step.
        kv_token_bytes: of keys and values that one token adds.
        kv_read_bytes: of keys and values that are read for a step behind ``context`` tokens.
        context: tokens of the prompt that steps are measured behind.
        products: multiplications of a token in the layers; null in bundles that do not say.
        head_products: of a token's logits.
        read_bytes_per_s: memory speed over as many bytes as the weights; the cache's, where that holds them.
        cached: whether the largest cache holds the weights.
        products_per_s: matrix speed of the kernel that the bundle's products run on.
        kernel: its name.
        tokens_per_s: that memory and products allow a decoder of one token a step.
    """

    weight_bytes: Bytes
    kv_token_bytes: Bytes
    kv_read_bytes: Bytes
    context: Annotated[int, Meta(ge=0, le=1 << 24)]
    products: Bytes | None
    head_products: Bytes | None
    read_bytes_per_s: Number
    cached: bool
    products_per_s: Number
    kernel: Text
    tokens_per_s: Number


class BenchRun(Struct, frozen=True, forbid_unknown_fields=True):
    """A bundle on a provider with a number of threads.

    Attributes:
        bundle: its name.
        precision: of the bundle.
        weights_sha256: of the file of weights; null where there is none, or a peer's.
        size_bytes: of the bundle.
        prefix_tokens: ids that every prompt begins with, whose state need not be computed; 0 where there is none.
        provider: ``cpu`` or ``cuda``.
        threads: of one operator; null is what onnxruntime chose (one per physical core).
        ceiling: null where the provider's is not measured.
        engine: what ran it; another than ``dagger-edge`` is a peer, and the bundle the file or folder that it opened.
        options: the engine's own settings, as text.
    """

    bundle: Text
    precision: Text
    weights_sha256: Sha256 | None
    size_bytes: Bytes
    prefix_tokens: Annotated[int, Meta(ge=0, le=1 << 24)]
    provider: ProviderName
    threads: Count | None
    ceiling: Ceiling | None
    engine: Text = OURS
    options: dict[Text, Text] = {}


class Provenance(Struct, frozen=True, forbid_unknown_fields=True):
    """Where and by what it was measured.

    Attributes:
        dagger_edge: version.
        commit: of the checkout, with a + where files were changed; null outside of one.
        created: UTC in ISO 8601.
        versions: of Python and of the packages that do the work.
        system: of the operating system.
        processor: its name.
        instructions: those that kernels are written for.
        cores: that the process might use.
        cache_bytes: the largest cache; 0 where it does not say.
        memory_bytes: of the machine.
        load: of the machine before anything was measured, tasks that ran or waited over a minute; null if not told.
        energy: what the energy was told by; null where nothing tells it.
        command: that measures it again; folders are left out of it.
    """

    dagger_edge: Text
    commit: Text | None
    created: Text
    versions: dict[Text, Text]
    system: Text
    processor: Text
    instructions: tuple[Text, ...]
    cores: Count
    cache_bytes: Bytes
    memory_bytes: Bytes
    load: Number | None
    energy: Text | None
    command: Text | None = None


class BenchResult(Struct, frozen=True, forbid_unknown_fields=True):
    """What `dagger-edge bench --format json` prints.

    Attributes:
        result_version: of its form.
        provenance: where it comes from.
        settings: what was asked for, as text.
        questions: how many were asked in each process.
        repeats: processes that were measured for each run, after one that was not.
        runs: bundles, providers and threads.
        rows: what was found, run by run.
        task: what was done, where it was not the questions of the benchmark.
    """

    result_version: Literal[1]
    provenance: Provenance
    settings: dict[Text, Text]
    questions: Count
    repeats: Count
    runs: Annotated[tuple[BenchRun, ...], Meta(min_length=1)]
    rows: tuple[Row, ...]
    task: Text | None = None

    def __post_init__(self) -> None:
        """Refuses, with ValueError, rows of no run, and paces of no sample."""
        if any(row.run >= len(self.runs) for row in self.rows):
            raise ValueError("a row is of a run that is not there")
        if any(row.paces and len(row.paces) != len(row.samples) for row in self.rows):
            raise ValueError("a row has not as many paces as samples")

    def find(self, run: int, what: str, **settings: Setting) -> Row | None:
        """The first row of ``what`` in ``run`` that has these settings, and maybe others."""
        wanted = settings.items()
        of_run = (row for row in self.rows if (row.run, row.what) == (run, what))
        return next((row for row in of_run if wanted <= row.settings.items()), None)

    def rows_of(self, run: int, what: str) -> list[Row]:
        """All rows of ``what`` in ``run``."""
        return [row for row in self.rows if (row.run, row.what) == (run, what)]


def make_row(
    run: int, what: str, settings: Settings, samples: Sequence[float], paces: Sequence[Pace | None] = ()
) -> Row:
    """The row of ``samples``, without a ceiling; with ``paces`` where every sample has one."""
    quantity = QUANTITIES[what]
    low, middle, high = (float(value) for value in np.quantile(samples, [0.25, 0.5, 0.75]))
    return Row(
        run=run,
        what=what,
        settings=settings,
        unit=quantity.unit,
        better=quantity.better,
        kind=quantity.kind,
        samples=tuple(float(f"{value:.6g}") for value in samples),
        median=float(f"{middle:.6g}"),
        quartiles=(float(f"{low:.6g}"), float(f"{high:.6g}")),
        paces=tuple(known) if len(known := [pace for pace in paces if pace]) == len(samples) else (),
    )


def decode_result(data: bytes) -> BenchResult:
    """The result in ``data`` (UTF-8 JSON).

    Raises:
        ValueError: too long, not JSON, or a field is missing, unknown, of the wrong type or out of range. The message
            says which.
    """
    return decode_document(data, BenchResult, MAX_RESULT_BYTES)
