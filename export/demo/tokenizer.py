"""The demo model's tokenizer: BPE in the layout of Gemma's, trained on generated problems.

As Gemma's: spaces become ``▁``, digits stand alone, what the vocabulary lacks falls back to bytes, and the
control tokens carry Gemma's names. Unlike Gemma's, long stretches of the graph's JSON are single tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

CONTROL_TOKENS = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")
_BYTE_TOKENS = tuple(f"<0x{byte:02X}>" for byte in range(256))
_DIGIT = "0-9০-৯"
_BENGALI = "ঀ-৥ৰ-৾\u200c\u200d"
# A word with the space before it; one digit; or a run of everything else (which leaves that space to the word).
_PIECES = rf"▁?[{_BENGALI}]+|[{_DIGIT}]|(?:(?!▁[{_BENGALI}])[^{_DIGIT}{_BENGALI}])+"


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A tokenizer of ``vocab_size`` entries: control tokens, 256 bytes, and pieces learned from ``texts``."""
    bare = Tokenizer(models.BPE())
    bare.normalizer = normalizers.Replace(" ", "▁")
    bare.pre_tokenizer = pre_tokenizers.Split(Regex(_PIECES), behavior="isolated")
    reserved = [*CONTROL_TOKENS, *_BYTE_TOKENS]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(reserved), min_frequency=2, show_progress=False, max_token_length=64
    )
    bare.train_from_iterator(texts, trainer)
    layout = json.loads(bare.to_str())
    learned = sorted(layout["model"]["vocab"], key=layout["model"]["vocab"].get)
    layout["model"].update(
        vocab={token: index for index, token in enumerate([*reserved, *learned])},
        byte_fallback=True,
        unk_token="<unk>",
        fuse_unk=True,
    )
    tokenizer: Tokenizer = Tokenizer.from_str(json.dumps(layout, ensure_ascii=False))
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in CONTROL_TOKENS])
    return tokenizer
