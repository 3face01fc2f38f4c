"""Drafts: guesses at what comes next, where they come from, and when they are worth their time."""

import json
from pathlib import Path

import numpy as np
import pytest
from adversary import RUNS, Adversary, spelling

from dagger_edge.runtime.cost import DEFAULT, StepCost
from dagger_edge.runtime.decode import Free, Limits, decode, decode_naive, drain
from dagger_edge.runtime.draft import GraphDrafter, Record, _Lookup
from dagger_edge.runtime.grammar import GraphGrammar
from dagger_edge.runtime.graph import Graph
from dagger_edge.runtime.structure_guess import Guess, StructureGuess

DATA = Path(__file__).parents[1] / "data"
QUESTION = "রহিমের কাছে ৫টি আম ছিল। সে করিমকে ২টি আম দিল। রহিমের কাছে এখন কতটি আম আছে?"
# Reading along is free; it costs as much as a step of its own.
FREE, DEAR = StepCost((1, 16), (1.0, 1.0)), StepCost((1, 16), (1.0, 16.0))


def rows(count):
    for name in ("realistic_graphs", "mgsm_bn_gold", "msvamp_bn_gold"):
        lines = (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        for line in lines if RUNS > 1000 else lines[:count]:
            row = json.loads(line)
            yield row["question"], Graph.parse(json.dumps(row["graph"])).to_json(fenced=True)


def written(constraint):
    return constraint.text.decode(errors="replace")


def drafter(question=QUESTION, cost=DEFAULT, record=None, text=written):
    return GraphDrafter(question, spelling(), cost, record or Record(), text)


def grammar_after(text):
    grammar = GraphGrammar(spelling(), 1024)
    for token in spelling()(text):
        grammar.accept(token)
    return grammar


@pytest.mark.parametrize("count", [15])
def test_every_beginning_of_a_graph_has_a_guess_or_none_and_no_error(count):
    """A fork stands anywhere, in the middle of keys and of characters too; what fails there ends the answer."""
    right = guessed = 0
    for question, text in rows(count):
        structure = StructureGuess(question)
        data = text.encode()
        for end in range(len(data) + 1):
            before = data[:end].decode(errors="replace")
            guess = structure.after(before)
            if guess is not None:
                assert guess.text
                assert guess.place
                guessed += 1
                right += text.startswith(before + guess.text)
    # Of all places, so that a guess that fails nowhere is not one that is always wrong.
    assert right > 0.6 * guessed


def test_hostile_beginnings_have_a_guess_or_none_and_no_error():
    """Graphs of adversaries have ids, numbers and operations that no one would guess."""
    for seed, kind in enumerate(("random", "slow", "quotes", "words", "digits")):
        grammar = GraphGrammar(spelling(), 500)
        structure = StructureGuess("৩টি আম, 2.50 টাকা, দুই জন, -৭ ও ১/২")
        for _ in decode(Adversary(spelling(), kind, seed), [2], Limits((), 500, 9999), constraint=grammar):
            guess = structure.after(written(grammar))
            assert guess is None or guess.text


HEADS = '```json\n{\n  "nodes": [\n    {"id": "n1", "op": "const", "val": 5, "distractor": false, "label": "আম"},\n    '
SUB = HEADS + '{"id": "n2", "op": "const", "val": 2, "distractor": false, "label": "দিল"},\n    '
DONE = SUB + '{"id": "n3", "op": "sub", "args": ["n1", "n2"], "distractor": false, "label": "বাকি"},\n    '


@pytest.mark.parametrize(
    ("before", "guess"),
    [
        (HEADS[: HEADS.index("n1")], Guess('n1",', "id")),
        (HEADS[: HEADS.index(" 5")], Guess(" 5,", "val")),
        (HEADS[: HEADS.index("const")], Guess('const",', "op const")),
        (HEADS[: HEADS.index('nst"')], Guess('nst",', "op const")),
        (HEADS[: HEADS.index("alse")], Guess("alse,", "flag of const")),
        (HEADS + '{"id": "', Guess('n2",', "id")),
        (HEADS + '{"id": "n2", "op": "const", "val":', Guess(" 2,", "val")),
        (SUB + '{"id": "n', Guess('3",', "id")),
        (SUB + '{"id": "n3", "op": "', None),
        (SUB + '{"id": "n3", "op": "const", "val":', None),
        (SUB + '{"id": "n3", "op": "sub", "args": ["', Guess('n1", "', "argument 0")),
        (SUB + '{"id": "n3", "op": "sub", "args": ["n1', Guess('", "', "argument 0")),
        (SUB + '{"id": "n3", "op": "sub", "args": ["n1"', Guess(', "', "argument list")),
        (SUB + '{"id": "n3", "op": "sub", "args": ["n1", "', Guess('n2"],', "argument 1")),
        (SUB + '{"id": "n3", "op": "sub", "args": ["n1", "n2"', Guess("],", "argument list")),
        (SUB + '{"id": "n3", "op": "sqrt", "args": ["', Guess('n2"],', "argument 0")),
        (SUB + '{"id": "n3", "op": "sub", "args": ["n1", "n2"], "distractor":', Guess(" false,", "flag")),
        (SUB + '{"id": "n3", "op": "sub", "args": ["n1", "n2"], "distractor": false, "label": "', None),
        (DONE + '{"id": "', Guess('final_result",', "final")),
        (DONE + '{"id": "final_result", "op": "', Guess('identity",', "op identity")),
        (DONE + '{"id": "final_result", "op": "identity", "args": ["', Guess('n3"],', "argument 0")),
        (DONE + '{"id": "final_result", "op": "identity", "args": ["n3"], "distractor": false, "label": "চূ', None),
        ("", None),
        ("```json", None),
    ],
)
def test_what_the_structure_says_comes_next(before, guess):
    """The question's numbers in order, nodes that nothing has used, the answer when all is used."""
    found = StructureGuess(QUESTION).after(before)
    if "চূ" in before:
        assert found is not None
        assert found.place == "last label"
        assert found.text.endswith('"}')
    else:
        assert found == guess


def test_what_was_read_of_a_text_is_not_taken_for_another_s():
    """A draft that was refused goes on otherwise than the text that replaces it; nodes of it are in no graph."""
    structure, sums = StructureGuess(QUESTION), SUB.replace("n2", "n7")
    for text in (HEADS, SUB, DONE, HEADS, sums, SUB, DONE[:-9], DONE, "", DONE):
        for end in ('{"id": "', '{"id": "n9", "op": "add", "args": ["'):
            assert structure.after(text + end) == StructureGuess(QUESTION).after(text + end)


def all_guesses(question, text, guesser):
    """What ``guesser`` drafts at every place of ``text``, and a fork of the grammar there."""
    grammar, prompt = GraphGrammar(spelling(), 1024), spelling()(question)
    ids = list(prompt)
    for token in spelling()(text):
        if not grammar.forced():
            yield grammar.fork(), guesser.guess(grammar, ids, 1, 12)
            guesser.learn(0)
        grammar.accept(token)
        ids.append(token)


@pytest.mark.parametrize("cost", [DEFAULT, FREE])
def test_drafts_hold_nothing_that_may_not_come(cost):
    """It would be read for nothing; what is forced in between has to be in it, or all behind it is wrong."""
    drafted = 0
    for question, text in list(rows(4)):
        guesser = drafter(question, cost)
        for grammar, draft in all_guesses(question, text, guesser):
            before = grammar.text
            assert len(draft.ids) <= 12
            for token in draft.ids:
                assert grammar.allows(token)
                grammar.accept(token)
            drafted += len(draft.ids)
            assert grammar.text.startswith(before)
    assert drafted > 300


@pytest.mark.parametrize("cost", [DEFAULT, FREE])
def test_a_draft_says_where_there_is_no_choice(cost):
    """A place too many, and the step ends there; one too few, and logits are made that nobody reads. The place behind
    the last id is one of them."""
    chosen, forced, behind = 0, 0, 0
    for question, text in list(rows(4)):
        for grammar, draft in all_guesses(question, text, drafter(question, cost)):
            found = []
            for place, token in enumerate([*draft.ids, None]):
                if grammar.forced():
                    found.append(place)
                if token is not None:
                    grammar.accept(token)
            assert list(draft.forced) == found
            chosen, forced = chosen + len(draft.ids) + 1 - len(found), forced + len(found)
            behind += len(draft.ids) in found
    assert min(chosen, forced, behind) > 50


def test_guessing_leaves_the_grammar_as_it_is():
    grammar = grammar_after(HEADS + '{"id": "')
    mask = grammar.mask(spelling().size)
    assert drafter().guess(grammar, [5, 6, 7], 1, 20).ids
    assert grammar.text.decode() == HEADS + '{"id": "'
    assert (grammar.mask(spelling().size) == mask).all()


@pytest.mark.parametrize("room", [0, 1, 2, 5])
def test_a_draft_is_no_longer_than_the_room(room):
    """What is behind the limit cannot be in the answer."""
    grammar = grammar_after(HEADS + '{"id": "')
    assert len(drafter(cost=FREE).guess(grammar, [5, 6, 7], 1, room).ids) <= room


def test_a_lookup_goes_on_where_the_last_ids_were_last():
    """The latest place, the longest run; the last ids themselves are none."""
    lookup = _Lookup()
    lookup.extend([1, 2, 3, 4, 9, 2, 3, 5, 9, 8, 2, 3])
    assert [item.token for item in lookup.after([])][:3] == [5, 9, 8]
    assert [item.place for item in lookup.after([])][:2] == ["lookup 2", "lookup 2 on"]
    assert [item.token for item in lookup.after([4])][:2] == [9, 2]
    assert next(lookup.after([4])).place == "lookup 3"
    assert [item.token for item in lookup.after([7, 8])][:1] == [2]
    assert next(lookup.after([7, 8])).place == "lookup 1"
    assert list(lookup.after([7])) == []


def test_a_lookup_takes_ids_bit_by_bit():
    """It is given all ids again at every step; entered twice, runs would be found where they are not."""
    ids = np.random.default_rng(0).integers(0, 4, 60).tolist()
    at_once, in_steps = _Lookup(), _Lookup()
    at_once.extend(ids)
    for end in range(0, 61, 7):
        in_steps.extend(ids[:end])
    in_steps.extend(ids)
    assert list(in_steps.after([])) == list(at_once.after([]))


def test_a_lookup_without_a_grammar_drafts_too():
    """Free decoding has no structure, and copies all the same."""
    guesser = GraphDrafter("", spelling(), FREE, Record(), None)
    assert guesser.guess(Free(), [1, 2, 3, 4, 1, 2, 3], 1, 20) == ([4, 1, 2, 3] * 5, [], [])


def test_what_is_right_is_guessed_more_and_what_is_wrong_less():
    record = Record()
    before = record.probability("id")
    for _ in range(10):
        record.note("id", right=True)
    better = record.probability("id")
    for _ in range(40):
        record.note("id", right=False)
    assert 0 < record.probability("id") < before < better < 1
    assert record.probability("val") == Record().probability("val")
    assert record.probability("") == 1


def test_learning_counts_the_guesses_up_to_the_first_wrong_one():
    """Those behind it were right or wrong by accident."""
    record = Record()
    guesser = drafter(cost=FREE, record=record)
    grammar = grammar_after(HEADS + '{"id": "')
    draft = guesser.guess(grammar, [5, 6, 7], 1, 20).ids
    assert len(draft) > 2
    places = [item.place for item in guesser._draft]
    guesser.learn(0)
    assert record._tries == {places[0]: 1}
    assert record._hits[places[0]] == 0
    guesser.guess(grammar, [5, 6, 7], 1, 20)
    guesser.learn(len(draft))
    assert sum(record._tries.values()) == 1 + sum(map(bool, places))
    assert record._hits[places[0]] == 1


def test_guesses_that_are_never_right_end():
    """Else every step would pay for them."""
    record, grammar = Record(), grammar_after(HEADS + '{"id": "')
    lengths = []
    for _ in range(60):
        guesser = drafter(record=record)
        lengths.append(len(guesser.guess(grammar, [5, 6, 7], 1, 20).ids))
        guesser.learn(0)
    assert lengths[0] > 0 == lengths[-1]


def test_nothing_is_guessed_where_reading_along_costs_a_step():
    """A draft then only delays, be it right nine times of ten."""
    for question, text in list(rows(2)):
        assert not any(draft.ids for _, draft in all_guesses(question, text, drafter(question, DEAR)))


def test_drafts_are_long_where_reading_along_is_free():
    def longest(cost):
        return [
            max(len(draft.ids) for _, draft in all_guesses(question, text, drafter(question, cost)))
            for question, text in list(rows(2))
        ]

    assert min(longest(FREE)) >= 10
    assert sum(longest(FREE)) > sum(longest(DEFAULT))


def test_costs_between_and_beyond_what_was_measured():
    """Beyond it a step goes on to grow; a single measurement says nothing of growth."""
    cost = StepCost((1, 2, 16), (1.0, 1.5, 8.5))
    assert [cost.of(tokens) for tokens in (1, 2, 9, 16, 31)] == [1.0, 1.5, 5.0, 8.5, 16.0]
    assert StepCost((1,), (2.0,)).of(50) == 2.0
    sizes = range(1, 200)
    assert all(DEFAULT.of(size) < DEFAULT.of(size + 1) for size in sizes)


@pytest.mark.parametrize("cost", [DEFAULT, FREE, DEAR])
@pytest.mark.parametrize("kind", ["random", "words", "quotes", "never allowed", "digits"])
def test_whatever_is_drafted_an_adversary_writes_the_same(kind, cost):
    """The whole: grammar, structure, lookup and loop, on texts that no draft foresees."""
    for seed in range(max(RUNS // 300, 1)):
        expected = drain(naive(kind, seed))
        model = Adversary(spelling(), kind, seed)
        record = Record()
        ids, grammar = [], GraphGrammar(spelling(), 400)
        for emitted in decode(
            model,
            spelling()(QUESTION),
            Limits((), 400, 9999),
            constraint=grammar,
            drafter=drafter(cost=cost, record=record),
        ):
            ids += emitted.ids
        assert ids == expected[0]


def naive(kind, seed):
    return decode_naive(
        Adversary(spelling(), kind, seed),
        spelling()(QUESTION),
        Limits((), 400, 9999),
        constraint=GraphGrammar(spelling(), 400),
    )
