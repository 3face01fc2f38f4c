"""The tokenizer over tables against the library: the same ids of every text, or it is not used."""

import json
import os
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from dagger_edge.runtime.byte_pairs import BytePairs
from dagger_edge.runtime.files import sha256_of
from dagger_edge.runtime.graph.charset import writes_graphs
from dagger_edge.runtime.spelling import Spelling
from dagger_edge.runtime.token_tables import kept_tables, make_tables
from dagger_edge.runtime.tokenizer import open_tokenizer
from dagger_edge.runtime.user_cache import cache_folder

DATA = Path(__file__).parents[1] / "data"
GEMMA = os.environ.get("DAGGER_EDGE_GEMMA_TOKENIZER")
CONTROL = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
# As Gemma has them: found whole in a text, one the beginning of another, and one that is a single character.
PLAIN = ["<unused0>", "<unused1>", "<unused11>", "[multimodal]", "\n", "\n\n", "\n\n\n", "▁▁", "▁▁▁", "</h1>"]


def questions():
    files = ("mgsm_bn_gold.jsonl", "msvamp_bn_gold.jsonl")
    rows = [json.loads(line) for name in files for line in (DATA / name).read_text(encoding="utf-8").splitlines()]
    return [row["question"] for row in rows]


def train(path):
    """A tokenizer as Gemma's is made, over the test questions."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    initial = [*(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=1500,
        special_tokens=[*CONTROL, *initial],
        initial_alphabet=list(string.printable),
        show_progress=False,
        # Words may reach over spaces, as Gemma's may over several.
        max_token_length=8,
    )
    tokenizer.train_from_iterator([piece for text in questions() for piece in text.split("।")], trainer)
    document = json.loads(tokenizer.to_str())
    document["added_tokens"] = [token for token in document["added_tokens"] if token["content"] in CONTROL]
    tokenizer = Tokenizer.from_str(json.dumps(document))
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in PLAIN])
    # Which never finds a space; in Gemma's file all the same.
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.save(str(path))


@pytest.fixture(scope="module", params=["trained", *(["gemma"] if GEMMA else [])])
def path(request, tmp_path_factory):
    if request.param == "gemma":
        return Path(GEMMA)
    made = tmp_path_factory.mktemp("trained") / "tokenizer.json"
    train(made)
    return made


@pytest.fixture(scope="module")
def document(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def pair(path, document):
    return BytePairs(make_tables(document)), Tokenizer.from_file(str(path))


def assert_same(pair, text):
    ours, library = pair
    for plain in (True, False):
        ours.encode_special_tokens = library.encode_special_tokens = plain
        assert ours.encode(text, add_special_tokens=False).ids == library.encode(text, add_special_tokens=False).ids


def test_questions_and_graphs_have_the_librarys_ids(pair):
    """Other ids than the model was trained on would be answered worse, and nobody would see why."""
    for name in ("mgsm_bn_gold.jsonl", "msvamp_bn_gold.jsonl"):
        for line in (DATA / name).read_text(encoding="utf-8").splitlines():
            assert_same(pair, json.loads(line)["question"])
            assert_same(pair, line)


PIECES = st.one_of(
    st.text(max_size=8),
    st.text("০১২৩456 ,.।-", max_size=8),
    st.text("কখগআমিটাের্য়\u09bc\u200c\u200d ", max_size=12),
    st.text("ab \n▁<>", max_size=8),
    st.sampled_from(
        [*CONTROL, *PLAIN, "<start_of", "_of_turn>", "<unused", "<0xE0>", "\r\n", "\t\t", "\0", "🙂👨‍👩‍👧", "𝔄"]
    ),
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.lists(PIECES, max_size=12).map("".join))
def test_any_text_has_the_librarys_ids(pair, text):
    """Bytes, control tokens inside words, tokens that begin alike: each is a branch of the library's."""
    assert_same(pair, text)


def test_tokens_spell_what_they_spell_in_the_library(pair):
    """A token that spells something else lets the grammar write another graph than is read."""
    ours, library = pair
    one, other = Spelling(ours, 1), Spelling(library, 1)
    assert one.size == other.size
    assert [one.spell([index]) for index in range(one.size)] == [other.spell([index]) for index in range(one.size)]
    assert ours.in_graphs() == [writes_graphs(text) for text in ours.spellings()]
    assert set(ours.special_ids) == {library.token_to_id(token) for token in CONTROL} or GEMMA
    assert all(ours.token_to_id(token) == library.token_to_id(token) for token in CONTROL)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("normalizer",), {"type": "NFC"}),
        (("pre_tokenizer",), {"type": "Split", "pattern": {"String": "▁"}, "behavior": "Isolated", "invert": False}),
        (("truncation",), {"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}),
        (("model", "ignore_merges"), True),
        (("model", "byte_fallback"), False),
        (("model", "dropout"), 0.5),
        (("model", "merges"), []),
        (("model", "merges"), [["no", "token"]]),
        (("added_tokens", 3, "lstrip"), True),
        (("added_tokens", 3, "normalized"), True),
        (("added_tokens", 3, "id"), 40),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_a_tokenizer_that_works_in_another_way_is_left_to_the_library(document, place, value):
    """Read as Gemma's, it would give other ids without a word."""
    changed = json.loads(json.dumps(document))
    *folders, last = place
    inner = changed
    for name in folders:
        inner = inner[name]
    inner[last] = value
    assert make_tables(changed) is None


def test_a_tokenizer_that_is_kept_is_not_read_again(path, tmp_path, monkeypatch):
    """Reading it costs two seconds; what is kept must be the same."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = kept_tables(path, sha256_of(path))
    kept = kept_tables(tmp_path / "none", sha256_of(path))
    assert all((one == other).all() and one.dtype == other.dtype for one, other in zip(made, kept, strict=True))
    with pytest.raises(OSError, match="none"):
        kept_tables(tmp_path / "none", "another digest")


def test_kept_tables_that_are_cut_short_are_made_again(path, tmp_path, monkeypatch):
    """A disk that was full must not change ids."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = kept_tables(path, sha256_of(path))
    (entry,) = cache_folder().iterdir()
    entry.write_bytes(entry.read_bytes()[:-1000])
    again = kept_tables(path, sha256_of(path))
    assert all((one == other).all() for one, other in zip(made, again, strict=True))


def test_tables_are_kept_for_no_other_file(path, tmp_path, monkeypatch):
    """A bundle that is opened without comparing its files would leave altered tables for the true ones' digest."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kept_tables(path, "0" * 64) is not None
    assert list(tmp_path.rglob("*.cached")) == []


def test_small_tokenizers_and_those_of_another_kind_open_with_the_library(tmp_path):
    """The demo's splits words by a regular expression, which the tables know nothing of."""
    demo = Path(str(DATA.parents[1])) / "src/dagger_edge/bundles/demo/tokenizer.json"
    assert isinstance(open_tokenizer(demo, "digest"), Tokenizer)
    padded = tmp_path / "tokenizer.json"
    padded.write_bytes(demo.read_bytes() + b" " * (1 << 20))
    assert isinstance(open_tokenizer(padded, "padded"), Tokenizer)
