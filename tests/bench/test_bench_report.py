"""The page and the plots: well formed, self-contained, whatever a bundle is called."""

import re
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from bench_samples import result

from dagger_edge.runtime.bench.plots import LETTERS, pictures
from dagger_edge.runtime.bench.report import html_report, svg_report
from dagger_edge.runtime.errors import UsageError

pytest.importorskip("matplotlib")

BENGALI = "বাংলা মডেল ৪বি"
HOSTILE = '<script>alert(1)</script> $x_1$ & "quoted" \\frac{'


class Page(HTMLParser):
    """What a browser would find in a page."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.links, self.open = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name in {"href", "xlink:href", "src"}]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", ["a 4B", BENGALI, HOSTILE])
def test_the_page_holds_all_and_loads_nothing(name):
    page_text = html_report(result(1, threads=(1, 2), name=name, precision=name))
    page = Page(page_text)
    assert page.open == []
    assert page.tags.count("svg") == 5
    assert "script" not in page.tags
    assert all(link.startswith("#") for link in page.links)
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert len(set(page.ids)) == len(page.ids)
    assert set(re.findall(r"url\(#([^)]*)\)", page_text)) <= set(page.ids)
    if name == BENGALI:
        assert page_text.count(BENGALI) >= 4


def test_bengali_and_formulas_stay_out_of_the_plots():
    """matplotlib has no letters for the first, warns, and takes dollars for a formula that it may not understand."""
    for name in (BENGALI, HOSTILE):
        for svg in pictures(result(1, threads=(1, 2), name=name, precision=name)):
            ElementTree.fromstring(svg)
            assert svg.isascii()
            assert "alert(1)" not in svg or "&lt;script&gt;" in svg


def test_the_plots_alone_are_one_document_and_the_same_twice():
    made = result(1, threads=(1, 2, 4))
    first = svg_report(made)
    ElementTree.fromstring(first)
    assert first == svg_report(made)
    for words in ("Where the time of an answer goes", "What a step costs", "Reading a prompt", "Answers by threads"):
        assert words in first
    assert all(f"{letter}: int8, " in first for letter in LETTERS[:3])


def test_a_plot_without_its_rows_is_left_out():
    """An empty frame, or a failure after minutes of measuring."""
    from msgspec.structs import replace

    made = result(1)
    bare = replace(made, rows=tuple(row for row in made.rows if row.what in {"load", "step"}))
    assert len(pictures(bare)) == 1
    assert Page(html_report(bare)).tags.count("svg") == 1


def test_without_matplotlib_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"dagger-edge\[report\]"):
        html_report(result(1))
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    (needs,) = project["optional-dependencies"]["report"]
    # An extra that is not there installs nothing, and one that brings torch takes minutes for a plot.
    assert needs.startswith("matplotlib")
