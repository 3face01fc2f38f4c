"""Two runs side by side, and a run in numbers."""

import re
from html.parser import HTMLParser

import pytest
from test_eval_score import graph

from dagger_edge.runtime.errors import UsageError
from dagger_edge.runtime.evaluation.compare import compare
from dagger_edge.runtime.evaluation.page import comparison_page
from dagger_edge.runtime.evaluation.published import benchmark_of, kind_name, published_for
from dagger_edge.runtime.evaluation.questions import Question
from dagger_edge.runtime.evaluation.row_file import Run
from dagger_edge.runtime.evaluation.rows import Header, SetEntry, Settings
from dagger_edge.runtime.evaluation.score import Output, score
from dagger_edge.runtime.evaluation.summary import summarise
from dagger_edge.runtime.evaluation.words import comparison_text, summary_text

RIGHT, WRONG, NONE = graph(2, 3), graph(2, 4), "<b>no graph</b> ```"


def run(texts, *, name="s", kinds=None, of=None, **settings):
    """A run over questions whose answer is 5, one for each text."""
    kinds = kinds or [None] * len(texts)
    rows = tuple(
        score(Question(set=name, row=row, question=f"কত {row}?", answer=5, kind=kind), Output(text=text, seconds=row))
        for row, (text, kind) in enumerate(zip(texts, kinds, strict=True), start=1)
    )
    entry = SetEntry(name, "0" * 64, of or len(texts))
    made = Header(evaluation=1, settings=Settings(sets=(entry,), **settings), dagger_edge="0", created="now")
    return Run(made, rows)


BEFORE = run([RIGHT, RIGHT, WRONG, NONE, RIGHT], bundle="b", precision="fp32", grammar=True)
AFTER = run([RIGHT, WRONG, RIGHT, NONE, RIGHT.replace("ক", "খ")], bundle="b", precision="int4", grammar=True)


def test_pairs_are_counted_by_question():
    """Two accuracies that are equal hiding that half of the answers changed."""
    found = compare(BEFORE, AFTER)
    total = found.total
    assert (total.both, total.only_before, total.only_after, total.neither) == (2, 1, 1, 1)
    assert (total.difference, total.p) == (0, 1)
    assert (total.same_answer, total.no_answer) == (3, 1)
    assert (total.same_text, total.same_graph, total.same_but_labels, total.both_graphs) == (2, 1, 2, 4)
    assert [(item.row, item.outcomes) for item in found.changed] == [
        (2, ("correct", "wrong")),
        (3, ("wrong", "correct")),
    ]
    assert found.differing == ("precision: fp32 and int4",)


def test_rows_of_one_run_alone_are_left_out_and_told():
    """A shorter run compared as if what it lacks were wrong."""
    found = compare(BEFORE, Run(AFTER.header, AFTER.rows[:2]))
    assert found.alone == (3, 0)
    assert found.total.before.questions == 2
    assert "left out: 3 rows" in comparison_text(found)


def test_runs_over_other_questions_are_refused():
    """Row 1 of one test set held against row 1 of another."""
    with pytest.raises(UsageError, match="no question in common"):
        compare(BEFORE, run([RIGHT], name="other"))
    other = Run(
        AFTER.header, tuple(score(Question(set="s", row=1, question="x", answer=5), Output(text=RIGHT)) for _ in "1")
    )
    with pytest.raises(UsageError, match="row 1 of s is another question"):
        compare(BEFORE, other)


class Page(HTMLParser):
    """Ids of a page, what refers to them, and its tags."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.tags, self.labels = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.tags.append(tag)
        self.ids += [named["id"]] if "id" in named else []
        self.labels += named.get("aria-labelledby", "").split()


def test_the_page_shows_both_graphs_of_what_changed_and_runs_nothing():
    """A text of a model that becomes markup, or drawings that share ids and so each other's clips."""
    text = comparison_page(BEFORE, run([RIGHT, NONE, RIGHT, NONE, RIGHT]))
    page = Page(text)
    assert page.tags.count("details") == 2
    assert page.tags.count("svg") == 3
    assert page.tags.count("pre") == 1
    assert len(set(page.ids)) == len(page.ids)
    assert set(page.labels) <= set(page.ids)
    assert {"script", "b", "link", "img"}.isdisjoint(page.tags)
    assert "&lt;b&gt;no graph&lt;/b&gt;" in text
    assert all(target in page.ids for target in re.findall(r"url\(#([^)]+)\)", text))
    assert "No question has another answer" in comparison_page(BEFORE, BEFORE)


def test_outcomes_add_up_by_kind_and_as_a_whole():
    """A kind under two names counted as two, or a row in none."""
    made = run([RIGHT, WRONG, NONE, graph(2, 0, op="div")], name="dmgsm", kinds=["RED", "CDD", "OAD", "NED"], of=738)
    found = summarise(made)
    total = found.total
    assert (total.correct, total.wrong, total.failed, total.rejected) == (1, 1, 1, 1)
    assert (total.strict, total.repaired, total.valid) == (3, 0, 0.5)
    assert [(item.group.name, item.group.questions) for item in found.kinds] == [("NEED", 1), ("OAD", 2), ("RED", 1)]
    assert not found.complete
    assert (total.cost.p50_s, total.cost.p95_s) == (2, 4)
    text = summary_text(found)
    assert "4 of 738" in text
    assert "MGSM +D, published" in text
    assert "not measured here" in text


def test_published_figures_are_those_of_the_card():
    """A figure of one set beside another. The numbers are of the model card of dagger-4B_GRPO."""
    card = {"MGSM": 0.292, "MGSM +D": 0.131, "MSVAMP": 0.571, "MSVAMP +D": 0.293}
    for benchmark, accuracy in card.items():
        assert {item.model: item.accuracy for item in published_for(benchmark)}["dagger-4B_GRPO"] == accuracy


@pytest.mark.parametrize(
    ("name", "augmented", "wanted"),
    [
        ("mgsm_bn", False, "MGSM"),
        ("msvamp_bn_gold", False, "MSVAMP"),
        ("augmented_mgsm", True, "MGSM +D"),
        ("DistractMath-msvamp", False, "MSVAMP +D"),
        ("questions", True, None),
    ],
)
def test_a_set_is_known_by_its_name(name, augmented, wanted):
    """MSVAMP's figures beside questions of one's own."""
    assert benchmark_of(name, augmented=augmented) == wanted


def test_kinds_have_the_names_of_the_paper():
    """The authors' files say CDD and NED, their paper OAD and NEED."""
    assert [kind_name(kind) for kind in ("red", "CDD", "NED", "mine")] == ["RED", "OAD", "NEED", "mine"]
