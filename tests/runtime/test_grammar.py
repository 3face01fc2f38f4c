"""The grammar: what it takes of real graphs, what it refuses, and that no model whatever can write anything else."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from adversary import DEMO, GEMMA, KINDS, RUNS, Adversary, spelling, write
from tokenizers import Tokenizer, decoders, models

from dagger_edge.runtime import grammar as grammar_module
from dagger_edge.runtime import spelling as spelling_module
from dagger_edge.runtime.decode import Limits, decode
from dagger_edge.runtime.errors import BundleError, ModelError, UsageError
from dagger_edge.runtime.grammar import LEAST_BUDGET, MAX_ARGUMENTS, MAX_NODES, GraphGrammar
from dagger_edge.runtime.graph import OPS, Graph, check_graph
from dagger_edge.runtime.sampling import Sampling, sampler
from dagger_edge.runtime.spelling import Spelling

DATA = Path(__file__).parents[1] / "data"
TOKENIZERS = [DEMO / "tokenizer.json", *([Path(GEMMA)] if GEMMA else [])]
tokenizers = pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=["demo", "gemma"][: len(TOKENIZERS)])
# No limit in sight.
PLENTY = 100_000


def graphs():
    """Gold graphs, placeholders for labels, and what the demo's generator writes; all of them in a long run."""
    sizes = {"realistic_graphs": None, "mgsm_bn_gold": 20, "msvamp_bn_gold": 20}
    for name, size in sizes.items():
        for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()[: size if RUNS < 1000 else None]:
            yield Graph.parse(json.dumps(json.loads(line)["graph"]))


def node(name, rest, distractor="false", label="ক"):
    return f'{{"id": "{name}", {rest}, "distractor": {distractor}, "label": "{label}"}}'


def const(name, value="5", **others):
    return node(name, f'"op": "const", "val": {value}', **others)


def call(name, op, *args, **others):
    return node(name, f'"op": "{op}", "args": [{", ".join(json.dumps(arg) for arg in args)}]', **others)


def text(*nodes):
    return '```json\n{\n  "nodes": [\n    ' + ",\n    ".join(nodes) + "\n  ]\n}\n```"


def read(written, budget=PLENTY):
    """A grammar that took ``written`` as far as it may come, and whether that was all of it."""
    grammar = GraphGrammar(spelling(), budget)
    for token in spelling()(written):
        if not grammar.allows(token):
            return grammar, False
        grammar.accept(token)
    return grammar, grammar.finished


FINAL = call("final_result", "identity", "n2")
N1, N2 = const("n1"), const("n2", "-0.25", distractor="true")


@tokenizers
def test_what_models_were_trained_on_is_taken_token_by_token(tokenizer):
    """A canonical token that may not come, or another that is forced, and the model is led off what it has learnt."""
    spelled, tokens, forced = spelling(tokenizer), 0, 0
    for graph in graphs():
        written = graph.to_json(fenced=True)
        grammar = GraphGrammar(spelled, 2048)
        for token in spelled(written):
            tokens, forced = tokens + 1, forced + bool(grammar.forced())
            assert grammar.allows(token), (grammar.text.decode(errors="replace")[-60:], spelled.spell([token]))
            grammar.accept(token)
        assert grammar.finished
        assert grammar.text.decode() == written
        assert grammar.ids == [node.id for node in graph.nodes]
    # Of Gemma's tokens two thirds; the demo's have learnt whole keys, and leave little to force.
    assert forced > (0.6 if tokenizer != TOKENIZERS[0] else 0.02) * tokens


REFUSED = {
    "an id twice": (N1, const("n1", "6"), FINAL),
    "the last id twice": (N1, N2, FINAL, FINAL),
    "the last id on a constant": (const("final_result"),),
    "the last id before another node": (N1, N2, FINAL, const("n3")),
    "no last node": (N1, N2),
    "no node": (),
    "an operation at first": (call("n1", "identity", "n1"), FINAL),
    "an unknown argument": (N1, N2, call("final_result", "identity", "n3")),
    "an argument that comes later": (N1, call("n3", "identity", "n2"), N2, FINAL),
    "a node of itself": (N1, N2, call("final_result", "identity", "final_result")),
    "the beginning of an id": (const("number"), call("final_result", "identity", "num")),
    "a longer id": (N1, N2, call("final_result", "identity", "n11")),
    "no arguments": (N1, N2, call("final_result", "sum")),
    "an operation on one too few": (N1, N2, call("final_result", "add", "n1")),
    "an operation on one too many": (N1, N2, call("final_result", "sub", "n1", "n2", "n1")),
    "identity of two": (N1, N2, call("final_result", "identity", "n1", "n2")),
    "abs of three": (N1, N2, call("final_result", "abs", "n1", "n2", "n1")),
    "more arguments than there may be": (N1, N2, call("final_result", "add", *["n1"] * (MAX_ARGUMENTS + 1))),
    "a number for an argument": (N1, N2, call("final_result", "identity", 5)),
    "a number as text for an argument": (N1, N2, call("final_result", "identity", "5")),
    "an operation that cannot be run": (N1, N2, call("final_result", "ratio_split", "n1", "n1", "n2")),
    "an unknown operation": (N1, N2, call("final_result", "cube", "n1")),
    "an alias": (N1, N2, call("final_result", "plus", "n1", "n2")),
    "a constant without its number": (const("n1", ""), N2, FINAL),
    "a constant with arguments": (N1, call("n2", "const", "n1"), FINAL),
    "an operation with a number": (N1, node("n2", '"op": "add", "val": 5'), FINAL),
    "the answer marked as not needed": (N1, N2, call("final_result", "identity", "n2", distractor="true")),
    "another flag": (const("n1", distractor="null"), N2, FINAL),
    "a missing key": ('{"id": "n1", "op": "const", "val": 5, "label": "ক"}', N2, FINAL),
    "another key": ('{"id": "n1", "op": "const", "val": 5, "unit": "kg", "distractor": false, "label": "ক"}',),
    "keys in another order": ('{"op": "const", "id": "n1", "val": 5, "distractor": false, "label": "ক"}', N2, FINAL),
    **{f"the number {number}": (const("n1", number), N2, FINAL) for number in ("05", "00", "-05", "NaN", "Infinity")},
    **{f"the number {number}": (const("n1", number), N2, FINAL) for number in ("-", "1e5", "+5", ".5", "5.", '"5"')},
    **{f"the number {number}": (const("n1", number), N2, FINAL) for number in ("৫", "1,000", "true", "null", "--5")},
    "too many digits": (const("n1", "1" * 16), N2, FINAL),
    "too many decimals": (const("n1", "0." + "1" * 11), N2, FINAL),
    **{f"the id {name!r}": (const(name), N2, FINAL) for name in ("", "1n", "_n", "n 1", "ক", "n-1", "n" * 25)},
    **{f"the label {label!r}": (const("n1", label=label), N2, FINAL) for label in ("", " ", "-", "\u200dক", "়")},
    **{f"the label {label!r}": (const("n1", label=label), N2, FINAL) for label in ("ক" * 65, 'ক\\"', "ক\\n", "ক\n")},
    **{
        f"the label {label!r} in words": (const("n1", label=f"ক {label}"), N2, FINAL)
        for label in ("<end_of_turn>", "<unused7>", "[multimodal]", "`x`", "{x}", "नमस्ते", "你好", "\t", "\x7f")
    },
}


@pytest.mark.parametrize("nodes", REFUSED.values(), ids=REFUSED)
def test_no_graph_with_a_fault_can_be_written(nodes):
    """The reader or the executor would refuse it, or read it as another graph than was meant."""
    whole, taken = read(text(N1, N2, FINAL))
    assert taken
    grammar, taken = read(text(*nodes))
    assert not taken
    # Refused for the fault, not long before it: tokens may reach over it, of 40 bytes at most.
    pairs = enumerate(zip(whole.text, text(*nodes).encode(), strict=False))
    assert len(grammar.text) >= next(place for place, (one, other) in pairs if one != other) - 40


@pytest.mark.parametrize(
    "written",
    [
        text(N1, N2, FINAL)[len("```json\n") :],
        " " + text(N1, N2, FINAL),
        "Here it is: " + text(N1, N2, FINAL),
        text(N1, N2, FINAL) + "\n",
        text(N1, N2, FINAL).replace('": ', '":'),
        text(N1, N2, FINAL).replace("    ", "\t"),
        text(N1, N2, FINAL).replace("\n  ]", "]"),
        text(N1, N2, FINAL).replace('"nodes"', '"Nodes"'),
    ],
)
def test_no_other_style_can_be_written(written):
    """White space left free would leave little to force, and ids would not be those of the training."""
    assert not read(written)[1]


def test_the_limits_themselves_can_be_written():
    """One less than what is refused; and a list as long as it may be."""
    long, number = "n" * 24, "-" + "9" * 15 + "." + "9" * 10
    assert read(text(const(long, number, label="ক" * 64), call("final_result", "add", *[long] * MAX_ARGUMENTS)))[1]
    many = [const(f"n{index}") for index in range(1, MAX_NODES)]
    assert read(text(*many, call("final_result", "identity", "n47")))[1]
    assert not read(text(*many, const("n48"), call("final_result", "identity", "n47")))[1]


def test_as_many_ids_and_arguments_as_there_may_be_are_not_too_much():
    """llguidance has limits of its own, on the sizes of lexers and grammars, and gives up in the middle of a graph."""
    rng = np.random.default_rng(0)
    letters = list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
    ids = ["n" + "".join(rng.choice(letters, 23)) for _ in range(MAX_NODES - 1)]
    calls = [call(name, "add", *rng.choice(ids[:place], MAX_ARGUMENTS)) for place, name in enumerate(ids) if place]
    grammar, finished = read(text(const(ids[0]), *calls, call("final_result", "max", *ids[-MAX_ARGUMENTS:])))
    assert finished
    assert len(grammar.ids) == MAX_NODES


def test_a_grammar_that_is_none_is_an_error():
    with pytest.raises(ModelError, match="failed to compile"):
        spelling().matcher("start: nothing")


@pytest.mark.parametrize("op", sorted(OPS.keys() - {"const", "ratio_split"}))
def test_every_operation_can_be_written_with_every_number_of_arguments(op):
    """One that is left out can never be the answer."""
    for count in range(MAX_ARGUMENTS + 1):
        fits = OPS[op].min_args <= count <= (OPS[op].max_args or MAX_ARGUMENTS)
        assert read(text(N1, N2, call("final_result", op, *["n1", "n2", *["n1"] * 20][:count])))[1] == fits


def budgets(rng):
    """From the smallest to the card's."""
    return int(rng.choice([LEAST_BUDGET, rng.integers(LEAST_BUDGET, 350), rng.integers(350, 1025), 1024]))


def check_written(spelled, kind, seed, size=None):
    rng = np.random.default_rng(10**6 + seed)
    budget = budgets(rng)
    choose = {"choose": sampler(Sampling(float(rng.uniform(0.5, 3)), seed=seed))} if seed % 3 == 0 else {}
    grammar, ids = write(spelled, Adversary(spelled, kind, seed, size), budget, **choose)
    written = grammar.text.decode()
    assert len(ids) <= budget
    graph = Graph.parse(written)
    check_graph(graph)
    assert [node.id for node in graph.nodes] == grammar.ids
    # What a solver reads.
    assert spelled._tokenizer.decode(ids, skip_special_tokens=False) == written
    last = grammar_module._label(grammar_module._LEAST) + grammar_module._CLOSE
    for left, is_last in grammar.left:
        assert left >= (last if is_last else grammar_module._END)


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_model_wants_to_write_is_a_graph_within_the_limit(kind):
    """The purpose of it all. The limit too: a graph that is cut off is none; so is what is left at every label."""
    for seed in range(-(-RUNS // len(KINDS))):
        check_written(spelling(), kind, seed)


@pytest.mark.skipif(not GEMMA, reason="needs Gemma's tokenizer")
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_model_of_the_real_vocabulary_wants_to_write_is_a_graph(kind):
    """A head of 262,144 rows is one token short of the tokenizer; that of the 4B is longer."""
    for seed in range(-(-RUNS // (20 * len(KINDS)))):
        check_written(spelling(GEMMA), kind, seed, 262_144 if seed % 2 else 262_208)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("choose", [{}, {"choose": sampler(Sampling())}], ids=["greedy", "sampling"])
def test_logits_that_are_not_finite_are_an_error(bad, choose):
    """Under a mask a NaN would hide, and the graph be made of nothing."""
    model = Adversary(spelling(), "random", 1)
    model._noise = model._noise.copy()
    model._noise[:, 5] = bad
    with pytest.raises(ModelError, match="not finite"):
        write(spelling(), model, 300, **choose)


def states(words=None):
    """Grammars in the middle of texts: some are forced, in labels, in parts of characters, at every kind of key."""
    for seed, kind in enumerate(("random", "slow", "quotes", "words")):
        grammar = GraphGrammar(spelling(), 400, words)
        decoding = decode(Adversary(spelling(), kind, seed), [2], Limits((), 400, 9999), constraint=grammar)
        for step, _ in enumerate(decoding):
            if step % 11 == 0:
                yield grammar


def test_the_mask_is_what_is_allowed_one_by_one():
    """They are made by different roads, and greedy decoding takes the one, sampling the other."""
    size, seen = spelling().size + 5, 0
    for grammar in states():
        seen += 1
        assert grammar.mask(size).tolist() == [grammar.allows(token) for token in range(size)]
    assert seen > 40


def beyond_the_core(grammar, core):
    """How many tokens beyond ``core`` may come next, by the mask; none where there is no choice."""
    allowed = grammar.mask(spelling().size)
    return 0 if grammar.forced() else int(allowed.sum() - allowed[core].sum())


@pytest.mark.parametrize("chars", [rb'[ \n"{}\[\]:,.\-0-9a-z_]+', rb"[0-9]", rb'[^a-z"]+'])
def test_the_core_is_enough_where_no_other_token_may_come_and_there_alone(chars):
    """Where it is said of too many places, wrong tokens are written, whatever the model says; of too few, time goes."""
    core = [index for index in range(spelling().size) if re.fullmatch(chars, spelling().spell([index]))]
    words = spelling().bits_without(core)
    enough = asked = 0
    for graph in list(graphs())[::4]:
        grammar = GraphGrammar(spelling(), PLENTY, words)
        for token in spelling()(graph.to_json(fenced=True)):
            assert grammar.core_only == (beyond_the_core(grammar, core) == 0)
            if not grammar.forced():
                asked += 1
                enough += grammar.core_only
            grammar.accept(token)
        assert grammar.core_only
    assert 0 < enough < asked
    for grammar in states(words):
        assert not grammar.core_only or beyond_the_core(grammar, core) == 0
        assert grammar.fork().core_only == grammar.core_only


def test_without_a_core_all_logits_are_asked_for():
    """A model whose head is whole has none, and must not be told that less is enough."""
    assert not any(grammar.core_only for grammar in states())


def test_a_token_that_may_not_come_changes_nothing():
    """A matcher that was fed it is in an error that allows the end, and an empty answer would look complete."""
    size = spelling().size
    for grammar in states():
        mask, before, ids = grammar.mask(size), grammar.text, list(grammar.ids)
        for token in (int(np.flatnonzero(~mask)[0]), size, size + 1, 1 << 31, 1 << 40, -1, 4):
            with pytest.raises(ValueError, match="may not come next"):
                grammar.accept(token)
        assert (grammar.text, grammar.ids) == (before, ids)
        assert (grammar.mask(size) == mask).all()


def test_nothing_comes_after_the_graph():
    """The token that ends an answer neither: it would be in the text."""
    grammar, finished = read(text(N1, N2, FINAL))
    assert finished
    assert not grammar.mask(spelling().size).any()
    assert not any(grammar.allows(token) for token in range(spelling().size))
    assert list(grammar.forced()) == []


def test_a_fork_and_its_original_know_nothing_of_each_other():
    """Drafts are tried on forks: what they write would be in the answer."""
    seen = 0
    for number, grammar in enumerate(states()):
        mask, before, ids = grammar.mask(spelling().size), grammar.text, list(grammar.ids)
        fork = grammar.fork()
        for _ in decode(Adversary(spelling(), "random", number), [2], Limits((), 60, 9999), constraint=fork):
            pass
        assert len(fork.text) > len(before) or fork.finished
        assert (grammar.text, grammar.ids) == (before, ids)
        assert (grammar.mask(spelling().size) == mask).all()
        other = grammar.fork()
        if not grammar.finished:
            grammar.accept(int(np.flatnonzero(mask)[0]))
            assert (other.mask(spelling().size) == mask).all()
            seen += 1
    assert seen > 40


@pytest.mark.parametrize("use", ["forced", "allows", "mask", "accept"])
def test_a_matcher_that_gave_up_is_an_error(use):
    """llguidance says nothing, and from then on allows the token that ends an answer, and no other."""
    grammar, _ = read(text(N1, N2)[:-20])
    grammar._forced = None
    grammar._matcher.consume_token(spelling().size + 1)
    arguments = {"forced": (), "allows": (5,), "mask": (spelling().size,), "accept": (5,)}
    with pytest.raises(ModelError, match="grammar failed after"):
        getattr(grammar, use)(*arguments[use])


@pytest.mark.parametrize("budget", [-1, 0, 1, LEAST_BUDGET - 1])
def test_a_limit_that_no_graph_fits_in_is_refused_with_both_numbers(budget):
    with pytest.raises(UsageError, match=rf"limit of {budget:,} new tokens .* allow {LEAST_BUDGET:,} or more"):
        GraphGrammar(spelling(), budget)


def test_rooms_are_tried_from_the_largest():
    """A small one before a larger one would cut labels where there is room."""
    assert list(grammar_module._ROOMS) == sorted(grammar_module._ROOMS, reverse=True)


def most_tokens(spelled, grammar, parts):
    """How many tokens ``parts`` take at most: every second one is free, a token a byte; the others are keys.

    From the end on: a token that is forced is the one that comes, else one for every byte, and never fewer than from
    any place behind, where a longer token may have ended.
    """
    matcher = spelled.matcher(grammar)
    single = {spelled.spell([index]): index for index in range(spelled.size) if len(spelled.spell([index])) == 1}
    lengths = []
    for number, part in enumerate(parts):
        for byte in part.encode():
            forced = matcher.compute_ff_tokens() if number % 2 else []
            lengths.append(len(spelled.spell(forced[:1])))
            assert matcher.consume_token(single[bytes([byte])])
    exact, most = [0] * (len(lengths) + 64), [0] * (len(lengths) + 64)
    for place in reversed(range(len(lengths))):
        exact[place] = 1 + (exact[place + lengths[place]] if lengths[place] else most[place + 1])
        most[place] = max(exact[place], most[place + 1])
    return most[0]


@tokenizers
def test_the_keys_of_a_node_take_no_more_tokens_than_they_are_given(tokenizer):
    """Models may cut what is not forced into single bytes. Given too little, graphs are cut off at the limit."""
    spelled = spelling(tokenizer)
    # Arguments are free, as ids are that begin with anything.
    ids = ["[A-Za-z][A-Za-z0-9_]{0,20}9"]
    separator, literal = grammar_module._SEPARATOR, grammar_module._literal
    node_grammar = grammar_module._lark(f"LABEL {literal(separator)} (node | final_node)", ids, (64, 16))
    op, tail = '", "op": "', ("false", ', "label": "')
    arguments = ("identity", '", "args": ["', "a9", '"], "distractor": ', *tail)
    for parts in (
        ("a", separator, "final_result", op, *arguments),
        ("a", separator, "n", op, *arguments),
        ("a", separator, "n", op, "const", '", "val": ', "1", ', "distractor": ', *tail),
    ):
        free = sum(map(len, parts[::2])) - len("identity" if "identity" in parts else "const") - len("false")
        assert most_tokens(spelled, node_grammar, parts) - free <= grammar_module._KEYS
    opening, closing = grammar_module._OPENING, grammar_module._CLOSING
    first = grammar_module._lark(f"{literal(opening)} first_node", [], (4, 1))
    assert most_tokens(spelled, first, ("", opening)) <= grammar_module._OPEN
    last = grammar_module._lark(f"LABEL {literal(closing)}", ids, (4, 1))
    assert most_tokens(spelled, last, ("a", closing)) - 1 <= grammar_module._CLOSE


@tokenizers
def test_tokens_that_no_graph_has_change_nothing(tokenizer, monkeypatch):
    """Matchers do not know them. Were one of them of use, the mask would lack it, or more would seem forced."""
    fast = spelling(tokenizer)
    monkeypatch.setattr(spelling_module, "writes_graphs", lambda _: True)
    whole = Spelling(Tokenizer.from_file(str(tokenizer)), fast._tokenizer.token_to_id("<end_of_turn>"))
    one, other = GraphGrammar(fast, PLENTY), GraphGrammar(whole, PLENTY)
    for token in fast(text(N1, N2, FINAL)):
        assert one.forced() == other.forced()
        assert np.array_equal(one.mask(fast.size), other.mask(fast.size))
        one.accept(token)
        other.accept(token)
    assert one.finished


def test_a_tokenizer_of_another_kind_is_refused():
    """Its tokens spell something else, and the text would not be what the grammar has seen."""
    tokenizer = Tokenizer(models.BPE({"a": 0, "<end_of_turn>": 1}, []))
    with pytest.raises(BundleError, match="decoder is not Gemma's"):
        Spelling(tokenizer, 1)
    tokenizer.decoder = decoders.ByteLevel()
    with pytest.raises(BundleError, match="decoder is not Gemma's"):
        Spelling(tokenizer, 1)
