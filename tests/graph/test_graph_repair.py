"""Reading what models write: the three levels."""

import json
from fractions import Fraction

import pytest
from graph_samples import EXAMPLE, text_of, well_formed_graphs
from hypothesis import given
from hypothesis import strategies as st

from dagger_edge.runtime.graph import Graph, GraphParseError, GraphStructureError, execute, read
from dagger_edge.runtime.graph.numerals import decimal_value, read_written_number

BARE = Graph.parse(EXAMPLE).to_json()
N1 = {"id": "n1", "op": "const", "val": 5, "distractor": False, "label": "x"}
N2 = {"id": "n2", "op": "const", "val": 3, "distractor": False, "label": "y"}
SUM = {"id": "n3", "op": "add", "args": ["n1", "n2"], "distractor": False, "label": "z"}
FINAL = {"id": "final_result", "op": "identity", "args": ["n3"], "distractor": False, "label": ""}


def codes(reading):
    return [fix.code for fix in reading.fixes]


def refused(text):
    with pytest.raises(GraphParseError) as caught:
        read(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def changed(node, **fields):
    return {key: value for key, value in {**node, **fields}.items() if value is not ...}


@pytest.mark.parametrize("text", [EXAMPLE, BARE, f"```json\n{BARE}\n```\n"])
def test_a_strict_text_is_not_mended(text):
    """A caller told of repairs that were none."""
    reading = read(text)
    assert (reading.level, reading.fixes) == ("strict", ())
    assert reading.graph == Graph.parse(text)


@pytest.mark.parametrize(
    ("text", "fixes"),
    [
        (f"Here it is [1]: {BARE} That's all.", ["prose"]),
        (f"প্রশ্নটি পড়ে লিখছি।\n```json\n{BARE}\n```", ["prose"]),
        (f"```json\n{BARE}", ["fence"]),
        (f"```\n{BARE}\n```", ["fence"]),
        (f"{BARE}\n```", ["fence"]),
        (BARE.replace('"', "'"), ["single_quotes"]),
        (BARE.replace("},\n", "}\n"), ["missing_comma"]),
        (BARE.replace("}\n  ]", "},\n  ]"), ["trailing_comma"]),
        (BARE.replace('"চূড়ান্ত উত্তর"}', '"চূড়ান্ত উত্তর",}'), ["trailing_comma"]),
        (BARE.replace('"n5"]', '"n5",]'), ["trailing_comma"]),
        (BARE.replace("true", "True").replace("false", "False"), ["python_literal"]),
        (BARE[BARE.index("[") : BARE.rindex("]") + 1], ["node_list"]),
        (str(json.loads(BARE)), ["single_quotes", "python_literal"]),
        (BARE.replace('"mul"', '" Multiply "'), ["op_name"]),
        (BARE.replace("122195", '"1,22,195"'), ["number_text"]),
        (BARE.replace("122195", '"১২২১৯৫"'), ["number_text"]),
        (BARE.replace("122195", "১২২১৯৫"), ["number_text"]),
        (BARE.replace("45.6", '"৪৫.৬"'), ["number_text"]),
        (BARE.replace("45.6", '"4560%"'), ["number_text"]),
        (BARE.replace("45.6", '"228/5"'), ["number_text"]),
        (BARE.replace('"args": ["total_money"]', '"val": null, "args": ["total_money"]'), ["empty_field"]),
        (BARE.replace('"val": 45.6', '"val": 45.6, "args": []'), ["empty_field"]),
        (BARE.replace('"final_result"', '"Answer"'), ["final_result"]),
        (BARE.replace('"final_result"', '"n7"'), ["final_result"]),
    ],
)
def test_each_fix_gives_the_graph_that_was_meant(text, fixes):
    """A fix that loses or changes something, or one that is not told."""
    reading = read(text)
    assert (reading.level, codes(reading)) == ("repaired", fixes)
    assert reading.graph == Graph.parse(BARE)


def test_the_example_without_final_result_is_5572092_all_the_same():
    """The known answer lost by a repair."""
    assert execute(read(BARE.replace('"final_result"', '"শেষ"')).graph).answer == 5572092


@pytest.mark.parametrize("fenced", [True, False])
@pytest.mark.parametrize("repairable", [True, False])
def test_a_truncation_never_yields_an_answer(fenced, repairable):
    """The reference's bug: a cut-off graph salvaged to a plausible wrong number. Only the fence may be missing."""
    text = Graph.parse(EXAMPLE).to_json(fenced=fenced)
    if repairable:
        text = text.replace('"', "'").replace("false", "False")
    whole = text.rindex("}") + 1
    for cut in range(whole):
        with pytest.raises(GraphParseError):
            read(text[:cut])
        with pytest.raises(GraphParseError):
            read("Well: " + text[:cut])
    for cut in range(whole, len(text) + 1):
        assert read(text[:cut]).graph == Graph.parse(EXAMPLE)


@given(well_formed_graphs(), st.data())
def test_a_cut_head_never_yields_another_answer(graph, data):
    """The arguments of a node whose beginning is lost, taken for the list of nodes."""
    text = graph.to_json()
    cut = data.draw(st.integers(1, len(text) - 1))
    try:
        reading = read(text[cut:])
    except GraphParseError:
        return
    assert reading.graph == graph


def test_nodes_out_of_order_are_sorted_and_the_rest_stays():
    """A sort that shuffles what was in order."""
    reading = read(text_of(FINAL, N2, SUM, N1))
    assert [node.id for node in reading.graph.nodes] == ["n2", "n1", "n3", "final_result"]
    assert codes(reading) == ["order"]
    assert execute(reading.graph).answer == 8


def test_an_inline_node_becomes_a_node_of_its_own():
    """An object as argument, which the reference cannot run."""
    inline = changed(SUM, args=["n1", {"op": "const", "val": "৩"}])
    reading = read(text_of(N1, inline, FINAL))
    assert codes(reading) == ["inline_node", "number_text"]
    assert [node.id for node in reading.graph.nodes] == ["n1", "n3_2", "n3", "final_result"]
    assert execute(reading.graph).answer == 8


def test_an_inline_node_that_is_there_already_is_that_node():
    """The same node, written out once more, refused as a duplicate."""
    reading = read(text_of(N1, N2, changed(SUM, args=["n1", N2]), FINAL))
    assert codes(reading) == ["inline_node", "duplicate_node"]
    assert execute(reading.graph).answer == 8


def test_a_generated_id_is_free():
    """An inline node that takes the id of another."""
    inline = changed(SUM, args=["n3_2", {"op": "const", "val": 3}])
    reading = read(text_of(changed(N1, id="n3_2"), inline, FINAL))
    assert execute(reading.graph).answer == 8


def test_a_fraction_without_a_finite_decimal_is_a_division():
    """One third rounded to a double, which exact mode would then compute with."""
    reading = read(text_of(changed(N1, val="1/3"), changed(N2, val=3), changed(SUM, op="mul"), FINAL))
    assert reading.graph.nodes[0].args == (1, 3)
    assert execute(reading.graph, exact=True).answer_text == "1"


def test_ids_that_look_like_numbers_are_ids():
    """An argument "5" taken for the number where a node has that id."""
    reading = read(text_of(changed(N1, id="5", val="7"), changed(N2, id="৩"), changed(SUM, args=["5", "৩"]), FINAL))
    assert execute(reading.graph).answer == 10


@pytest.mark.parametrize(
    ("arg", "value"),
    [(5, 5), ("5", 5), ("৫", 5), ("1,200", 1200), ("3/4", 0.75), ("50%", 0.5), ("-২.৫", -2.5), ("1e3", 1000)],
)
def test_literal_arguments(arg, value):
    """A number as argument read as another number, as the reference reads "1,200" as 1."""
    assert execute(read(text_of(changed(SUM, args=[arg, 0]), FINAL)).graph).answer == value


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([N1, changed(N1, val=6), changed(FINAL, args=["n1"])], "two nodes have this id"),
        ([changed(SUM, args=["n1", "n9"]), N1, FINAL], '"n9" is no node id'),
        ([changed(N1, op="add", val=..., args=["n3", "n3"]), N2, SUM, FINAL], "a cycle"),
        ([changed(SUM, args=["n3", 1]), FINAL], "a cycle"),
        ([N1, changed(SUM, op="sub", args=["n1"]), FINAL], "sub takes 2 arguments"),
        ([N1, N2, changed(SUM, op="solve"), FINAL], "unknown op"),
        ([N1, N2, changed(N1, id="n4", op="identity", val=..., args=["n1"])], "and 2 nodes could be it"),
        ([changed(N1, distractor=True)], "and no node could be it"),
        ([changed(N1, id="result"), changed(N2, id="answer")], "and 2 nodes could be it"),
        ([N1, changed(FINAL, args=["n1"]), changed(SUM, args=["final_result", 1])], '"n3" uses it'),
        ([changed(N1, val="5 টাকা"), changed(FINAL, args=["n1"])], '"5 টাকা": not a number'),
        ([changed(N1, val="1,25"), changed(FINAL, args=["n1"])], "not a number"),
        ([changed(N1, val="১2"), changed(FINAL, args=["n1"])], "two scripts"),
        ([changed(N1, val="1/0"), changed(FINAL, args=["n1"])], "over zero"),
        ([changed(N1, val="1e999"), changed(FINAL, args=["n1"])], "no double holds"),
        ([changed(N1, val="9" * 41), changed(FINAL, args=["n1"])], "more than 40 digits"),
        ([changed(N1, val=True), changed(FINAL, args=["n1"])], "expected a number, got true"),
        ([changed(N1, val="true"), changed(FINAL, args=["n1"])], "not a number"),
        ([changed(N1, val=None), changed(FINAL, args=["n1"])], "const needs a number"),
        ([changed(SUM, args=["1/3", 1]), FINAL], "a div node says it exactly"),
        ([changed(SUM, args=["1e400", 1]), FINAL], "no double holds it"),
        ([changed(SUM, args=["n1", True]), N1, FINAL], "expected node ids or numbers, got true"),
        ([changed(N1, note="?"), changed(FINAL, args=["n1"])], "unknown key"),
    ],
)
def test_what_would_need_a_guess_is_refused(nodes, reason):
    """A number, a node or an answer that nobody wrote."""
    assert reason in refused(text_of(*nodes))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no graph"),
        ("The answer is 42.", "no graph"),
        (f"{BARE}\n{BARE}", "more than one graph"),
        (f"First {BARE} no, rather: {BARE[:80]}", "more than one graph"),
        (BARE[: BARE.rindex("]")], "cut off"),
        ('"args": [{"id": "n1", "op": "const", "val": 5}], "label": ""}]}', "inside something else"),
        (BARE.replace(': "mul"', ' "mul"'), "expected a colon"),
        (BARE.replace('"op"', "op"), "expected a key in quotes"),
        (BARE.replace('"n1", "n5"', '"n1" "n5"'), "expected a comma"),
        (BARE.replace("45.6", "NaN"), "NaN is not a number"),
        (BARE.replace("45.6", "1,200"), "expected a key in quotes"),
        (BARE.replace('"id": "n1"', '"id": "n1", "id": "n1"').replace('"', "'"), "twice"),
        ("[" * 60_000, "no graph"),
        ("[{'" * 20_000, "nested deeper"),
        ("{'nodes':" * 7_000, "nested deeper"),
        ("{'nodes': [" + "'" * 60_000, "cut off"),
        (b"\xff", "UTF-8"),
        ("x" * 70_000, "longer than"),
    ],
)
def test_texts_that_are_no_graph(text, reason):
    """A traceback, a hang or a salvage."""
    assert reason in refused(text)


def test_thousands_of_brackets_are_refused_before_they_are_read():
    """Milliseconds for every thousand of a pile of brackets."""
    assert "more than any graph has" in refused('{"nodes": [' + "[]" * 5_000 + "]}")


def test_thousands_of_nodes_are_refused_before_they_are_mended():
    """Work that grows with the square of what a model wrote."""
    assert "at most 256" in refused("{'nodes': [" + "{'id': 'a'}," * 1_500 + "]}")


def test_two_nodes_of_one_id_do_not_share_a_generated_one():
    """An inline node that is taken for the one of another node."""
    inline = [changed(SUM, args=[1, {"op": "const", "val": value}]) for value in (2, 3)]
    assert "two nodes have this id" in refused(text_of(*inline, FINAL))


def test_a_cycle_is_named_by_node():
    """An error that does not say where."""
    with pytest.raises(GraphStructureError) as caught:
        read(text_of(changed(N1, op="identity", val=..., args=["n3"]), N2, SUM, FINAL))
    assert caught.value.node in {"n1", "n3"}


@given(well_formed_graphs())
def test_a_python_dump_reads_back_the_same(graph):
    """A label with quotes, or a number, changed on the way through single quotes."""
    assert read(repr(json.loads(graph.to_json()))).graph == graph


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("১২.৫", "12.5"),
        (" +7 ", 7),
        ("−3", -3),
        ("007", 7),
        (".5", "0.5"),
        ("1,250,000.5", "1250000.5"),
        ("12,50,000", 1250000),
        ("১,২৫,০০০", 125000),
        ("2.5e-3", "0.0025"),
        ("3 / 4", "3/4"),
        ("-50 %", "-1/2"),
    ],
)
def test_numbers_as_models_write_them(text, value):
    """The reference reads "1,200" as 1, "1e3" as 1, "3/4" as 3 and "50%" as 50."""
    assert read_written_number(text) == Fraction(value)


@pytest.mark.parametrize(
    "text",
    ["", "-", ".", "5.", "1.2.3", "1,2,3", "0,123", "12,34", "1/2/3", "1/2%", "5e", "5e1000", "5 5", "½", "٣", "५"],
)
def test_what_is_no_number(text):
    """A number guessed out of something else."""
    with pytest.raises(ValueError, match=r"."):
        read_written_number(text)


@given(st.fractions(max_denominator=10**6))
def test_a_decimal_value_is_exactly_it_or_none(value):
    """A fraction that becomes the double next to it."""
    decimal = decimal_value(value)
    assert decimal is None or Fraction(repr(decimal)) == value
