"""The names of Gemma 3's weights, whatever class or version of transformers wrote them."""

from __future__ import annotations

import re

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
# Not a weight: the row of every id, where a head that is cut has them in another order than the vocabulary.
ROW_OF_ID = "vocabulary.row_of_id"

_TEXT_PREFIX = re.compile(r"\A(model\.)?language_model\.(model\.)?")
_VISION_PREFIX = re.compile(r"\A(model\.)?(vision_tower|multi_modal_projector)\.")


def canonical_name(key: str) -> str | None:
    """The name in ``Gemma3ForCausalLM`` of what any Gemma 3 class calls ``key``; None for the vision part.

    ``Gemma3ForConditionalGeneration`` writes ``language_model.model.layers…`` (and ``language_model.lm_head``),
    or ``model.language_model.layers…`` (and ``lm_head``) since transformers 4.52.
    """
    if _VISION_PREFIX.match(key):
        return None
    rest = _TEXT_PREFIX.sub("", key)
    if rest in {key, HEAD}:
        return rest
    return f"model.{rest}"
