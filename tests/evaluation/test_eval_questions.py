"""Reading test sets as they are published, and refusing what is none."""

import json

import pytest

from dagger_edge.runtime.errors import UsageError
from dagger_edge.runtime.evaluation.questions import Fields, read_answer, read_questions

MANGOES = "রহিমের কাছে ৫টি আম ছিল। সে ২টি দিল। কতটি আছে?"
USUAL = Fields()
GOLD = {
    "nodes": [
        {"id": "n1", "op": "const", "val": 3, "distractor": False, "label": ""},
        {"id": "final_result", "op": "identity", "args": ["n1"], "distractor": False, "label": ""},
    ]
}


def read(tmp_path, name, text, fields=USUAL):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_questions(path, fields)


def refused(tmp_path, name, text, fields=USUAL):
    with pytest.raises(UsageError) as caught:
        read(tmp_path, name, text, fields)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_mgsm_is_lines_of_question_and_answer_without_a_header(tmp_path):
    """The first question taken for a header, or a quotation mark for csv's quoting."""
    made = read(tmp_path, "mgsm_bn.tsv", f'{MANGOES}\t3\nসে "দুই" বলল\t2,125\n')
    assert [(item.row, item.question, item.answer) for item in made.questions] == [
        (1, MANGOES, 3),
        (2, 'সে "দুই" বলল', 2125),
    ]
    assert made.name == "mgsm_bn"


def test_a_tsv_with_a_header_is_read_by_its_names(tmp_path):
    """The header of a mirror counted as a question without an answer."""
    made = read(tmp_path, "mgsm.tsv", f"answer\tquestion\n3\t{MANGOES}\n")
    assert [(item.question, item.answer) for item in made.questions] == [(MANGOES, 3)]


def test_msvamp_is_json_lines_in_a_file_called_json(tmp_path):
    """The English `query` read in place of the Bengali `m_query`; its answers are texts such as 8.0."""
    row = {"query": "ravi had 5", "equation": "- number0 number1", "response": "8.0", "m_query": f" {MANGOES}"}
    made = read(tmp_path, "test_Bengali.json", json.dumps(row, ensure_ascii=False) + "\n")
    assert [(item.question, item.answer) for item in made.questions] == [(MANGOES, 8)]
    assert isinstance(made.questions[0].answer, int)


def test_distractmath_is_csv_whose_cells_may_hold_lines(tmp_path):
    """The original question asked instead of the modified one, or a line break in a cell taken for a row's end."""
    text = (
        "row_index,original_question,modified_question,ground_truth,augmentation_type,added_sentences\r\n"
        f'0,আগে,"{MANGOES}\nআরও, ৭টি",3,RED,"x"\r\n0,আগে,{MANGOES},3,NED,y\r\n'
    )
    made = read(tmp_path, "augmented_mgsm.csv", text)
    assert [(item.row, item.question, item.kind) for item in made.questions] == [
        (1, f"{MANGOES}\nআরও, ৭টি", "RED"),
        (2, MANGOES, "NED"),
    ]


def test_any_json_lines_are_read_by_the_names_that_are_given(tmp_path):
    """Named fields that are looked for only after the usual ones."""
    row = {"q": MANGOES, "question": "other", "a": {"x": 1}, "n": "৩", "why": "kind", "g": GOLD, "name": 17}
    fields = Fields(question="q", answer="n", kind="why", gold="g", id="name")
    (made,) = read(tmp_path, "mine.jsonl", json.dumps(row), fields).questions
    assert (made.question, made.answer, made.kind, made.id) == (MANGOES, 3, "kind", "17")
    assert made.gold is not None


def test_a_list_of_json_and_a_byte_order_mark_are_read(tmp_path):
    """A file saved by another program refused for its first three bytes."""
    text = json.dumps([{"question": MANGOES, "answer": 3}]).encode("utf-8-sig")
    assert len(read(tmp_path, "list.json", text).questions) == 1


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.tsv", f"{MANGOES}\t3\n{MANGOES}\n", "line 2: 1 cells"),
        ("a.tsv", f"{MANGOES}\tতিন\n", 'row 1 (line 1): the answer "তিন": not a number'),
        ("a.csv", f"modified_question,ground_truth\n{MANGOES},3\n{MANGOES}\n", "line 3: 1 cells, the header has 2"),
        ("a.csv", f'question,answer\n"{MANGOES},3\n', "not csv"),
        ("a.csv", f"question,answer\n\n{MANGOES},\n", "row 1 (line 3): no answer"),
        ("a.csv", "question,question\n1,2\n", "two columns of one name"),
        ("a.jsonl", '{"question": "x", "answer": 1}\n{"question": }\n', "line 2: not JSON"),
        ("a.jsonl", '{"question": "x", "answer": true}\n', "row 1 (line 1): the answer is no number"),
        ("a.jsonl", '{"question": "x"}\n', "no answer; the row has"),
        ("a.jsonl", '{"answer": 1}\n', "no question; the row has"),
        ("a.jsonl", '{"question": " ", "answer": 1}\n', "row 1 (line 1)"),
        ("a.jsonl", "7\n", "line 1: expected an object"),
        ("a.jsonl", "[" * 5000, "not JSON"),
        ("a.jsonl", '{"question": "x", "answer": 1, "graph": {"nodes": []}}\n', "its gold graph"),
        ("a.jsonl", b'{"question": "\xff", "answer": 1}\n', "line 1: not UTF-8"),
        ("a.jsonl", "", "no questions"),
        ("a.parquet", "PAR1", "parquet is not read"),
    ],
)
def test_what_is_no_question_is_one_line_that_names_its_place(tmp_path, name, text, told):
    """A traceback, or an error that leaves one to look for the row."""
    assert told in refused(tmp_path, name, text)


def test_a_file_that_is_not_there_is_named(tmp_path):
    """An OSError in place of a line that says which file."""
    with pytest.raises(UsageError, match="nothing"):
        read_questions(tmp_path / "nothing.csv")


@pytest.mark.parametrize(("text", "number"), [("1,25,000", 125000), ("-0.5", -0.5), ("৪৫.৬", 45.6), ("1e3", 1000)])
def test_answers_are_read_whole_whatever_their_digits(text, number):
    """1,25,000 read as 1, or ৪৫.৬ refused."""
    assert read_answer(text) == number


@pytest.mark.parametrize("value", ["12 টাকা", "1/3", "", float("nan"), None, [1]])
def test_an_answer_that_would_be_guessed_is_refused(value):
    """A gold answer that is not the one that was published."""
    with pytest.raises(ValueError, match="answer"):
        read_answer(value)
