"""Streams and votes on the demo: what happens while a question is answered, and when it is stopped."""

import json
from pathlib import Path

import numpy as np
import pytest

import dagger_edge as de
from dagger_edge.runtime.context import Context
from dagger_edge.runtime.decode import Free, Limits, decode, greedy
from dagger_edge.runtime.graph.live import LiveGraph
from dagger_edge.runtime.rows import Row, decode_rows
from dagger_edge.runtime.sampling import sampler
from dagger_edge.runtime.session import Session

DATA = Path(__file__).resolve().parents[1] / "data"
GOLD = [json.loads(line) for line in (DATA / "msvamp_bn_gold.jsonl").read_text(encoding="utf-8").splitlines()[:300:30]]
QUESTION = "রহিমের কাছে ৫টি আম ছিল। সে করিমকে ২টি আম দিল। রহিমের কাছে এখন কতটি আম আছে?"
OTHER = "একটি বাগানে ৮টি গাছ আছে। ৩টি কাটা হল। কয়টি থাকে?"
HOT = de.Sampling(temperature=2.0, top_p=1.0, seed=5)


@pytest.fixture(scope="module")
def solver():
    with de.demo() as opened:
        yield opened


def test_events_are_the_text_the_nodes_with_values_and_the_solution(solver):
    *events, last = solver.stream(QUESTION)
    solution = last.solution
    assert "".join(event.text for event in events if isinstance(event, de.Written)) == solution.text
    assert sum(event.tokens for event in events if isinstance(event, de.Written)) == solution.timings.new_tokens
    closed = [event for event in events if isinstance(event, de.NodeClosed)]
    assert tuple(event.node for event in closed) == solution.graph.nodes
    assert tuple(event.step for event in closed) == solution.result.trace


def test_a_node_comes_before_the_model_has_gone_on(solver):
    """Collected at the end, events would be no stream: a node must be told when its last token is there."""
    text = ""
    for event in solver.stream(QUESTION):
        if isinstance(event, de.Written):
            text += event.text
        elif isinstance(event, de.NodeClosed):
            assert text.count("}") <= len(text.split('{"id"'))
            assert f'"{event.node.id}"' in text.rsplit('{"id"', 2)[-2] + text.rsplit('{"id"', 2)[-1]


@pytest.mark.parametrize("events", [0, 1, 3, 8])
def test_a_closed_stream_stops_the_model_and_leaves_the_next_question_alone(solver, monkeypatch, events):
    expected = solver.solve(OTHER)
    steps = []
    original = Session.run_bound
    monkeypatch.setattr(Session, "run_bound", lambda *args: steps.append(1) or original(*args))
    stream = solver.stream(QUESTION)
    for _ in range(events):
        next(stream)
    before = len(steps)
    stream.close()
    assert len(steps) == before
    assert solver.solve(OTHER).text == expected.text


def test_an_interruption_in_the_middle_of_a_step_leaves_the_next_question_alone(solver, monkeypatch):
    """Ctrl-C comes between any two lines: of the cache, nothing may be believed afterwards but the snapshot."""
    expected = solver.solve(OTHER).text
    original = Session.run_bound
    for stop in (1, 2, 5):
        calls = []

        def interrupted(*args, stop=stop, calls=calls):
            logits = original(*args)
            calls.append(1)
            if len(calls) == stop:
                raise KeyboardInterrupt
            return logits

        monkeypatch.setattr(Session, "run_bound", interrupted)
        with pytest.raises(KeyboardInterrupt):
            solver.solve(QUESTION)
        monkeypatch.setattr(Session, "run_bound", original)
        assert solver.solve(OTHER).text == expected


def test_counts_say_where_the_tokens_came_from(solver):
    timings = solver.solve(QUESTION).timings
    assert timings.steps + timings.forced_tokens <= timings.new_tokens
    single = solver.solve(QUESTION, de.DecodeOptions(drafts=False)).timings
    assert single.steps + single.forced_tokens == single.new_tokens
    assert timings.steps < single.steps


@pytest.mark.parametrize("row", GOLD[:4], ids=lambda row: str(row["row_index"]))
def test_the_first_sample_is_what_solve_draws(solver, row):
    """Rows that share a random stream, or get one that depends on the others, cannot be drawn again."""
    options = de.DecodeOptions(sampling=HOT)
    try:
        alone = solver.solve(row["question"], options).text
    except de.NoAnswerError as error:
        alone = error.text
    rows = _rows(solver, row["question"], streams=range(3))
    assert rows[0].ids == _ids(solver, row["question"], sampler(HOT, 0))
    assert solver._engine.spell(rows[0].ids).decode() == alone
    assert len({tuple(drawn.ids) for drawn in rows}) > 1


def test_rows_are_what_they_are_alone_also_where_others_end_before_them(solver):
    rows = _rows(solver, GOLD[5]["question"], streams=range(5))
    for stream, row in enumerate(rows):
        assert row.ids == _ids(solver, GOLD[5]["question"], sampler(HOT, stream))
        assert row.stop == "stop"
    assert len({len(row.ids) for row in rows}) > 1


def test_rows_end_at_limits_and_stop_tokens_as_single_answers_do(solver):
    engine = solver._engine
    prompt = engine.prompt.encode(QUESTION)
    free = _decoded(Context(engine.session, limit=1024), prompt, Limits((), 30, 1024))
    for limits, ids, stop in (
        (Limits((), 7, 1024), free[:7], "max_new_tokens"),
        (Limits((), 30, len(prompt) + 5), free[:5], "context"),
        (Limits((free[9],), 30, 1024), free[: free.index(free[9])], "stop"),
    ):
        rows = [Row(Free(), greedy), Row(Free(), greedy)]
        list(decode_rows(Context(engine.session, limit=1024), prompt, limits, rows))
        assert [(row.ids, row.stop) for row in rows] == [(ids, stop)] * 2


def test_a_vote_counts_every_graph_once(solver):
    vote = solver.vote(QUESTION, 10, de.DecodeOptions(sampling=HOT))
    assert sum(candidate.votes for candidate in vote.candidates) + len(vote.failures) == vote.samples == 10
    assert vote.candidates[0].answer == vote.answer == vote.solution.answer
    assert vote.confidence == vote.candidates[0].votes / 10
    assert vote.tie == (len(vote.candidates) > 1 and vote.candidates[0].votes == vote.candidates[1].votes)
    assert vote == de_replace(solver.vote(QUESTION, 10, de.DecodeOptions(sampling=HOT)), vote)


def de_replace(vote, like):
    """``vote`` with the times of ``like``: all else must be equal."""
    import msgspec

    solution = msgspec.structs.replace(vote.solution, timings=like.solution.timings)
    return msgspec.structs.replace(vote, total_s=like.total_s, solution=solution)


@pytest.mark.parametrize("samples", [0, -1, 65])
def test_a_number_of_samples_out_of_range_is_refused(solver, samples):
    with pytest.raises(de.UsageError, match=f"samples is {samples}"):
        solver.vote(QUESTION, samples, de.DecodeOptions(sampling=HOT))


def test_a_vote_of_the_likeliest_graph_is_refused(solver):
    """It would be unanimous, and look like confidence."""
    with pytest.raises(de.UsageError, match="sampling"):
        solver.vote(QUESTION, 3)


def test_a_vote_without_an_answer_is_an_error_that_says_why(solver):
    options = de.DecodeOptions(sampling=HOT, grammar=False, max_new_tokens=5)
    with pytest.raises(de.NoAnswerError, match="none of 3 graphs"):
        solver.vote(QUESTION, 3, options)
    assert solver.solve(QUESTION).answer == 3


def test_a_live_graph_passes_over_what_it_cannot_read():
    """It shows work in progress of a model without a grammar: nothing it meets may end the stream."""
    live = LiveGraph()
    pieces = [
        '{"nodes": [{"id": "n1", "op": "con',
        'st", "val": 6}, {"id": "n1", "op": "const", "val": 7}, {"id": "x", "op": "nonsense", "args": []},',
        '{"id": "n2", "op": "add", "args": ["n1"]}, {"id": 5}, {"id": "n3", "op": "div", "args": ["n1", "n9"]},',
        '{"id": "zero", "op": "sub", "args": ["n1", "n1"]}, {"id": "n4", "op": "div", "args": ["n1", "zero"]}',
    ]
    found = [(node.id, step.value) for piece in pieces for node, step in live.add(piece)]
    assert found == [("n1", 6), ("zero", 0), ("n4", None)]


def _rows(solver, question, streams):
    engine = solver._engine
    prompt = engine.prompt.encode(question)
    rows = []
    counts = list(engine.decode_samples(prompt, de.DecodeOptions(sampling=HOT), rows, streams))
    assert counts == sorted(counts, reverse=True)
    return rows


def _ids(solver, question, choose):
    engine = solver._engine
    prompt = engine.prompt.encode(question)
    options = de.DecodeOptions(sampling=HOT)
    limits = engine._limits(options)
    constraint = engine._constraint(prompt, limits, options)
    context = Context(engine.session, limit=1024)
    return _decoded(context, prompt, limits, constraint=constraint, choose=choose)


def _decoded(context, prompt, limits, **options):
    return [token for emitted in decode(context, prompt, limits, **options) for token in emitted.ids]


def test_the_logits_of_rows_are_those_of_single_sequences(solver):
    engine = solver._engine
    prompt = engine.prompt.encode(QUESTION)
    context = Context(engine.session, limit=1024)
    context.feed(prompt)
    context.fork(2)
    rows = context.feed_rows([20, 30])
    for token, row in zip((20, 30), rows, strict=True):
        single = engine.session.step(np.array([[*prompt, token]], np.int64), engine.session.empty_cache())[0][0, -1]
        assert np.abs(row - single).max() < 1e-3
