import random
import re
import time
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from itertools import combinations
from xml.etree import ElementTree as ET

import pytest
from graph_samples import EXAMPLE, call, const, graph_of, well_formed_graphs
from hypothesis import given, settings
from hypothesis import strategies as st

from dagger_edge.runtime.graph import ExecutionError, Graph, GraphStructureError, Node, execute
from dagger_edge.runtime.graph.show import to_html, to_mermaid, to_svg, to_text
from dagger_edge.runtime.graph.show.layout import lay_out
from dagger_edge.runtime.graph.show.measure import clusters, cut, width_of, wrap

SVG = "{http://www.w3.org/2000/svg}"
ALL = (to_text, to_mermaid, to_svg, to_html)

HOSTILE = (
    '"]; click n0 "javascript:alert(1)"',
    "end",
    '%%{init: {"theme": "dark"}}%%',
    "`**bold**`",
    "<script>alert(1)</script>",
    "</title></svg><img src=x onerror=alert(1)>",
    "&lt;b&gt; #quot; #35;",
    "]]> <!-- -->",
    "a\nn9 --> n0\nclass n0 answer",
    "\u202eabc\x1b[2J\x00\ufffe",
    "https://example.org/?a=1&b='2'",
    "x" * 5000,
    "ক্" * 300,
)


def example():
    graph = Graph.parse(EXAMPLE)
    return graph, execute(graph)


def hostile_graph():
    """Every hostile text as a label on the path, as the id of a distractor, and as an op and an argument."""
    consts = [const(f"n{index}", index, label=text) for index, text in enumerate(HOSTILE)]
    asides = [const(text, 1, distractor=True) for text in HOSTILE]
    odd = [Node(f"o{index}", text, args=(text, "nowhere"), label=text) for index, text in enumerate(HOSTILE)]
    return Graph((*consts, *asides, *odd, call("final_result", "sum", *(node.id for node in consts))))


def random_layered(seed, size):
    """``sources`` and ``aside`` of a random graph; nothing but an aside node takes an aside node."""
    rng = random.Random(seed)
    aside = [rng.random() < 0.3 for _ in range(size)]
    sources = []
    for index in range(size):
        free = [other for other in range(index) if aside[index] or not aside[other]]
        sources.append(rng.sample(free, min(len(free), rng.choice((0, 0, 1, 2, 3)))))
    return sources, aside


def svg_of(text):
    """The root of the SVG: well-formed XML or an error."""
    return ET.fromstring(text)


def nodes_of(root):
    return [group for group in root.iter(f"{SVG}g") if "dg-node" in group.get("class", "")]


def titles_of(root):
    return [group.find(f"{SVG}title").text for group in nodes_of(root)]


class Page(HTMLParser):
    """The elements of a page with their attributes, and the text of its style sheets."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.styles, self.inside = [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside = tag

    def handle_data(self, data):
        if self.inside == "style":
            self.styles.append(data)

    def handle_endtag(self, tag):
        self.inside = ""


def test_text_is_a_tree_from_the_answer():
    """A list in which nobody sees what comes from what, or distractors among the steps."""
    assert to_text(*example()).splitlines() == [
        "final_result, চূড়ান্ত উত্তর: 5572092 (৫৫৭২০৯২)",
        "└─ total_money, মিনার মোট টাকা: 122195 × 45.6 = 5572092",
        "   ├─ n1, মিনার কলম: 122195",
        "   └─ n5, প্রতিটি কলমের দাম: 45.6",
        "",
        "Not used for the answer:",
        "n2, রাজুর কলম: 25084  [distractor]",
        "n3, মিনা রাজুর কাছে চাইল: 1126  [distractor]",
        "n4, রাজু দিতে রাজি হল: 1000  [distractor]",
    ]


def test_text_shows_a_shared_node_once():
    """Exponentially many lines for n nodes that each use the one before twice."""
    graph = graph_of(const("a", 2), call("b", "add", "a", 1), call("c", "mul", "b", "a"), call("it", "sub", "c", "b"))
    text = to_text(graph, execute(graph))
    assert text.count("b: 2 + 1 = 3") == 1
    assert text.count("a: 2") == 1
    assert text.endswith("└─ b (above)")


def test_text_of_a_deep_chain_stays_narrow():
    """256 levels of indentation, or the stack overflowing."""
    nodes = [const("n0", 1), *(call(f"n{index}", "add", f"n{index - 1}", 1) for index in range(1, 255))]
    text = to_text(graph_of(*nodes))
    assert max(map(len, text.splitlines())) < 80
    for node in nodes:
        assert len(re.findall(rf"\b{node.id}: ", text)) == 1


@pytest.mark.parametrize("show", ALL)
def test_equal_graphs_look_equal(show):
    """An order that depends on hashes or on the time."""
    assert show(*example()) == show(*example())


@given(well_formed_graphs())
@settings(max_examples=40)
def test_every_node_is_there_once(graph):
    """A node left out, or drawn twice."""
    for result in (None, execute(graph)):
        titles = titles_of(svg_of(to_svg(graph, result)))
        assert sorted(title.split(" (")[0] for title in titles) == sorted(node.id for node in graph.nodes)
        mermaid = to_mermaid(graph, result)
        assert len(re.findall(r"^ +n\d+[(\[]", mermaid, re.M)) == len(graph.nodes)
        text = to_text(graph, result)
        described = "\n".join(line for line in text.splitlines() if not line.endswith("(above)"))
        for node in graph.nodes:
            assert len(re.findall(rf"^[ │├└─]*{node.id}(?:, [^\n]*)?: ", described, re.M)) == 1
        Page(to_html(graph, result))


def test_distractors_are_apart_and_the_path_stands_out():
    """A distractor that looks like a step, or edges of which none leads the eye."""
    root = svg_of(to_svg(*example()))
    classes = {
        title.split(" (")[0]: group.get("class") for title, group in zip(titles_of(root), nodes_of(root), strict=True)
    }
    assert [name for name, value in classes.items() if "dg-aside" in value] == ["n2", "n3", "n4"]
    assert "dg-answer" in classes["final_result"]
    assert "dg-step" in classes["total_money"]
    assert any("dg-lane" in rect.get("class", "") for rect in root.iter(f"{SVG}rect"))
    mermaid = to_mermaid(*example())
    assert "n0 ==> n5" in mermaid
    assert mermaid.count(":::distractor") == 3
    assert mermaid.count(":::answer") == 1


def test_flags_that_contradict_the_graph_are_pointed_out():
    """A used "distractor" drawn as if it were none, and an unused node passed over."""
    graph = graph_of(const("used", 1, distractor=True), const("left", 2), call("it", "identity", "used"))
    svg = to_svg(graph, execute(graph))
    assert "dg-flagged" in svg
    assert ">unused</text>" in svg
    assert "marked as a distractor, but used" in to_text(graph)
    assert "unused#44; not marked as a distractor" in to_mermaid(graph)
    assert "the answer depends on it" in to_html(graph)


def test_answer_in_both_scripts():
    """A page that a child cannot read, or an engineer cannot."""
    svg, page = to_svg(*example()), to_html(*example())
    for text in (svg, page):
        assert "5572092" in text
        assert "৫৫৭২০৯২" in text
    assert "<title>উত্তর ৫৫৭২০৯২ (5572092)</title>" in page


@pytest.mark.parametrize("show", ALL)
def test_what_cannot_run_can_be_drawn(show):
    """No picture just when somebody needs to see what is wrong."""
    failing = graph_of(const("a", 1), call("it", "div", "a", 0))
    with pytest.raises(ExecutionError):
        execute(failing)
    assert "final" in show(failing)
    backwards = Graph((call("final_result", "add", "later", "final_result"), const("later", 1), const("later", 2)))
    strange = Graph((Node("a", "nonsense"), Node("b", "const"), Node("c", "const", val=float("nan"))))
    for graph in (backwards, strange, Graph(()), Graph((Node("c", "const", val=10**5000),))):
        assert show(graph)


@pytest.mark.parametrize("show", ALL)
def test_too_many_nodes_are_an_error(show):
    """A drawing that takes for ever."""
    with pytest.raises(GraphStructureError, match="at most 256"):
        show(Graph(tuple(const(f"n{index}", 1) for index in range(257))))


def test_failed_distractors_say_so():
    """The word None in a picture."""
    graph = graph_of(call("broken", "div", 1, 0, distractor=True), const("it", 5))
    for show in ALL:
        assert "no value" in show(graph, execute(graph))
        assert "None" not in show(graph, execute(graph))


def test_nothing_steers_a_terminal():
    """Escape sequences and bidi overrides in a log; joiners of Bengali spelling must stay."""
    graph = graph_of(const("a\x1b", 1, label="\x1b[2J\u202e\u2066র\u200d্যাম\r\n"), call("it", "add", "a\x1b", 1))
    text = to_text(graph)
    assert not set(text) & set("\x1b\u202e\u2066\r\x00")
    assert "র\u200d্যাম" in text
    assert len(text.splitlines()) == 3


def test_hostile_text_cannot_inject_mermaid():
    """A label that ends its quotes, a directive, a link, a second statement."""
    text = to_mermaid(hostile_graph())
    label = r'"(?:[^"`<>&%{}\n#;]|#[0-9]+;|<br/>)*"'
    line = re.compile(
        r"flowchart TD|"
        rf" +n\d+(?:\(\[{label}\]\)|\[{label}\]):::(?:given|path|answer|distractor|unused)|"
        r'  subgraph aside\["Not used for the answer"\]|  end|'
        r" +n\d+ (?:==>|-\.->) n\d+|"
        r"  classDef [a-z]+ [-a-z0-9#:, ]+|  style aside [-a-z0-9#:, ]+"
    )
    for one in text.splitlines():
        assert line.fullmatch(one), one


def test_hostile_text_cannot_inject_svg():
    """Elements, attributes or references that come from a label, an id, an op or the question."""
    root = svg_of(to_svg(hostile_graph(), question=" ".join(HOSTILE)))
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        "svg", "title", "desc", "style", "clipPath", "rect", "g", "text", "path"
    }  # fmt: skip
    for element in root.iter():
        assert not any(name.startswith("on") or "href" in name or name == "style" for name in element.attrib)
        assert element.get("clip-path") in (None, "url(#dg-clip)")
    assert "@import" not in root.find(f"{SVG}style").text
    assert "url(" not in root.find(f"{SVG}style").text


def test_hostile_text_cannot_inject_html():
    """A script, an image or an inline style, whatever the model or the question says."""
    page = Page(to_html(hostile_graph(), question=" ".join(HOSTILE)))
    assert "\u202e" not in to_html(hostile_graph(), question="\u202e")
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "img", "b", "iframe", "object", "link", "a", "foreignObject", "image", "use"}
    for _, attributes in page.elements:
        assert not any(name.startswith("on") or name in ("src", "href", "style", "action") for name in attributes)


def test_the_policy_allows_the_styles_of_the_page_and_nothing_else():
    """A policy that lets a script run, or that blocks the page's own look."""
    page = Page(to_html(*example(), question="কত?"))
    [policy] = [a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    hashes = [f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'" for style in page.styles]
    assert len(hashes) == 2
    assert policy == f"default-src 'none'; style-src {' '.join(hashes)}; base-uri 'none'; form-action 'none'"


@given(st.integers(0, 2**32), st.integers(1, 60))
@settings(max_examples=60)
def test_boxes_do_not_overlap(seed, size):
    """Boxes on top of each other, boxes outside the drawing, a distractor outside its lane, an upward edge."""
    sources, aside = random_layered(seed, size)
    heights = [60.0 + 10 * (index % 4) for index in range(size)]
    layout = lay_out(sources, aside, 150.0, heights)
    for one, other in combinations(layout.boxes, 2):
        apart_x = abs(one.x - other.x) >= 150.0
        apart_y = one.y + one.height <= other.y or other.y + other.height <= one.y
        assert apart_x or apart_y
    for index, box in enumerate(layout.boxes):
        assert box.height >= heights[index]
        assert box.x >= 0
        assert box.x + box.width <= layout.width + 0.2
        assert box.y >= 0
        assert box.y + box.height <= layout.height
        assert aside[index] is (layout.lane is not None and box.y > layout.lane.y)
        for source in sources[index]:
            assert layout.boxes[source].y + layout.boxes[source].height < box.y


@given(st.integers(0, 2**32), st.integers(2, 40))
@settings(max_examples=30)
def test_edges_pass_between_boxes(seed, size):
    """An edge straight through a box that it does not belong to."""
    sources, aside = random_layered(seed, size)
    layout = lay_out(sources, aside, 150.0, [80.0] * size)
    for line in layout.lines:
        for box in layout.boxes:
            if line.straight and box.y <= line.y < box.y + box.height:
                assert not box.x < line.x < box.x + box.width


@pytest.mark.parametrize("size", [60, 256])
def test_large_graphs_are_drawn_in_time(size):
    """A layout that is fine for ten nodes only: a chain in which every step needs two numbers from far away."""
    half = (size - 1) // 2
    nodes = [const(f"c{index}", index + 1, label="সংখ্যা") for index in range(half)]
    last = "c0"
    for index in range(1, half):
        nodes.append(call(f"s{index}", "add", last, f"c{index}", f"c{half - index}"))
        last = f"s{index}"
    graph = graph_of(*nodes)
    start_s = time.process_time()
    root = svg_of(to_svg(graph, execute(graph)))
    # Ten times what it takes on a slow machine.
    assert time.process_time() - start_s < 5
    assert len(nodes_of(root)) == len(graph.nodes)


def test_wide_graphs_stay_readable():
    """Sixty-four constants of one sum in one row of ten thousand pixels."""
    nodes = [const(f"n{index}", index, label="সংখ্যা") for index in range(64)]
    root = svg_of(to_svg(graph_of(*nodes, call("it", "sum", *(node.id for node in nodes)))))
    assert float(root.get("width")) < 2000


# Measured in Chromium at weight 600 with Noto Sans and Noto Sans Bengali, in em.
MEASURED = {
    "শুরুর পাখি": 4.75,
    "ডেভিডের পুশ-আপ": 8.05,
    "ফেলা গোলাপ": 5.87,
    "কেনার পরের টাকা": 7.82,
    "বইয়ের অধ্যায়": 6.00,
    "5572092": 4.00,
    "total_money": 6.22,
}


@pytest.mark.parametrize(("text", "width"), MEASURED.items())
def test_widths_are_close_to_those_of_a_browser(text, width):
    """A text that runs out of its box, or is cut though it fits."""
    assert 0.98 * width <= width_of(text, 1.0) <= 1.4 * width


def test_letters_are_never_taken_apart():
    """A vowel sign without its consonant at the start of a line, or half a conjunct."""
    assert clusters("ক্ষুদ্র র‍্যাম") == ["ক্ষু", "দ্র", " ", "র‍্যা", "ম"]
    for limit in range(1, 120):
        for line in (*wrap("প্রতিটি ক্ষুদ্র বাক্সের", 10, limit, 3), cut("স্ট্রবেরি", 10, limit)):
            assert all(piece in clusters("প্রতিটি ক্ষুদ্র বাক্সের স্ট্রবেরি…") for piece in clusters(line))


@given(st.text(max_size=60), st.integers(20, 200))
def test_lines_fit(text, limit):
    """A line wider than its limit, except one letter that is wider alone."""
    for line in wrap(" ".join(text.split()), 10, limit, 2):
        assert width_of(line, 10) <= limit + 1e-6 or len(clusters(line)) <= 2
