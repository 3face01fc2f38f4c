"""The demo's checkpoint out of its bundle."""

import numpy as np
import onnx
import pytest

from dagger_edge.export.checkpoint import Checkpoint
from dagger_edge.export.demo.checkpoint import write_checkpoint
from dagger_edge.export.pipeline import export_checkpoint
from dagger_edge.runtime.bundle import Bundle
from dagger_edge.runtime.errors import BundleError, UsageError
from dagger_edge.runtime.solver import demo_bundle

pytestmark = pytest.mark.export


def test_the_demos_checkpoint_is_the_one_that_was_trained_and_makes_the_same_bundle(tmp_path):
    """A matrix left transposed, a norm a bit off: what is quantised then is another model than the one that ships."""
    bundle = Bundle.open(demo_bundle())
    out = tmp_path / "checkpoint"
    assert write_checkpoint(bundle, out)
    made = Checkpoint.open(out)
    assert made.source().shards == bundle.manifest.source.shards
    again = export_checkpoint(out, tmp_path / "bundle", prompt="question", verify=False)
    stored, shipped = (
        {item.name: onnx.numpy_helper.to_array(item) for item in onnx.load(one.model_path).graph.initializer}
        for one in (again, bundle)
    )
    weights = [name for name in shipped if name.endswith(".weight")]
    assert len(weights) > 60
    assert all(stored[name].tobytes() == shipped[name].tobytes() for name in weights)
    # Torch's, whose last bits depend on the machine.
    tables = [name for name in shipped if name.startswith("rotary.")]
    assert len(tables) == 4
    assert all(np.abs(stored[name] - shipped[name]).max() < 1e-5 for name in tables)
    with pytest.raises(UsageError, match="is there already"):
        write_checkpoint(bundle, out)


def test_a_bundle_whose_weights_were_rounded_is_refused(wide_checkpoint, tmp_path):
    """A checkpoint written out of an int8 bundle as if nothing had been lost."""
    rounded = export_checkpoint(wide_checkpoint, tmp_path / "bundle", precision="int8", verify=False)
    with pytest.raises(BundleError, match="were rounded"):
        write_checkpoint(rounded, tmp_path / "checkpoint")
    assert not (tmp_path / "checkpoint").exists()
