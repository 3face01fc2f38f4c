import json
import math
import os
from pathlib import Path

import pytest

from dagger_edge.runtime.graph import Graph, execute

DATA = Path(__file__).parents[1] / "data"


def rows_of(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def check_answers(rows):
    for row in rows:
        graph = Graph.parse(json.dumps(row["graph"]))
        assert math.isclose(execute(graph).answer, row["answer"], rel_tol=1e-9), row["question"]
        assert math.isclose(execute(graph, exact=True).answer, row["answer"], rel_tol=1e-9), row["question"]
        assert Graph.parse(graph.to_json(fenced=True)) == graph


@pytest.mark.parametrize(("name", "count"), [("msvamp_bn_gold", 600), ("mgsm_bn_gold", 125)])
def test_gold_graphs_run_to_the_gold_answers(name, count):
    """An executor that disagrees with the data sets."""
    rows = rows_of(DATA / f"{name}.jsonl")
    assert len(rows) == count
    check_answers(rows)


# The authors' own examples have no licence to be copied here: the variable names a file of them, where there is one.
if "DAGGER_EDGE_AUTHOR_GRAPHS" in os.environ:

    def test_graphs_of_the_authors():
        """An executor that disagrees with the authors' own examples."""
        rows = rows_of(os.environ["DAGGER_EDGE_AUTHOR_GRAPHS"])
        assert len(rows) == 4
        check_answers(rows)


@pytest.mark.parametrize("name", ["msvamp_bn_gold", "mgsm_bn_gold"])
def test_truncated_gold_graphs_give_no_answer(name):
    """A cut-off graph that still parses."""
    text = max((Graph.parse(json.dumps(row["graph"])).to_json() for row in rows_of(DATA / f"{name}.jsonl")), key=len)
    for cut in range(len(text)):
        with pytest.raises(Exception, match="not one complete JSON object"):
            Graph.parse(text[:cut])
