"""`dagger-edge doctor` as it is called, on machines with one fault each: it has to name the fault and the remedy."""

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import pytest
from farm import ROOT, Farm
from jsonschema import Draft202012Validator

from dagger_edge.runtime.solver import demo_bundle

SCHEMA = Draft202012Validator(json.loads((ROOT / "docs/schema/doctor.schema.json").read_text(encoding="utf-8")))


@dataclass
class Machine:
    """What the doctor is run on."""

    folder: Path
    python: Path = Path(sys.executable)
    bundle: Path = field(default_factory=demo_bundle)
    environment: dict = field(default_factory=lambda: {**os.environ, "PYTHONPATH": str(ROOT / "src")})
    arguments: tuple = ()
    limit: int | None = None

    def farm(self):
        """Goes over to an environment that can be broken."""
        farm = Farm(self.folder / "venv")
        self.python, self.environment = farm.python, farm.environment
        return farm

    def copied_bundle(self):
        """Goes over to a bundle that can be broken."""
        self.bundle = Path(shutil.copytree(self.bundle, self.folder / "bundle"))
        return self.bundle

    def run(self, *command):
        def set_limit():
            if self.limit is not None:
                resource.setrlimit(resource.RLIMIT_AS, (self.limit, self.limit))

        return subprocess.run(
            [self.python, "-m", "dagger_edge", *command],
            capture_output=True,
            env=self.environment,
            preexec_fn=set_limit,
            check=False,
        )

    def examine(self):
        """Exit code and checks by name."""
        done = self.run("doctor", "--json", "--bundle", str(self.bundle), *self.arguments)
        assert done.stderr == b""
        document = json.loads(done.stdout)
        SCHEMA.validate(document)
        assert document["exit_code"] == done.returncode
        return done.returncode, {check["name"]: check for check in document["checks"]}


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def no_llguidance(machine):
    machine.farm().remove("llguidance")


def two_onnxruntimes(machine):
    machine.farm().add_metadata("onnxruntime-gpu", "1.31.1")


def old_onnxruntime(machine):
    farm = machine.farm()
    farm.remove("onnxruntime")
    farm.add_metadata("onnxruntime", "1.20.1")
    farm.add_module("onnxruntime", "__version__ = '1.20.1'")


def onnxruntime_for_another_processor(machine):
    farm = machine.farm()
    farm.remove("onnxruntime")
    farm.add_metadata("onnxruntime", "1.32.0")
    farm.add_module("onnxruntime", "import os, signal\nos.kill(os.getpid(), signal.SIGILL)")


def onnxruntime_after_uninstalling_the_other(machine):
    """As pip leaves it: one's metadata, and of the folder what the other did not have."""
    farm = machine.farm()
    farm.remove("onnxruntime")
    farm.add_metadata("onnxruntime", "1.32.0", files=("onnxruntime/LICENSE", "onnxruntime/__init__.py"))
    (farm.site / "onnxruntime" / "capi").mkdir(parents=True)


def libraries_of_another_cuda(machine):
    farm = machine.farm()
    for folder in farm.site.glob("onnxruntime-*.dist-info"):
        folder.unlink()
    requirement = 'Requires-Dist: nvidia-cudnn-cu13~=9.0; extra == "cudnn"'
    farm.add_metadata("onnxruntime-gpu", version("onnxruntime"), requirement)
    farm.add_metadata("nvidia-cudnn-cu12", "8.9.7.29")
    machine.arguments = ("--provider", "cuda")


def altered_byte(machine):
    with (machine.copied_bundle() / "model.onnx.data").open("r+b") as file:
        file.seek(1_000_000)
        byte = file.read(1)[0]
        file.seek(1_000_000)
        file.write(bytes([byte ^ 1]))


def another_answer(machine):
    """A bundle that is intact, and whose model says something else: the seal is made anew."""
    bundle = machine.copied_bundle()
    known = json.loads((bundle / "known_answer.json").read_bytes())
    known["top_logits"][3][0] += 1.0
    data = json.dumps(known).encode()
    (bundle / "known_answer.json").write_bytes(data)
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    entry = {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest["files"]["known_answer.json"] = entry
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def no_place_for_a_cache(machine):
    """Root may write to any folder, but not below a file."""
    (machine.folder / "file").touch()
    machine.environment["XDG_CACHE_HOME"] = str(machine.folder / "file")


def little_address_space(machine):
    machine.limit = 400_000_000


def ascii_locale(machine):
    machine.environment |= {"LC_ALL": "C", "PYTHONUTF8": "0"}


FAULTS = [
    (no_llguidance, "package-llguidance", "failure", 3, "not installed", "pip install 'llguidance>=1.9,<2'"),
    (
        two_onnxruntimes,
        "onnxruntime",
        "failure",
        3,
        "overwrite each other",
        "pip uninstall -y onnxruntime onnxruntime-gpu",
    ),
    (old_onnxruntime, "onnxruntime", "failure", 3, "1.20.1 is too old", "pip install --upgrade 'onnxruntime>=1.24'"),
    (onnxruntime_for_another_processor, "onnxruntime", "failure", 3, "SIGILL: the processor lacks", "build for this"),
    (
        onnxruntime_after_uninstalling_the_other,
        *("onnxruntime", "failure", 3),
        *("2 of its files are missing, such as onnxruntime/__init__.py", "pip uninstall -y onnxruntime && pip install"),
    ),
    (
        libraries_of_another_cuda,
        "provider-cuda",
        "failure",
        3,
        "nvidia-cudnn-cu12 is of another CUDA",
        "'dagger-edge[cuda]'",
    ),
    (altered_byte, "bundle", "failure", 4, "model.onnx.data is altered", "copy or export the bundle again"),
    (another_answer, "known-answer", "failure", 4, "logits differ by 1", "another onnxruntime may help"),
    (no_place_for_a_cache, "cache", "warning", 0, "cannot be written (Not a directory)", "XDG_CACHE_HOME"),
    (little_address_space, "limits", "failure", 3, "address space is limited to 400 MB", "ulimit -v unlimited"),
    (ascii_locale, "locale", "failure", 3, "arguments are read as ascii", "export LC_ALL=C.UTF-8"),
]


@pytest.mark.parametrize(
    ("plant", "name", "status", "code", "finding", "remedy"),
    FAULTS,
    ids=lambda item: item.__name__ if callable(item) else "",
)
def test_a_planted_fault_is_found_and_its_remedy_named(machine, plant, name, status, code, finding, remedy):
    """A fault that goes unseen, is taken for another one, or takes the doctor down."""
    plant(machine)
    returned, checks = machine.examine()
    found = checks[name]
    assert found["status"] == status
    assert finding in found["finding"]
    assert remedy in found["remedy"]
    assert returned == code
    failures = {check["name"] for check in checks.values() if check["status"] == "failure"}
    # Nothing else is blamed; a GPU package without a GPU, and what the demo was not made for, are no slip.
    assert failures <= {name, "bundle-provider"}


def test_a_sound_machine_has_no_failures_and_shows_it(machine):
    """A doctor that always finds something is read by no one; and its list must not lack what docs/doctor.md has."""
    code, checks = machine.examine()
    assert code == 0
    assert [check for check in checks.values() if check["status"] == "failure"] == []
    assert "16 tokens" in checks["known-answer"]["finding"]
    assert checks["network"]["status"] == "ok"
    page = (ROOT / "docs/doctor.md").read_text(encoding="utf-8")
    assert [name for name in checks if f"`{name}`" not in page] == []
