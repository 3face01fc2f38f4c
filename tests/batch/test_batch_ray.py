"""On a cluster of three nodes here: `nox -s ray`, or pytest where Ray is installed. A minute."""

import os
import sys

import pytest
from batch_samples import Says, lines, rows_of, work

from dagger_edge.runtime.batch.cluster import Cluster
from dagger_edge.runtime.batch.work import Row
from dagger_edge.runtime.errors import BundleError

# What Ray and its packages warn of is theirs.
pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def nodes():
    """A cluster: the driver's node without processors, and two of one processor each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        # Ray's processes let everybody else go first, and give up where they wait for each other for long.
        patch.setenv("RAY_worker_niceness", "0")
        # Processes of the cluster have to find the operator.
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        pytest.importorskip("ray")
        from ray.cluster_utils import Cluster as Nodes

        made = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        try:
            for _ in range(2):
                made.add_node(num_cpus=1)
            yield made
        finally:
            made.shutdown()


def test_a_row_that_kills_its_process_fails_and_no_other_does(tmp_path, nodes):
    """A process that dies and takes rows along, or that Ray starts again forever."""
    rows = [Row(number, {5: "die", 8: "fail"}.get(number, "text")) for number in range(30)]
    done = work(tmp_path, rows, engine=Cluster(address=nodes.address, block_rows=4, window_rows=20), ordered=True)
    assert (done.done, done.failed) == (30, 2)
    assert {row["row"]: row["error"]["code"] for row in lines(tmp_path / "out.errors.jsonl")} == {
        5: "worker_died",
        8: "no_answer",
    }
    assert [row["row"] for row in lines(tmp_path / "out.jsonl")] == [n for n in range(30) if n not in {5, 8}]


def test_an_operator_that_cannot_be_opened_there_is_told_here(tmp_path, nodes):
    """A bundle that a machine of the cluster does not have, and Ray's traceback in place of an error."""
    with pytest.raises(BundleError, match="broken"):
        work(tmp_path, [Row(1, "text")], engine=Cluster(address=nodes.address), task=Says(broken=True))


def test_a_node_that_is_killed_in_the_middle_loses_no_row(tmp_path, nodes):
    """Rows that a machine had in hand, which come never, or twice; there is no room for its actor elsewhere."""
    out, killed = tmp_path / "out.jsonl", []

    def kill(_progress):
        # Both have rows in hand then.
        if not killed and len({row["result"]["pid"] for row in lines(out)}) == 2:
            killed.append(sorted(nodes.worker_nodes, key=lambda node: node.node_id)[0])
            nodes.remove_node(killed[0], allow_graceful=False)

    rows = [Row(number, "slow 0.1") for number in range(300)]
    engine = Cluster(address=nodes.address, workers=2, patience_s=10)
    done = work(tmp_path, rows, engine=engine, tell=kill)
    assert killed
    assert (done.done, done.failed) == (300, 0)
    assert sorted(rows_of(tmp_path)) == list(range(300))
