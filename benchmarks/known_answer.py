"""What a bundle's known answer tells apart: by how much its logits move on another kernel, and in a wrong graph.

Changes copies of the bundle's graph (the weights are linked): one thread, kernels that do not round activations,
windows that are off. Run it from the repository root in the export environment, beside the bundle on the same disk:

    PYTHONPATH=src python benchmarks/known_answer.py BUNDLE
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
from tokenizers import Tokenizer

from dagger_edge.runtime.agreement import compare_known_answer
from dagger_edge.runtime.bundle import MODEL_FILE, WEIGHTS_FILE, Bundle
from dagger_edge.runtime.known_answer import KnownAnswer
from dagger_edge.runtime.prompt import Prompt
from dagger_edge.runtime.session import Session

Change = Callable[[onnx.AttributeProto], None]


def set_attribute(name: str, value: Callable[[int], int]) -> Change:
    """A change of the attribute ``name`` wherever it has a positive value."""

    def change(attribute: onnx.AttributeProto) -> None:
        if attribute.name == name and attribute.i > 0:
            attribute.i = value(attribute.i)

    return change


def difference(bundle: Bundle, known: KnownAnswer, change: Change) -> float:
    """The largest difference from the known logits, by the changed graph."""
    folder = bundle.path.with_name(f".{bundle.path.name}.changed")
    folder.mkdir()
    try:
        os.link(bundle.path / WEIGHTS_FILE, folder / WEIGHTS_FILE)
        model = onnx.load(bundle.model_path, load_external_data=False)
        for node in model.graph.node:
            for attribute in node.attribute:
                change(attribute)
        (folder / MODEL_FILE).write_bytes(model.SerializeToString())
        return compared(Session(folder / MODEL_FILE), bundle, known)
    finally:
        shutil.rmtree(folder)


def compared(session: Session, bundle: Bundle, known: KnownAnswer) -> float:
    """The largest difference from the known logits, read as the bundle is used."""
    prompt = Prompt(Tokenizer.from_file(str(bundle.tokenizer_path)), bundle.prompt_template)
    snapshot = bundle.snapshot(prompt.prefix_ids)
    start = snapshot.start(session, known.prompt_ids) if snapshot is not None and known.prefix_tokens else None
    return compare_known_answer(session, known, start).max_logit_diff


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    bundle = Bundle.open(parser.parse_args().bundle)
    known = bundle.known_answer()
    if known is None:
        raise SystemExit(f"{bundle.path} has no known answer")
    loose = msgspec.structs.replace(known, tolerance=1e6)
    changes = {
        "as it is": lambda _attribute: None,
        "activations not rounded": set_attribute("accuracy_level", lambda _level: 0),
        "window - 1": set_attribute("local_window_size", lambda window: window - 1),
        "window + 1": set_attribute("local_window_size", lambda window: window + 1),
        "half the window": set_attribute("local_window_size", lambda window: window // 2),
    }
    result = {name: difference(bundle, loose, change) for name, change in changes.items()}
    result["one thread"] = compared(Session(bundle.model_path, threads=1), bundle, loose)
    session = Session(bundle.model_path)
    logits, _ = session.step(np.array([known.prompt_ids], np.int64), session.empty_cache())
    print(  # noqa: T201
        json.dumps({"tolerance": known.tolerance, "deviation": float(logits[0, -1].std()), **result}, indent=2)
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
