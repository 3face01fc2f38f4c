"""``MODEL_CARD.md``: the checkpoint's own card, followed by what the export knows."""

from __future__ import annotations

import re
from pathlib import Path

from ..runtime.manifest import Manifest

CARD_FILE = "MODEL_CARD.md"
_SOURCE_CARDS = (CARD_FILE, "README.md")
_LICENCE_HEADING = re.compile(r"^#+ +licen[cs]e", re.MULTILINE | re.IGNORECASE)
_LICENCE = """\
## Licence

The weights are a derivative of the checkpoint named above and stay under its licence; derivatives of Google's
Gemma are subject to the [Gemma Terms of Use](https://ai.google.dev/gemma/terms), which ask to pass these
terms on. The licence of dagger-edge covers its code only.
"""


def write_card(checkpoint: Path, folder: Path, manifest: Manifest) -> None:
    """Writes the card into ``folder``.

    Raises:
        OSError: the disk is full.
    """
    own = next((checkpoint / name for name in _SOURCE_CARDS if (checkpoint / name).is_file()), None)
    text = own.read_text(encoding="utf-8", errors="replace").rstrip() if own else ""
    parts = [text, "\n---\n"] if text else []
    parts.append(_export_section(manifest))
    if not _LICENCE_HEADING.search(text):
        parts.append(_LICENCE)
    (folder / CARD_FILE).write_text("\n".join(parts), encoding="utf-8")


def _export_section(manifest: Manifest) -> str:
    source, shape = manifest.source, manifest.architecture
    return f"""\
# {manifest.name}: ONNX bundle for dagger-edge

- Source: `{source.title}` ({len(source.shards)} safetensors files, digests in `manifest.json`)
- Model: Gemma 3, {shape.num_layers} layers, {shape.vocab_size} ids, {shape.context_length} tokens of context
- Precision: {manifest.precision.name}
- Prompt: the `{manifest.prompt}` template, in `prompt.txt`
- Parity: {manifest.parity_summary}
- Made by: `{manifest.export_command}`, {manifest.created}
"""
