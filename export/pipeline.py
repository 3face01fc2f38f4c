"""The export from end to end: checkpoint, skeleton, fusion, streamed weights, parity, seal."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec
from tokenizers import Tokenizer

from .. import __version__
from ..runtime.agreement import measure_known_answer
from ..runtime.bundle import (
    KNOWN_ANSWER_FILE,
    MODEL_FILE,
    PROMPT_FILE,
    TOKENIZER_FILE,
    Bundle,
    template_text,
)
from ..runtime.errors import UsageError
from ..runtime.files import Bar
from ..runtime.known_answer import KnownAnswer
from ..runtime.manifest import FORMAT_VERSION, Architecture, HeadName, Manifest, Precision, PrecisionName, PromptId
from ..runtime.prompt import Prompt
from ..runtime.session import Session
from .calibration import QUESTIONS
from .card import write_card
from .checkpoint import Checkpoint
from .companions import write_companions
from .gate import pass_gate
from .head import HeadCut
from .inventory import weight_parts
from .layerwise import LayerwiseReference
from .model import write_model
from .package import BundleWriter
from .providers import graph_providers
from .recipe import Recipe, recipe
from .snapshot import written_prefix, written_snapshot
from .verify import ExportedGraph

_TOOLS = (
    "torch",
    "transformers",
    "optimum",
    "optimum-onnx",
    "onnx",
    "onnxruntime",
    "tokenizers",
    "safetensors",
)
# Prompts of the product take some 1,500 positions; each costs 2 KiB of rotary tables in fp32.
DEFAULT_CONTEXT = 8192


def export_checkpoint(
    checkpoint: Path,
    bundle: Path,
    *,
    adapter: Path | None = None,
    prompt: PromptId = "card",
    name: str | None = None,
    precision: PrecisionName = "fp32",
    variant: Recipe | None = None,
    head: HeadName = "all",
    context: int = DEFAULT_CONTEXT,
    verify: bool = True,
    progress: Callable[[str], None] = lambda _line: None,
    bar: Bar = lambda _total: nullcontext(lambda _done: None),
) -> Bundle:
    """Exports the text part of a Gemma 3 checkpoint as a new bundle, on the CPU.

    Memory: less than 4 GiB at 4B in every precision; the comparison with torch runs the bundle, as a whole where
    there is memory for it.

    Args:
        checkpoint: a folder in Hugging Face's layout with safetensors and ``tokenizer.json``, of a
            ``Gemma3ForCausalLM`` or a ``Gemma3ForConditionalGeneration``.
        bundle: the folder to make; it appears when it is complete, or not at all.
        adapter: a PEFT folder with a LoRA adapter, merged into the weights.
        prompt: the prompt template: ``card``, ``paper`` or ``question``.
        name: the bundle's name in its manifest; by default the source's.
        precision: how the weights are stored.
        variant: another recipe for the same precision.
        head: which rows the output head keeps: ``all``, or those that graphs need (`HeadCut`).
        context: positions that the bundle has at most; no more than the checkpoint's.
        verify: measure the graph against torch, and fail where it differs, naming the layer; layer by layer where the
            bundle does not fit in memory. Leaving it out is said in the manifest.
        progress: called with a line of text before each step.
        bar: called with the bytes of all weights before they are written.

    Raises:
        UsageError: the checkpoint cannot be exported, or the output exists. Nothing was written.
        BundleError: the bundle is too far from its checkpoint, or the disk is full. Nothing was left behind.
    """
    if name is not None and not (name.isprintable() and 0 < len(name) <= 100):
        raise UsageError(f"the bundle's name {name[:100]!r} must have 1 to 100 printable characters")
    if context < 1:
        raise UsageError(f"the context is {context}: it must be 1 or more")
    for folder in (checkpoint, *([] if adapter is None else [adapter])):
        if bundle.absolute().parent.resolve().is_relative_to(folder.resolve()):
            raise UsageError(f"output {bundle}: it lies inside {folder}, which is read; choose another place")
    created, chosen = _now(), variant or recipe(precision)
    with BundleWriter(bundle) as writer:
        progress(f"reading {checkpoint}")
        opened = Checkpoint.open(checkpoint, adapter)
        source = opened.source()
        template = template_text(prompt)
        (writer.folder / PROMPT_FILE).write_text(template, encoding="utf-8")
        shutil.copyfile(opened.folder.file(TOKENIZER_FILE), writer.folder / TOKENIZER_FILE)
        with opened.weights() as weights:
            shape = weights.config.architecture
            shape = msgspec.structs.replace(shape, context_length=min(context, shape.context_length))
            write_companions(opened, shape, writer.folder)
            cut = HeadCut.choose(head, writer.folder / TOKENIZER_FILE, shape.vocab_size, opened.special_ids.stop)
            done = write_model(weights, chosen, shape, template, writer, progress, bar, cut)
            parts = weight_parts(writer.folder / MODEL_FILE, weights.config, cut)
            parity = None
            if verify:
                progress("comparing with torch")
                rows = None if cut is None else cut.rows
                exported = ExportedGraph(
                    writer.folder, shape, template, precision, float(done.get("stream_scale", 1.0)), rows
                )
                measured = pass_gate(LayerwiseReference(weights), exported, progress)
                parity, known = measured.parity, measured.known_answer
                if not parity.teacher_forced:
                    known = _known_answer(writer.folder, template, shape, precision)
                if known is not None:
                    (writer.folder / KNOWN_ANSWER_FILE).write_bytes(known.encode())
            else:
                progress(
                    "warning: not compared with the checkpoint, as asked for; nobody knows whether the bundle is right"
                )
                done["verification"] = "skipped by request"
        manifest = Manifest(
            format_version=FORMAT_VERSION,
            name=name or source.name,
            source=source,
            architecture=shape,
            precision=Precision(precision, {**chosen.description, **done}),
            files={},
            prompt=prompt,
            special_ids=opened.special_ids,
            tools={"dagger-edge": __version__, **{tool: version(tool) for tool in _TOOLS}},
            parity=parity,
            export_command=_command(checkpoint, bundle, adapter, prompt, name, chosen, head, context, verify),
            created=created,
            weights=parts,
            prefix=written_prefix(writer.folder, template),
            providers=graph_providers(writer.folder / MODEL_FILE),
            recipe=chosen.document(),
        )
        write_card(checkpoint, writer.folder, manifest)
        progress("sealing")
        return writer.seal(manifest)


def _known_answer(folder: Path, template: str, shape: Architecture, precision: PrecisionName) -> KnownAnswer | None:
    """What the graph in ``folder`` says to a question of the product's kind, if the context has room for it."""
    prompt = Prompt(Tokenizer.from_file(str(folder / TOKENIZER_FILE)), template)
    session, ids = Session(folder / MODEL_FILE), prompt.encode(QUESTIONS[0])
    snapshot = written_snapshot(folder, prompt, shape, precision)
    start = None if snapshot is None else snapshot.start(session, ids)
    return measure_known_answer(session, QUESTIONS[0], ids, shape.context_length, precision, start)


def _command(
    checkpoint: Path,
    bundle: Path,
    adapter: Path | None,
    prompt: PromptId,
    name: str | None,
    chosen: Recipe,
    head: HeadName,
    context: int,
    verify: bool,
) -> str:
    """The command line that repeats the export, without the machine's folders."""
    folders = [checkpoint.absolute().name, bundle.absolute().name]
    by = ["--precision", chosen.name] if chosen.title in {"", chosen.name} else ["--recipe", chosen.title]
    arguments = ["dagger-edge", "export", *folders, "--prompt", prompt, *by]
    if adapter is not None:
        arguments += ["--adapter", adapter.absolute().name]
    if head != "all":
        arguments += ["--head", head]
    if context != DEFAULT_CONTEXT:
        arguments += ["--context", str(context)]
    if name is not None:
        arguments += ["--name", name]
    if not verify:
        arguments.append("--no-verify")
    return shlex.join(arguments)


def _now() -> str:
    """UTC in ISO 8601; of ``SOURCE_DATE_EPOCH`` where that is set, so that builds can be repeated."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch is None:
        return datetime.now(UTC).isoformat(timespec="seconds")
    try:
        return datetime.fromtimestamp(int(epoch), UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"SOURCE_DATE_EPOCH is {epoch!r}; set it to a number of seconds since 1970") from None
