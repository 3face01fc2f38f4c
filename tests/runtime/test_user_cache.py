"""The user's cache folder: what is kept is whole or not there, and nothing grows without end."""

import os

import msgspec
import pytest

from dagger_edge.runtime import user_cache
from dagger_edge.runtime.bundle import Bundle
from dagger_edge.runtime.cost import StepCost, measure_steps
from dagger_edge.runtime.kept_cost import _name, known_step_cost
from dagger_edge.runtime.solver import demo_bundle
from dagger_edge.runtime.user_cache import cache_folder, cache_name, read_cached, write_cached


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "dagger-edge"


def test_what_is_kept_comes_back():
    name = cache_name("thing", 1, "a")
    assert read_cached(name) is None
    write_cached(name, b"content")
    assert read_cached(name) == b"content"
    write_cached(name, b"")
    assert read_cached(name) == b""


def test_names_tell_apart_all_that_an_entry_depends_on():
    """Joined without borders, ("a", "bc") and ("ab", "c") would share an entry."""
    names = {cache_name("x", *values) for values in (("a", "bc"), ("ab", "c"), (1,), ("1",), (), (None,))}
    assert len(names) == 6


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data + b"x", lambda data: data[:10], lambda _: b""]
)
def test_a_damaged_entry_is_none(folder, damage):
    name = cache_name("thing")
    write_cached(name, b"content" * 100)
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(damage(data))
    assert read_cached(name) is None


def test_a_write_that_fails_leaves_what_was_there_and_no_rest(folder, monkeypatch):
    name = cache_name("thing")
    write_cached(name, b"before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(user_cache.Path, "replace", full)
    write_cached(name, b"after")
    assert read_cached(name) == b"before"
    assert [path.name for path in folder.iterdir()] == [name]


def test_the_oldest_entries_make_room(folder, monkeypatch):
    """States of prompts are 100 MB each, and a new one comes with every export."""
    monkeypatch.setattr(user_cache, "MAX_BYTES", 1000)
    for index in range(10):
        write_cached(cache_name("thing", index), bytes(200))
        os.utime(folder / cache_name("thing", index), (index, index))
    kept = [index for index in range(10) if read_cached(cache_name("thing", index)) is not None]
    assert kept == [6, 7, 8, 9]


def test_a_relative_folder_is_ignored(monkeypatch):
    """The specification says so; else every working directory would get one."""
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder().is_absolute()
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder().parts[-2:] == (".cache", "dagger-edge")


def test_a_user_without_a_home_has_no_cache_and_no_error(monkeypatch):
    """A container that runs under a number alone: finding the folder fails before anything is read."""

    def homeless(_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(user_cache.Path, "expanduser", homeless)
    write_cached(cache_name("thing"), b"content")
    assert read_cached(cache_name("thing")) is None


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"sizes":[1],"seconds":["x"]}', b'{"sizes":[2,1],"seconds":[1,2]}', b"\xff"]
)
def test_costs_that_are_none_are_measured_anew(content):
    bundle = Bundle.open(demo_bundle(), verify=False)
    write_cached(_name(bundle, "cpu", None), content)
    assert known_step_cost(bundle, "cpu", None) is None


def test_costs_hold_for_one_bundle_number_of_threads_and_provider():
    bundle = Bundle.open(demo_bundle(), verify=False)
    write_cached(_name(bundle, "cpu", 2), msgspec.json.encode(StepCost((1, 2), (1.0, 2.0))))
    assert known_step_cost(bundle, "cpu", 2) is not None
    assert known_step_cost(bundle, "cpu", None) is None
    assert known_step_cost(bundle, "cuda", 2) is None


def test_costs_between_and_past_the_measured_sizes():
    cost = StepCost((1, 4, 16), (1.0, 4.0, 10.0))
    assert [cost.of(size) for size in (1, 2.5, 4, 10, 16)] == [1.0, 2.5, 4.0, 7.0, 10.0]
    assert cost.of(31) == pytest.approx(10 + 15 * 9 / 15)
    assert StepCost((1,), (2.0,)).of(5) == 2.0


def test_measuring_leaves_the_context_as_it_was_and_costs_never_fall():
    """A busy moment at the smallest size would make larger steps look free."""

    class Noisy:
        length = 7
        fed = ()

        def feed(self, ids, at=()):
            self.length += len(ids)
            self.fed += (len(ids),)
            sum(range(200_000 if len(ids) == 2 else 1_000))

        def rewind(self, length):
            self.length = length

    context = Noisy()
    cost = measure_steps(context)
    assert context.length == 7
    assert list(cost.seconds) == sorted(cost.seconds)
    assert context.fed[:5] == cost.sizes
