"""The prefix snapshot: making ``prefix.npy``, and what a bundle is worth that is read from it.

The state is the checkpoint's own, computed in fp32 and brought into the bundle's scale, whatever the precision: so the
first tokens, whose activations are like no others', never meet integer arithmetic (the idea of PrefixQuant, Chen et
al., 2024, arXiv:2410.05265).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.lib.format import write_array_header_1_0
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ..runtime.bundle import MODEL_FILE, PREFIX_FILE, TOKENIZER_FILE
from ..runtime.errors import BundleError
from ..runtime.manifest import Architecture, Parity, PrecisionName, Prefix
from ..runtime.prompt import Prompt
from ..runtime.session import Cache, Session, Start
from ..runtime.snapshot import Snapshot, map_state, state_shape, state_type
from .calibration import QUESTIONS
from .layerwise import LayerwiseReference
from .reference import Reference
from .staged import StagedGraph, StagedReading, Way
from .verify import ExportedGraph, RowDistances, over_kept_rows, read, row_distances
from .weights import Weights

# By how much the state that the graph computes may differ, relative to its size: in all layers where the graph is exact
# but for rounding, else in the first, which nothing was quantised before. A wrong scale or rotation is off by halves.
MAX_ERROR: dict[PrecisionName, float] = {"fp32": 1e-3, "fp16": 0.05, "int8": 0.1, "int4": 0.4}
# By how many nats (Kullback-Leibler, mean of a question's tokens) it may say something else after its own state.
MAX_DIVERGENCE: dict[PrecisionName, float] = {"fp32": 1e-6, "fp16": 0.02, "int8": 0.5, "int4": 2.0}


class SnapshotWriter:
    """``prefix.npy`` while it is written, layer after layer.

    Args:
        folder: of the bundle; ``tokenizer.json`` lies there.
        template: the prompt template, with ``{question}``.
        shape: the architecture in the manifest.
        precision: of the bundle.
    """

    def __init__(self, folder: Path, template: str, shape: Architecture, precision: PrecisionName) -> None:
        self._path, self._shape = folder / PREFIX_FILE, shape
        self._ids = _prompt(folder, template).prefix_ids
        self._dtype = state_type(precision)
        self._layers = 0
        # Room for one token that is read and one that is written.
        too_long = len(self._ids) + 2 > shape.context_length
        self._hindrance = "the context has no room for the prompt's fixed part" if too_long else ""

    @property
    def nbytes(self) -> int:
        """The size of the array, in bytes; 0 where there will be none."""
        size = int(np.prod(state_shape(self._shape, len(self._ids)))) * self._dtype.itemsize
        return 0 if self._hindrance else size

    def prefix(self, prompts: Sequence[Sequence[int]]) -> int | None:
        """How many ids the snapshot is of, where all of ``prompts`` begin with them; else there will be none."""
        if not self._hindrance and any(list(ids[: len(self._ids)]) != self._ids for ids in prompts):
            self._hindrance = "calibration prompts do not begin with the prompt's fixed part"
        return None if self._hindrance else len(self._ids)

    def add(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Writes the next layer: keys after rotation and values, float32 [1, kv_heads, prefix, head_dim].

        Raises:
            OSError: the disk is full.
        """
        with np.errstate(over="ignore"):
            pair = torch.cat([keys, values]).numpy().astype(self._dtype)
        if not np.isfinite(pair).all():
            self._hindrance = f"its numbers are beyond {self._dtype}"
        # Not a mapped file: where the disk is full, writing into one kills the process.
        with self._path.open("ab" if self._layers else "wb") as file:
            if not self._layers:
                shape = state_shape(self._shape, len(self._ids))
                write_array_header_1_0(file, {"descr": self._dtype.str, "fortran_order": False, "shape": shape})
            file.write(pair.tobytes())
        self._layers += 1

    def take(self, weights: Weights, factors: Mapping[str, float]) -> None:
        """Runs the ids through the checkpoint, and writes all layers.

        Args:
            weights: of the checkpoint.
            factors: what tensors of the bundle are multiplied by, by name.
        """
        if self._hindrance:
            return
        for index, (keys, values) in enumerate(LayerwiseReference(weights).state(self._ids)):
            self.add(keys, values * factors.get(f"model.layers.{index}.self_attn.v_proj.weight", 1.0))

    def finish(self) -> str:
        """What became of it, in words for the manifest."""
        if self._hindrance:
            self._path.unlink(missing_ok=True)
            return f"none: {self._hindrance}"
        return f"{self._dtype}, computed in fp32"


def written_prefix(folder: Path, template: str) -> Prefix | None:
    """What the manifest says of the snapshot in ``folder``, if there is one."""
    return Prefix.of(_prompt(folder, template).prefix_ids) if (folder / PREFIX_FILE).exists() else None


def written_snapshot(folder: Path, prompt: Prompt, shape: Architecture, precision: PrecisionName) -> Snapshot | None:
    """The snapshot in ``folder``, if there is one."""
    path, ids = folder / PREFIX_FILE, prompt.prefix_ids
    if not path.exists():
        return None
    return Snapshot(ids, map_state(path, state_shape(shape, len(ids)), state_type(precision)))


def measure_questions(parity: Parity, reference: Reference, graph: ExportedGraph, *, staged: bool = False) -> Parity:
    """``parity`` with what it is on `QUESTIONS`, after the prompts' common beginning, read as the bundle is used.

    Args:
        parity: of the graph.
        reference: the checkpoint in fp32.
        graph: what is measured; with a snapshot it is read from that.
        staged: run it layer by layer.

    Raises:
        BundleError: the snapshot is not the state that the graph asks for.
    """
    prompt = _prompt(graph.folder, graph.template)
    snapshot = written_snapshot(graph.folder, prompt, graph.shape, graph.precision)
    prompts = [ids for ids in map(prompt.encode, QUESTIONS) if len(ids) <= graph.shape.context_length]
    if not prompts:
        return parity
    readings = (_read_staged if staged else _read_whole)(graph, prompts, len(prompt.prefix_ids), snapshot)
    rows = []
    for hidden, (own, used) in zip(reference.hidden(prompts), readings, strict=True):
        if snapshot is not None:
            _check_divergence(own, used, graph.precision)
        expected = over_kept_rows(reference, graph, used[0]).logits(hidden[-len(used) :])
        rows.append(row_distances(expected, used))
    every = RowDistances(*np.concatenate(rows, axis=1))
    return msgspec.structs.replace(
        parity,
        question_positions=len(every.divergence),
        question_kl_divergence=float(every.divergence.mean()),
        question_top1_agreement=float(every.top1.mean()),
    )


# Logits [n, vocab] of a question's last n tokens: after the state that the graph itself reads, and after the snapshot
# where there is one.
_Readings = Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]


def _read_whole(
    graph: ExportedGraph, prompts: Sequence[Sequence[int]], length: int, snapshot: Snapshot | None
) -> _Readings:
    session = Session(graph.folder / MODEL_FILE)
    for number, ids in enumerate(prompts):
        start = None if snapshot is None else snapshot.start(session, ids)
        own = _read_start(session, ids, length if start is None else start.length)
        if start is not None and number == 0:
            check_state(own.cache, start.cache, graph.precision)
        logits = read(session, ids[own.length :], own.cache)[0]
        yield logits, logits if start is None else read(session, ids[start.length :], start.cache)[0]


def _read_staged(
    graph: ExportedGraph, prompts: Sequence[Sequence[int]], length: int, snapshot: Snapshot | None
) -> _Readings:
    staged = StagedGraph(graph.folder)
    for ids in prompts:
        from_snapshot = snapshot is not None and list(ids[:length]) == list(snapshot.ids)
        first = min(length, len(ids) - 1)
        ways = [Way([(0, len(ids))])]
        if snapshot is not None and from_snapshot:
            ways.append(Way([(first, len(ids))], snapshot.state))
        reading = StagedReading(staged, ids, ways)
        own, *used = (next(reading.logits(way, [(first, len(ids))])) for way in range(len(ways)))
        yield own, used[0] if used else own


def check_state(own: Cache, found: Cache, precision: PrecisionName) -> None:
    """Holds a snapshot's state against the graph's ``own``.

    Raises:
        BundleError: they are further apart than `MAX_ERROR`, or not finite.
    """
    errors = state_errors(own, found)
    error = float(np.max(errors if precision in {"fp32", "fp16"} else errors[:2]))
    if not error <= MAX_ERROR[precision]:
        raise BundleError(
            f"the prefix snapshot is not the graph's state: they differ by {error:.3g} of its size, the limit in"
            f" {precision} is {MAX_ERROR[precision]:g}"
        )


def _check_divergence(own: NDArray[np.float32], used: NDArray[np.float32], precision: PrecisionName) -> None:
    divergence = float(row_distances(own, used).divergence.mean())
    if not divergence <= MAX_DIVERGENCE[precision]:
        raise BundleError(
            f"the prefix snapshot is not the graph's state: after it, logits are {divergence:.3g} nats away"
            f" (Kullback-Leibler), the limit in {precision} is {MAX_DIVERGENCE[precision]:g}"
        )


def state_errors(expected: Cache, found: Cache) -> list[float]:
    """Of every array of a cache, the root of the mean square difference, relative to that of ``expected``."""
    return [
        float(np.linalg.norm(np.subtract(one, other, dtype=np.float32)) / np.linalg.norm(one.astype(np.float32)))
        for one, other in zip(expected, found, strict=True)
    ]


def _read_start(session: Session, ids: Sequence[int], length: int) -> Start:
    """The state of the first ``length`` of ``ids``, but for the last, read by the graph itself."""
    length = min(length, len(ids) - 1)
    return Start(session.step(np.array([ids[:length]], np.int64), session.empty_cache())[1], length)


def _prompt(folder: Path, template: str) -> Prompt:
    return Prompt(Tokenizer.from_file(str(folder / TOKENIZER_FILE)), template)
