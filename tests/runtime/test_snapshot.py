"""The prefix snapshot on the demo's weights: the same answers for less work, and never from a wrong state."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from greedy import greedy_ids
from tokenizers import Tokenizer

import dagger_edge as de
from dagger_edge.runtime import engine
from dagger_edge.runtime.agreement import compare_known_answer, measure_known_answer
from dagger_edge.runtime.bundle import KNOWN_ANSWER_FILE, MODEL_FILE, PREFIX_FILE, PROMPT_FILE, Bundle
from dagger_edge.runtime.files import sha256_of
from dagger_edge.runtime.manifest import FileEntry, Precision, Prefix
from dagger_edge.runtime.prompt import Prompt
from dagger_edge.runtime.session import Session
from dagger_edge.runtime.snapshot import Snapshot, state_shape, state_type
from dagger_edge.runtime.solver import demo_bundle

# Longer than the demo's window of 128.
HEAD = "একটি প্রশ্ন দেওয়া হল। প্রশ্নটি পড়ে উত্তর দাও। " * 8
TEMPLATE = f"{HEAD}\n\nQuestion:\n{{question}}\n\nOutput:\n"
# The demo's tokenizer makes one token of the space and the question's first letter.
MERGING = f"{HEAD}\n\nQuestion: {{question}}"
QUESTION = "রহিমের কাছে ৫টি আম ছিল। সে করিমকে ২টি আম দিল। রহিমের কাছে এখন কতটি আম আছে?"
FREE = de.DecodeOptions(max_new_tokens=40, grammar=False, drafts=False)
LIMITS: dict[str, Any] = {"max_new_tokens": 24, "context": 1024}


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(demo_bundle() / MODEL_FILE)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(demo_bundle() / "tokenizer.json"))


def state_of(session: Session, ids: list[int]) -> Any:
    _, cache = session.step(np.array([ids], np.int64), session.empty_cache())
    return np.concatenate(cache).reshape(len(cache) // 2, 2, *cache[0].shape[1:])


def seal(folder: Path, **changes: Any) -> Path:
    """Writes a manifest for what lies in ``folder``, as a deceiver would."""
    manifest = Bundle.open(demo_bundle(), verify=False).manifest
    names = [path.name for path in folder.iterdir() if path.name != "manifest.json"]
    files = {name: FileEntry((folder / name).stat().st_size, sha256_of(folder / name)) for name in names}
    (folder / "manifest.json").write_bytes(msgspec.structs.replace(manifest, files=files, **changes).encode())
    return folder


@pytest.fixture
def make(tmp_path: Path, session: Session, tokenizer: Tokenizer) -> Callable[..., Path]:
    """A function that makes the demo's bundle with a template, and the state of its prefix."""

    def write(template: str = TEMPLATE, *, state: Any = None, name: str = "bundle", **changes: Any) -> Path:
        folder = shutil.copytree(demo_bundle(), tmp_path / name)
        (folder / PROMPT_FILE).write_text(template, encoding="utf-8")
        (folder / KNOWN_ANSWER_FILE).unlink()
        ids = Prompt(tokenizer, template).prefix_ids
        np.save(folder / PREFIX_FILE, state_of(session, ids) if state is None else state)
        return seal(folder, **{"prefix": Prefix.of(ids), **changes})

    return write


def said(folder: Path, question: str = QUESTION) -> tuple[str, de.Timings]:
    with de.Solver.open(folder) as solver:
        try:
            solution = solver.solve(question, FREE)
        except de.NoAnswerError as error:
            return error.text, error.timings
    return solution.text, solution.timings


@pytest.mark.parametrize(("template", "merged"), [(TEMPLATE, 0), (MERGING, 1)])
def test_the_answer_is_that_of_the_whole_prompt(
    make: Any, session: Session, tokenizer: Tokenizer, template: str, merged: int
) -> None:
    """A state of ids that the tokenizer made otherwise gives another answer, or a position too many."""
    text, timings = said(make(template))
    prompt = Prompt(tokenizer, template)
    whole = greedy_ids(session, prompt.encode(QUESTION), max_new_tokens=40, context=1024)
    assert text == tokenizer.decode(whole, skip_special_tokens=False)
    assert len(text) > 20
    assert timings.prompt_tokens == len(prompt.encode(QUESTION))
    assert timings.prefix_tokens == len(prompt.prefix_ids) - merged


def test_the_model_reads_the_question_alone(make: Any, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot that is loaded, and read over again, costs more than none."""
    folder, read = make(), []
    original = Session.run_bound

    def run_bound(self: Session, binding: Any, ids: Any, *rest: Any) -> Any:
        read.append(ids.shape[1])
        return original(self, binding, ids, *rest)

    monkeypatch.setattr(Session, "run_bound", run_bound)
    said(folder)
    prompt = Prompt(tokenizer, TEMPLATE)
    assert read[0] == len(prompt.encode(QUESTION)) - len(prompt.prefix_ids)
    assert set(read[1:]) == {1}


def test_a_prompt_that_begins_otherwise_is_read_from_there(session: Session, tokenizer: Tokenizer) -> None:
    """The state of other ids is a wrong answer without a word."""
    ids = Prompt(tokenizer, TEMPLATE).encode(QUESTION)
    snapshot = Snapshot(ids[:150], state_of(session, ids[:150]))
    for at in (0, 1, 70, 149):
        other = [*ids[:at], (ids[at] + 1) % 1792, *ids[at + 1 :]]
        assert snapshot.common(other) == at
        state = snapshot.state[:, :, :, :at]
        assert greedy_ids(session, other, **LIMITS, state=state) == greedy_ids(session, other, **LIMITS)


@pytest.mark.parametrize("length", [1, 2, 149, 150, 151])
def test_one_id_is_always_left_to_read(session: Session, tokenizer: Tokenizer, length: int) -> None:
    """A step of no ids has no logits: prompts may be shorter than the prefix, or just as long."""
    ids = Prompt(tokenizer, TEMPLATE).encode(QUESTION)
    snapshot = Snapshot(ids[:150], state_of(session, ids[:150]))
    assert snapshot.common(ids[:length]) == length - 1
    state = snapshot.state[:, :, :, : length - 1]
    assert greedy_ids(session, ids[:length], **LIMITS, state=state) == greedy_ids(session, ids[:length], **LIMITS)


def test_questions_one_after_the_other_do_not_change_the_state(make: Any) -> None:
    """A cache that grows in place would carry one question into the next."""
    folder = make()
    first, second = said(folder)[0], said(folder, "একটি বাগানে ৮টি গাছ আছে। ৩টি কাটা হল। কয়টি থাকে?")[0]
    assert first != second
    with de.Solver.open(folder) as solver:
        texts = []
        for question in (QUESTION, "একটি বাগানে ৮টি গাছ আছে। ৩টি কাটা হল। কয়টি থাকে?", QUESTION):
            try:
                texts.append(solver.solve(question, FREE).text)
            except de.NoAnswerError as error:
                texts.append(error.text)
    assert texts == [first, second, first]


def test_a_closed_solver_lets_the_snapshot_go(make: Any) -> None:
    solver = de.Solver.open(make())
    solver.close()
    assert solver._engine is None
    with pytest.raises(de.UsageError, match="closed"):
        solver.solve(QUESTION)


def test_the_context_counts_what_is_not_read(make: Any) -> None:
    """Positions of the snapshot are positions: without them the rotary tables end in the middle of an answer."""
    manifest = Bundle.open(demo_bundle()).manifest
    shape = msgspec.structs.replace(manifest.architecture, context_length=170)
    with pytest.raises(de.UsageError, match="context is 170"):
        said(make(architecture=shape))


def shorter(state: Any) -> Any:
    return state[:, :, :, 1:]


def half(state: Any) -> Any:
    return state.astype(np.float16)


def swapped(state: Any) -> Any:
    return state.astype(">f4")


def in_another_order(state: Any) -> Any:
    return np.asfortranarray(state)


@pytest.mark.parametrize("change", [shorter, half, swapped, in_another_order])
def test_an_array_of_another_kind_is_refused(make: Any, session: Session, tokenizer: Tokenizer, change: Any) -> None:
    """Heads and positions taken for each other are numbers like any others."""
    state = state_of(session, Prompt(tokenizer, TEMPLATE).prefix_ids)
    with pytest.raises(de.BundleError, match=rf"bundle .*: {PREFIX_FILE} is not usable: "):
        de.Solver.open(make(state=change(state)))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:60],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data.replace(b"'<f4'", b"'|O' "),
        lambda data: data.replace(b"{'descr'", b"(((((((("),
        lambda data: b"PK\x03\x04" + data,
        lambda data: b"\x80\x04" + data,
        lambda data: bytes(len(data)),
    ],
)
def test_a_file_that_is_no_whole_array_is_refused(make: Any, damage: Callable[[bytes], bytes]) -> None:
    """Its header is parsed, and might name Python objects or more bytes than there are."""
    folder = make()
    manifest = Bundle.open(folder).manifest
    data = (folder / PREFIX_FILE).read_bytes()
    (folder / PREFIX_FILE).write_bytes(damage(data))
    seal(folder, prefix=manifest.prefix)
    with pytest.raises(de.BundleError, match=rf"bundle .*: {PREFIX_FILE} is not usable: "):
        de.Solver.open(folder)


def test_a_flipped_bit_is_found_like_in_every_file(make: Any) -> None:
    folder = make()
    data = bytearray((folder / PREFIX_FILE).read_bytes())
    data[-5] ^= 1
    (folder / PREFIX_FILE).write_bytes(data)
    with pytest.raises(de.BundleError, match=f"{PREFIX_FILE} is altered"):
        de.Solver.open(folder)


def test_the_state_of_another_prompt_is_not_used(make: Any, tokenizer: Tokenizer) -> None:
    """The prompt was edited and sealed again: shape and length fit, the answers would be of the old prompt."""
    folder = make()
    text = (folder / PROMPT_FILE).read_text(encoding="utf-8").replace("উত্তর", "প্রশ্ন", 1)
    (folder / PROMPT_FILE).write_text(text, encoding="utf-8")
    edited = seal(folder, prefix=Bundle.open(demo_folder := make(name="other")).manifest.prefix)
    assert Bundle.open(edited).snapshot(Prompt(tokenizer, text).prefix_ids) is None
    assert said(edited)[0] == said(make(text, name="made"))[0] != said(demo_folder)[0]


def without_snapshot(folder: Path) -> Path:
    (folder / PREFIX_FILE).unlink()
    return seal(folder)


def test_a_missing_state_is_read_once_and_kept(make: Any, tokenizer: Tokenizer, cache: Path) -> None:
    expected, _ = said(make())
    folder = without_snapshot(make(name="without"))
    read = steps_of(folder)
    prefix = len(Prompt(tokenizer, TEMPLATE).prefix_ids)
    assert sum(read) > prefix
    assert [path.name for path in cache.glob("dagger-edge/prefix-*")] != []
    again = steps_of(folder)
    assert sum(again) < prefix
    text, timings = said(folder)
    assert text == expected
    assert timings.prefix_tokens == prefix


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:-9] + bytes(9), lambda _: b""])
def test_a_damaged_state_in_the_cache_is_read_anew(make: Any, cache: Path, damage: Callable[[bytes], bytes]) -> None:
    """A disk that was full, or a file of another program: the answer must not come from it."""
    folder = without_snapshot(make())
    expected, _ = said(folder)
    (kept,) = cache.glob("dagger-edge/prefix-*")
    whole = kept.read_bytes()
    kept.write_bytes(damage(whole))
    assert said(folder)[0] == expected
    assert kept.read_bytes() == whole


@pytest.mark.parametrize("obstacle", ["file", "read-only"])
def test_a_cache_that_cannot_be_written_is_no_error(make: Any, cache: Path, obstacle: str) -> None:
    if obstacle == "file":
        (cache / "dagger-edge").write_text("not a folder")
    else:
        (cache / "dagger-edge").symlink_to("/proc")
    expected, _ = said(make())
    assert said(without_snapshot(make(name="without")))[0] == expected


def test_a_bundle_that_was_not_compared_leaves_the_cache_alone(make: Any, cache: Path) -> None:
    """Its weights may be others than its manifest's, by whose digests the state would be kept for the true ones."""
    with de.Solver.open(without_snapshot(make()), verify=False) as solver, contextlib.suppress(de.NoAnswerError):
        solver.solve(QUESTION, FREE)
    assert list(cache.glob("dagger-edge/prefix-*")) == []


def test_a_state_that_cannot_be_kept_is_not_read_for_every_question(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond what halves hold there is no snapshot, and the beginning would be read twice a question."""
    sought: list[int] = []
    monkeypatch.setattr(engine, "kept_snapshot", lambda *_: sought.append(1))
    with de.Solver.open(without_snapshot(make())) as solver:
        for _ in range(2):
            with contextlib.suppress(de.NoAnswerError):
                solver.solve(QUESTION, FREE)
    assert sought == [1]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def steps_of(folder: Path) -> list[int]:
    """How many ids each step read while one question was answered."""
    read: list[int] = []
    original = Session.run_bound
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "run_bound", lambda *args: read.append(args[2].shape[1]) or original(*args))
        said(folder)
    return read


def test_file_and_description_go_together(make: Any) -> None:
    """An array that nothing describes would be taken for the state of whatever the prompt is now."""
    folder = make()
    manifest = Bundle.open(folder).manifest
    with pytest.raises(de.BundleError, match="and not both"):
        Bundle.open(seal(folder, prefix=None))
    (folder / PREFIX_FILE).unlink()
    with pytest.raises(de.BundleError, match="and not both"):
        Bundle.open(seal(folder, prefix=manifest.prefix))


def test_a_bundle_of_half_precision_stores_halves(make: Any, session: Session, tokenizer: Tokenizer) -> None:
    """The type follows from the precision: nothing in the file has to be believed."""
    state = state_of(session, Prompt(tokenizer, TEMPLATE).prefix_ids)
    assert state_shape(Bundle.open(demo_bundle()).manifest.architecture, state.shape[3]) == state.shape
    precision = Precision("int8", {"weights": "int8"})
    exact, timings = said(make(state=state.astype(state_type("int8")), precision=precision))
    assert timings.prefix_tokens == state.shape[3]
    assert exact == said(make(name="exact"))[0]
    with pytest.raises(de.BundleError, match=r"float32 .*, not float16"):
        de.Solver.open(make(name="other", precision=precision))


def test_the_known_answer_is_that_of_the_snapshot(make: Any, session: Session, tokenizer: Tokenizer) -> None:
    """`verify` must run what users run: a state that is a little off is not found by reading the whole prompt."""
    prompt = Prompt(tokenizer, TEMPLATE)
    ids, prefix = prompt.encode(QUESTION), prompt.prefix_ids
    state = state_of(session, prefix)
    start = Snapshot(prefix, state).start(session, ids)
    known = measure_known_answer(session, QUESTION, ids, 1024, "fp32", start)
    assert known is not None
    assert known.prefix_tokens == len(prefix)
    assert compare_known_answer(session, known).max_logit_diff < known.tolerance
    wrong = state * np.float32(1.05)
    read_whole = msgspec.structs.replace(known, prefix_tokens=0)
    for name, content, answer, fits in (
        ("right", state, known, True),
        ("wrong", wrong, known, False),
        ("whole", wrong, read_whole, True),
    ):
        folder = make(state=content, name=name)
        (folder / KNOWN_ANSWER_FILE).write_bytes(answer.encode())
        with de.Solver.open(seal(folder, prefix=Prefix.of(prefix))) as solver:
            if fits:
                agreement = solver.check_known_answer()
                assert agreement is not None
                assert agreement.equal == 16
            else:
                with pytest.raises(de.BundleError, match="logits differ"):
                    solver.check_known_answer()


def test_the_bundle_in_the_package_has_none() -> None:
    bundle = Bundle.open(demo_bundle())
    assert bundle.manifest.prefix is None
    assert bundle.snapshot([2, 3]) is None
