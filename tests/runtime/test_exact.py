"""Decoding with everything on, on the demo's real weights, against one token a step without a cache of the answer."""

import json
import os
import re
from pathlib import Path

import pytest
from adversary import DEMO, spelling
from exactness import TIE, Decoders, compare

DATA = Path(__file__).parents[1] / "data"
# What a graph's keys, numbers, operations and ids are spelled with.
STRUCTURE = re.compile(rb'[ \n"{}\[\]:,.\-0-9a-z_]+')
QUESTIONS = int(os.environ.get("DAGGER_EDGE_EXACT_QUESTIONS", "12"))


def questions():
    """As many of MSVAMP's, which the demo knows, as of MGSM's, where it is lost and logits are near each other."""
    half = QUESTIONS // 2
    for name, count in (("msvamp_bn_gold", QUESTIONS - half), ("mgsm_bn_gold", half)):
        lines = (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        # From the end: MSVAMP's rows from 500 on are not in the demo's training.
        yield from (json.loads(line)["question"] for line in lines[-count:])


@pytest.fixture(scope="module")
def decoders():
    return Decoders(DEMO, 300, 300)


def test_the_logits_of_core_tokens_are_enough_where_nothing_else_may_come():
    """A place that is called so by mistake gets a token that the model did not want."""
    spelled = spelling()
    core = [index for index in range(spelled.size) if STRUCTURE.fullmatch(spelled.spell([index]))]
    decoders = Decoders(DEMO, 300, 300, core)
    found = list(compare(decoders, list(questions())[:6]))
    assert all(item["equal"] for item in found)
    noisy = decoders._quick
    assert 0.3 < noisy.spared / noisy.asked < 0.9


def test_the_ids_are_those_of_slow_decoding(decoders, record_property):
    """Cache, forced tokens and drafts are to save time, and nothing else; only rounding may decide otherwise."""
    found = list(compare(decoders, list(questions())))
    assert len(found) == QUESTIONS
    differing = [item for item in found if not item["equal"]]
    tokens = sum(item["tokens"] for item in found)
    record_property("differing", f"{len(differing)} of {QUESTIONS} answers, {tokens} tokens")
    assert all(item["gap"] < TIE for item in differing)
    # Were the drafts never right, there would be nothing to be exact about.
    assert sum(item["steps"] for item in found) < 0.8 * tokens
    assert all(item["stop"] == "stop" for item in found)
