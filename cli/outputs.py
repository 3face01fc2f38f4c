"""Texts that a model wrote elsewhere, for the questions that they answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..runtime.errors import UsageError
from ..runtime.graph.errors import quote
from .inputs import Source
from .rows import Fields, RowError, id_text, read_lines, read_row

if TYPE_CHECKING:
    from ..runtime.evaluation.questions import Question, QuestionSet
    from ..runtime.evaluation.run import Answer


class Given(NamedTuple):
    """A text, with the line that it is in, the row's own name (empty without one) and its question, if it has one."""

    line: int
    id: str
    question: str | None
    text: str


def read_outputs(path: str, field: str | None) -> list[Given]:
    """The texts of the JSON Lines in ``path``; ``field`` is where a row has its text.

    Raises:
        UsageError: it cannot be read, or a row has no text; the message names the line.
    """
    fields = Fields(text=field)
    found = []
    with Source(path) as source:
        for number, line in read_lines(source, lambda: None):
            try:
                row = read_row(line, fields)
                text = row.text()
                found.append(
                    Given(
                        line=number,
                        id=id_text(row.id),
                        question=row.question(),
                        text=text if isinstance(text, str) else text.decode(),
                    )
                )
            except RowError as error:
                message = str(error).replace("--field", "--output-field")
                raise UsageError(f"{path}, line {number}: {message}") from None
    return found


def given_answers(sets: Sequence[QuestionSet], outputs: Sequence[Given], path: str, *, by_id: bool) -> Answer:
    """Answers out of ``outputs``: by their order over all ``sets``, or by the questions' own names.

    Raises:
        UsageError: there are more or fewer than questions, names are missing or there twice, or a row with a question
            has another one than its place says.
    """
    from ..runtime.evaluation.score import Output

    questions = [question for item in sets for question in item.questions]
    matched = _by_id(questions, outputs, path) if by_id else _by_order(questions, outputs, path)
    texts = {(question.set, question.row): output.text for question, output in matched}
    return lambda question: Output(text=texts[question.set, question.row])


def _by_order(questions: Sequence[Question], outputs: Sequence[Given], path: str) -> list[tuple[Question, Given]]:
    if len(outputs) != len(questions):
        raise UsageError(
            f"{path} has {len(outputs):,} texts for {len(questions):,} questions: give one for each, in their order,"
            " or --match id"
        )
    matched = list(zip(questions, outputs, strict=True))
    for question, output in matched:
        _check_question(question, output, path)
    return matched


def _by_id(questions: Sequence[Question], outputs: Sequence[Given], path: str) -> list[tuple[Question, Given]]:
    named: dict[str, Given] = {}
    for output in outputs:
        if not output.id or output.id in named:
            what = f"{quote(output.id)} is there twice" if output.id else "no custom_id, id or request_id"
            raise UsageError(f"{path}, line {output.line}: {what}: --match id needs a name of its own for every row")
        named[output.id] = output
    matched = []
    seen: set[str] = set()
    for question in questions:
        where = f"row {question.row} of {question.set}"
        if question.id is None or question.id in seen:
            what = "has no name of its own" if question.id is None else f"is a second {quote(question.id)}"
            raise UsageError(f"{where} {what}: say where names are with --id-field, or give --match order")
        if question.id not in named:
            raise UsageError(f"{path} has no text for {quote(question.id)}, {where}")
        seen.add(question.id)
        _check_question(question, named[question.id], path)
        matched.append((question, named[question.id]))
    return matched


def _check_question(question: Question, output: Given, path: str) -> None:
    if output.question is not None and output.question.strip() != question.question:
        raise UsageError(
            f"{path}, line {output.line}: it is of another question than row {question.row} of {question.set}"
        )
