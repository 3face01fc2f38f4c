"""The generator of training problems: every shape, its words, its numbers, its graph."""

import random
import re
from collections import Counter
from pathlib import Path

import pytest

from dagger_edge.export import calibration
from dagger_edge.export.demo.compose import Composer
from dagger_edge.export.demo.distractors import DISTRACTORS, SCENERY
from dagger_edge.export.demo.lexicon import accusative, genitive, locative
from dagger_edge.export.demo.numbers import WORDS, NumberStyle, group_indian
from dagger_edge.export.demo.order import in_one_order
from dagger_edge.export.demo.shape import HELD_OUT, Ask, Shape, Step
from dagger_edge.export.demo.shapes import SHAPES
from dagger_edge.runtime.graph import Graph, Node, check_flags, execute

PLAIN = Shape(
    name="plain",
    slots={"a": "person", "b": "person", "t": "thing"},
    numbers={"x": "5..90", "y": lambda x: (1, x)},
    story=[["{a.র} কাছে {x#t} ছিল।", "~{a} {x#t} এনেছিল।"], ["সে {b.কে} {y#t} দিল।"]],
    labels={"x": "{a.র} {t}", "y": "দেওয়া {t}"},
    asks=[Ask(["{a.র} কাছে এখন {কত#t} আছে?"], [Step("left", "sub x y", "{a.র} বাকি {t}")])],
)


def problems(shape, count, **options):
    return [Composer(random.Random(f"{shape.name}/{seed}"), **options).compose(shape) for seed in range(count)]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
@pytest.mark.parametrize("held_out", [False, True])
def test_every_shape_makes_problems_whose_graph_is_sound(shape, held_out):
    """A step that nothing uses, a flag that lies, markup left in a question: all would be taught."""
    for problem in problems(shape, 6, held_out=held_out):
        graph = Graph.parse(problem.graph.to_json(fenced=True))
        assert not check_flags(graph)
        assert execute(graph).answer == problem.answer >= 0
        assert not re.search(r"[{}|~#_]", problem.question)
        assert all(node.label and '"' not in node.label for node in graph.nodes)


def test_shape_names_are_unique():
    assert [name for name, count in Counter(shape.name for shape in SHAPES).items() if count > 1] == []


def test_every_sentence_has_a_wording_to_train_on():
    for shape in SHAPES:
        for wordings in [*shape.story, *(ask.wordings for ask in shape.asks)]:
            assert any(not wording.startswith(HELD_OUT) for wording in wordings), (shape.name, wordings)


def test_all_operations_of_word_problems_are_taught():
    ops = {step.expression.split()[0] for shape in SHAPES for ask in shape.asks for step in ask.steps}
    assert ops == {
        "add", "sub", "mul", "div", "sum", "mean", "min", "max", "round", "floor", "ceil", "abs", "mod", "sqrt",
        "pow", "gcd", "lcm",
    }  # fmt: skip


def test_the_same_state_gives_the_same_problem():
    assert problems(PLAIN, 3) == problems(PLAIN, 3)


def test_a_held_out_wording_is_never_trained_on_and_always_evaluated():
    assert not any("এনেছিল" in problem.question for problem in problems(PLAIN, 60))
    assert all("এনেছিল" in problem.question for problem in problems(PLAIN, 60, held_out=True))


def test_a_distractor_never_stands_between_a_pronoun_and_its_person():
    for problem in problems(PLAIN, 200, distractor_weights=(0, 0, 0, 1)):
        before, _, _ = problem.question.partition(" সে ")
        assert before.endswith("ছিল।"), problem.question


def test_distractor_sentences_change_no_answer_and_are_flagged():
    for problem in problems(PLAIN, 100, distractor_weights=(0, 0, 0, 1)):
        constants = [node for node in problem.graph.nodes if node.op == "const"]
        assert sum(node.distractor for node in constants) == 3
        x, y = (node.val for node in constants if not node.distractor)
        assert problem.answer == x - y


def test_constants_stand_in_the_order_of_reading():
    digits = str.maketrans("০১২৩৪৫৬৭৮৯", "0123456789")
    for problem in problems(PLAIN, 60):
        written = [int(text) for text in re.findall(r"\d+", problem.question.translate(digits))]
        constants = [node.val for node in problem.graph.nodes if node.op == "const"]
        if len(written) == len(constants):
            assert written == constants


def test_operations_come_in_the_order_of_their_arguments():
    """Two graphs for one question, of which the model would have to guess the one that is meant."""
    nodes = [Node(id=name, op="const", val=value) for name, value in (("x", 7), ("y", 8), ("z", 9))]
    late = Node(id="b", op="mul", args=("z", "y"))
    early = Node(id="a", op="sub", args=("y", "x"))
    both = Node(id="s", op="add", args=("b", "a"))
    final = Node(id="final_result", op="identity", args=("s",))
    graph = in_one_order([*nodes, late, early, both, final])
    assert [node.args for node in graph.nodes[3:]] == [("n2", "n1"), ("n2", "n3"), ("n4", "n5"), ("n6",)]
    assert graph.nodes[-1].id == "final_result"
    assert execute(graph).answer == 73
    assert in_one_order([*nodes, early, late, both, final]) == graph


def test_the_three_kinds_of_distractor_are_there_and_carry_one_number():
    assert {distractor.kind for distractor in DISTRACTORS} == {"related", "attribute", "null"}
    for distractor in DISTRACTORS:
        for wording in distractor.wordings:
            assert len(re.findall(r"\{d[#}]", wording)) == 1, wording


def test_scenery_has_no_number():
    assert not re.search(r"[0-9০-৯{]", "".join(SCENERY))


def test_impossible_numbers_are_an_error_that_names_the_shape():
    shape = Shape(**{field: getattr(PLAIN, field) for field in PLAIN.__slots__} | {"where": lambda x: x < 0})
    with pytest.raises(ValueError, match="plain"):
        problems(shape, 1)


@pytest.mark.parametrize(
    ("word", "inflected"),
    [("রহিম", "রহিমের"), ("মিনা", "মিনার"), ("বই", "বইয়ের"), ("মা", "মায়ের"), ("রং", "রঙের"), ("ঘাসফড়িং", "ঘাসফড়িংয়ের")],
)
def test_genitives(word, inflected):
    assert genitive(word) == inflected


def test_accusatives_and_locatives():
    assert accusative("করিম") == "করিমকে"
    assert [locative(word) for word in ("বাজার", "ঢাকা", "ঝুড়ি")] == ["বাজারে", "ঢাকায়", "ঝুড়িতে"]


def test_number_words_are_all_there_and_differ():
    assert len(WORDS) == len(set(WORDS)) == 101
    assert (WORDS[2], WORDS[20], WORDS[59], WORDS[99], WORDS[100]) == ("দুই", "কুড়ি", "উনষাট", "নিরানব্বই", "একশো")


@pytest.mark.parametrize(
    ("value", "text"), [(7, "7"), (999, "999"), (1000, "1,000"), (125000, "1,25,000"), (12345678, "1,23,45,678")]
)
def test_indian_grouping(value, text):
    assert group_indian(value) == text


def test_numbers_are_written_in_both_scripts_and_in_words():
    written = {NumberStyle(random.Random(seed)).write(7)[0] for seed in range(200)}
    assert written == {"7", "৭", "সাত"}


def test_questions_for_calibration_are_the_generators() -> None:
    """Edited by hand, they would be nobody's; drawn anew, every digest in a manifest would be of other questions."""
    from dagger_edge.export.demo.calibration import generated_rows

    data = Path(calibration.__file__).parent / "data" / "calibration.jsonl"
    rows = [row for row in data.read_text(encoding="utf-8").splitlines() if '"generated"' in row]
    assert len(rows) == 64
    assert generated_rows(len(rows)) == rows
