"""What llama.cpp's quantised types keep of real Gemma 3 weights, in the terms of precision_270m.py.

    PYTHONPATH=src python benchmarks/llamacpp_270m.py --work DIR [--type Q4_0 ...]

Needs the environment of parity_270m.py with `cyllama==0.2.18` beside it (llama.cpp with ggml 0.12.0
built for x86-64, and bindings). The fp32 checkpoint is written as a GGUF file in F32, llama.cpp quantises that by its
defaults, and reads the same ids of the same questions as our bundles (processor, cache in fp32). The row F32 shows
that file and measurement are right: all of its divergence is llama.cpp's arithmetic. `weights_only` is torch in
fp32 on the weights that the quantised file decodes to: what is left without rounded activations. Results are added
to those in the result file.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from cyllama.llama import llama_cpp
from numpy.typing import NDArray
from parity_270m import GGUF_FILE, ROOT, convert, fetch_weights, provenance
from precision_270m import Measure, ask, asked

# llama.h's enum llama_ftype.
TYPES = {"F32": 0, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q4_K_M": 15, "IQ4_NL": 25}
_EMBEDDING = "token_embd.weight"
_CONTEXT = 2048
_THREADS = 2
_GGML_F32 = 0
_ROWS = 64


class _Model(llama_cpp.LlamaModel):  # type: ignore[misc]
    """With the size of Gemma's vocabulary, which the binding asks its model for in vain."""

    n_vocab = 262144


class Llama:
    """One GGUF file in llama.cpp on the processor."""

    def __init__(self, path: Path) -> None:
        llama_cpp.disable_logging()
        settings = llama_cpp.LlamaContextParams()
        settings.n_ctx = settings.n_batch = settings.n_ubatch = _CONTEXT
        settings.n_threads = settings.n_threads_batch = _THREADS
        settings.flash_attn_type = 0
        settings.type_k = settings.type_v = _GGML_F32
        settings.swa_full = True
        self._model = _Model(str(path), verbose=False)
        self._context = llama_cpp.LlamaContext(self._model, settings, verbose=False)

    def logits(self, ids: list[int], first: int) -> Iterator[NDArray[np.float32]]:
        """Logits float32 [n, vocab] of ``ids`` from ``first`` on, a number of rows at a time."""
        self._context.kv_cache_clear()
        batch = llama_cpp.LlamaBatch(n_tokens=len(ids), embd=0, n_seq_max=1)
        for place, token in enumerate(ids):
            batch.add(token, place, [0], place >= first)
        self._context.decode(batch)
        for start in range(first, len(ids), _ROWS):
            places = range(start, min(start + _ROWS, len(ids)))
            yield np.stack([np.array(self._context.get_logits_ith(place), np.float32) for place in places])

    def close(self) -> None:
        self._context.close()
        self._model.close()


def write_gguf(checkpoint: Path, source: Path, target: Path) -> None:
    """``checkpoint`` as a GGUF file in F32, with the fields (tokenizer, architecture) of the file at ``source``."""
    from dagger_edge.export.checkpoint import Checkpoint

    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, "gemma3")
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name not in ("general.architecture", "general.file_type"):
            inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), field.types[0], sub_type=inner)
    writer.add_file_type(TYPES["F32"])
    with Checkpoint.open(checkpoint).weights() as weights:
        for name, theirs in tensor_names(weights.config).items():
            # GGUF's norms multiply by the weight itself, Gemma's by 1 + weight.
            writer.add_tensor(theirs, weights.read(name) + np.float32(theirs.endswith("norm.weight")))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    writer.close()


def tensor_names(config: Any) -> dict[str, str]:
    """GGUF's name of every tensor of a checkpoint."""
    known = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GEMMA3, config.num_layers)
    return {name: known.get_name(name, try_suffixes=(".weight",)) for name in config.tensor_shapes}


def quantize(source: Path, target: Path, kind: str) -> None:
    """llama.cpp's own quantiser by its defaults, without an importance matrix."""
    llama_cpp.disable_logging()
    settings = llama_cpp.LlamaModelQuantizeParams()
    settings.ftype, settings.nthread = TYPES[kind], _THREADS
    llama_cpp.model_quantize(str(source), str(target), settings)


def contents(path: Path) -> dict[str, Any]:
    """Sizes in bytes and types of the tensors of a GGUF file."""
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    embedding = tensors.pop(_EMBEDDING)
    linears = [tensor for tensor in tensors.values() if len(tensor.shape) == 2]
    return {
        "weights_bytes": int(embedding.n_bytes + sum(tensor.n_bytes for tensor in tensors.values())),
        "embedding_bytes": int(embedding.n_bytes),
        "linears_bytes": int(sum(tensor.n_bytes for tensor in linears)),
        "embedding_type": embedding.tensor_type.name,
        "linears_types": dict(Counter(tensor.tensor_type.name for tensor in linears)),
    }


def decoded(path: Path, checkpoint: Path) -> Any:
    """The checkpoint's model in torch with the weights of the GGUF file at ``path``."""
    import torch

    from dagger_edge.export.checkpoint import Checkpoint
    from dagger_edge.export.reference import load_model

    opened = Checkpoint.open(checkpoint)
    model = load_model(opened)
    names = tensor_names(opened.config)
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            tensor = tensors[names[name]]
            numbers = gguf.dequantize(tensor.data, tensor.tensor_type)
            parameter.copy_(torch.from_numpy(numbers - np.float32(tensor.name.endswith("norm.weight"))))
    return model


def in_llama(path: Path, compare: Measure) -> dict[str, Any]:
    model = Llama(path)
    found = compare.against(lambda ids: model.logits(ids, compare.shared))
    model.close()
    return found


def in_torch(path: Path, checkpoint: Path, compare: Measure) -> dict[str, Any]:
    from dagger_edge.export.reference import WholeReference

    reference = WholeReference(decoded(path, checkpoint))

    def logits_of(ids: list[int]) -> Iterator[NDArray[np.float32]]:
        states = reference.hidden([ids])[0][compare.shared :]
        for first in range(0, len(states), _ROWS):
            yield reference.logits(states[first : first + _ROWS])

    return compare.against(logits_of)


def about(options: argparse.Namespace, data: str) -> dict[str, Any]:
    """What the figures hold for, llama.cpp included."""
    known = provenance(argparse.Namespace(**vars(options), precision=""))
    return {
        **known,
        "packages": {**known["packages"], "cyllama": importlib.metadata.version("cyllama")},
        "ggml": f"{llama_cpp.ggml_version()} ({llama_cpp.ggml_commit()})",
        "data": data,
        "command": f"PYTHONPATH=src python benchmarks/llamacpp_270m.py --work WORK {asked(options)}",
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="as of parity_270m.py")
    parser.add_argument("--checkpoint", type=Path, help="use this one; by default it is fetched into WORK")
    parser.add_argument("--type", action="append", choices=TYPES, help="repeatable; by default all")
    parser.add_argument("--questions", type=int, default=16, help="of MSVAMP and MGSM together (default 16)")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/llamacpp_270m.json")
    options = parser.parse_args()
    options.data = ROOT / "tests/data/msvamp_bn_gold.jsonl"
    from dagger_edge.runtime.bundle import template_text

    options.work.mkdir(parents=True, exist_ok=True)
    source = fetch_weights(options.work)
    checkpoint = options.checkpoint or convert(source, options.work)
    full = options.work / "llamacpp-F32.gguf"
    write_gguf(checkpoint, source / GGUF_FILE, full)
    questions, data = ask(options.questions)
    compare = Measure(checkpoint, questions, template_text("card"))
    result = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {"types": {}}
    for kind in options.type or TYPES:
        path = options.work / f"llamacpp-{kind}.gguf"
        if kind != "F32":
            quantize(full, path, kind)
        row = {**contents(path), **in_llama(path, compare)}
        if kind != "F32":
            row["weights_only"] = in_torch(path, checkpoint, compare)
        print(kind, row, file=sys.stderr)  # noqa: T201
        result["types"][kind] = row
        result["provenance"] = about(options, data)
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
