"""``dagger-edge pack``, with real pip on wheels of a few lines: what is in a pack, and what is refused."""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner
from tiny_wheels import bundled_pip, here, lock_of, make_wheel, own_wheel

pytest.importorskip("cyclonedx")

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from dagger_edge.cli.pack import command
from dagger_edge.cli.packing import pip
from dagger_edge.cli.packing.assembly import Wanted, pack
from dagger_edge.cli.packing.own_wheel import rebuild
from dagger_edge.cli.packing.target import Target
from dagger_edge.cli.packing.wheel import Wheel, edges
from dagger_edge.runtime.errors import BundleError, UsageError
from dagger_edge.runtime.solver import demo_bundle

HERE = Target.here(None, None, "cpu")


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """A folder of wheels that pip takes instead of the index, and our own wheel with their lock."""
    if bundled_pip() is None:
        pytest.skip("this Python brings no wheel of pip along")
    folder = tmp_path_factory.mktemp("index")
    installer = Path(shutil.copy(bundled_pip(), folder))
    wheels = [make_wheel(folder, "small", "1.0"), make_wheel(folder, "engine", "2.0", tag=here())]
    own = own_wheel(folder / "own", lock_of(*wheels), lock_of(installer))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(folder))
        yield folder, own


def make(index, out, **changes):
    wanted = {"target": HERE, "bundles": [demo_bundle()], "wheel": index[1], **changes}
    return pack(Wanted(out, **wanted), say=lambda line: None)


@pytest.fixture(scope="module")
def made(index, tmp_path_factory):
    notice = tmp_path_factory.mktemp("notices") / "NOTICE.txt"
    notice.write_text("as the terms ask")
    packed = make(index, tmp_path_factory.mktemp("packs") / "pack", notices=[notice])
    return packed.path, packed


def test_a_pack_holds_what_its_sums_say_and_nothing_else(made):
    """A file that no sum covers, or an installer that cannot be run."""
    folder, packed = made
    check = subprocess.run(["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True, check=False)
    assert check.returncode == 0, check
    listed = {line.split("  ", 1)[1] for line in (folder / "SHA256SUMS").read_text().splitlines()}
    assert listed | {"SHA256SUMS"} == {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"docs/deploy.md", "docs/schema/graph.schema.json", "README.md", "LICENSE", "Containerfile"} <= listed
    assert {"dagger-edge.service", "notices/NOTICE.txt", "bundles/demo/manifest.json"} <= listed
    assert (folder / "install.sh").stat().st_mode & 0o777 == 0o755
    assert packed.sums_sha256 == hashlib.sha256((folder / "SHA256SUMS").read_bytes()).hexdigest()


def test_templates_are_filled(made):
    """A unit or installer that asks for @python@."""
    folder, packed = made
    for name in ("install.sh", "Containerfile", "dagger-edge.service"):
        left = (folder / name).read_text().replace("@prefix@", "").replace("@system-service", "")
        assert not [word for word in left.split() if word.count("@") > 1 and word != '"$@"'], name
    assert f"need_glibc='{packed.document.glibc}'" in (folder / "install.sh").read_text()
    assert packed.document.glibc == "2.5"


def test_the_installer_may_install_the_packed_wheels_alone(made):
    """A wheel without a hash, or the one of pip, which is not for the environment."""
    lines = (made[0] / "requirements.txt").read_text().splitlines()
    assert [line.split("==")[0] for line in lines] == ["dagger-edge", "engine", "small"]
    assert all("--hash=sha256:" in line for line in lines)


def test_the_bill_is_valid_and_complete(made):
    """A bill that no tool reads, or that leaves out a wheel, the model, a licence or a digest."""
    text = (made[0] / "sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    assert bill["metadata"]["component"]["name"] == "dagger-edge"
    assert "timestamp" not in bill["metadata"]
    parts = {part["name"]: part for part in bill["components"]}
    assert set(parts) == {"small", "engine", "pip", "dagger-edge-demo"}
    assert parts["pip"]["scope"] == "excluded"
    assert parts["pip"]["licenses"]
    wheel = next((made[0] / "wheels").glob("engine-*"))
    assert parts["engine"]["hashes"][0]["content"] == hashlib.sha256(wheel.read_bytes()).hexdigest()
    model = parts["dagger-edge-demo"]
    assert model["type"] == "machine-learning-model"
    weights = next(file for file in model["components"] if file["name"] == "model.onnx.data")
    assert (
        weights["hashes"][0]["content"] == hashlib.sha256((demo_bundle() / "model.onnx.data").read_bytes()).hexdigest()
    )
    needs = {entry["ref"]: entry.get("dependsOn", []) for entry in bill["dependencies"]}
    assert needs["dagger-edge@9.9"] == ["bundle:bundles/demo", "engine@2.0", "small@1.0"]


def test_a_tar_holds_the_same_and_nothing_of_the_moment(index, made, tmp_path):
    """Times, owners or an order that differ: nobody could compare two packs."""
    options = ["--tar", "--json", "--bundle", demo_bundle(), "--wheel", index[1]]
    arguments = [tmp_path / "pack.tar", *options, "--notice", made[0] / "notices" / "NOTICE.txt"]
    said = CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)
    document = json.loads(said.stdout)
    assert (document["sums_sha256"], document["wheels"]) == (made[1].sums_sha256, 4)
    with tarfile.open(document["path"]) as opened:
        members = opened.getmembers()
        held = {member.name.removeprefix("pack/"): opened.extractfile(member).read() for member in members}
    assert held == {str(path.relative_to(made[0])): path.read_bytes() for path in made[0].rglob("*") if path.is_file()}
    assert [member.name for member in members] == sorted(member.name for member in members)
    assert {(member.uid, member.gid, member.uname, member.mtime) for member in members} == {(0, 0, "", 315532800)}
    assert {member.mode for member in members if member.name != "pack/install.sh"} == {0o644}


def test_what_is_there_is_not_touched_and_failures_leave_nothing(index, made, tmp_path):
    """A pack that is overwritten, or half of one under its name."""
    with pytest.raises(UsageError, match="exists already"):
        make(index, made[0])
    bundle = tmp_path / "model"
    shutil.copytree(demo_bundle(), bundle)
    with (bundle / "model.onnx.data").open("r+b") as file:
        file.write(b"\xff\xff")
    with pytest.raises(UsageError, match=r"model\.onnx\.data is altered"):
        make(index, tmp_path / "pack", bundles=[bundle])
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_bundles_that_cannot_go_along_are_refused(tmp_path):
    """A service on a GPU with a graph that has no kernels there; two bundles of one name."""
    with pytest.raises(BundleError, match="it is made for cpu; export it for cuda"):
        pack(Wanted(tmp_path / "pack", Target("3.12", "linux-x86_64", "cuda"), [demo_bundle()]), print)
    with pytest.raises(UsageError, match="needs a name of its own"):
        pack(Wanted(tmp_path / "pack", HERE, [demo_bundle(), demo_bundle()]), print)


def test_pip_that_fails_is_one_line_with_the_reason(index, tmp_path, monkeypatch):
    """Pages of pip's own, of which the last line is the least telling."""
    lock = tmp_path / "lock.txt"
    lock.write_text(f"engine==2.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(UsageError, match=r"engine==2\.0 is not the file that the lock names"):
        pip.download([lock], HERE, tmp_path)
    other = Target("3.13" if HERE.python != "3.13" else "3.12", "linux-aarch64", "cpu")
    with pytest.raises(UsageError, match=r"on linux-aarch64 \(cpu\): there is no wheel of engine==2.0 for it"):
        pip.download([lock], other, tmp_path)
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(UsageError, match="the package index cannot be reached"):
        pip.download([lock], HERE, tmp_path)
    monkeypatch.setitem(sys.modules, "pip", None)
    with pytest.raises(UsageError, match=r"needs pip, which .* does not have: run"):
        pip.download([lock], HERE, tmp_path)


def test_our_wheel_is_made_again_from_what_was_installed(tmp_path):
    """A wheel that lacks a file, holds the installer's, or passes on a file that was edited."""
    original = own_wheel(tmp_path, "", "")
    place = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", place, original]
    subprocess.run(install, check=True)
    (installed,) = metadata.distributions(path=[str(place)])
    again = rebuild(installed, tmp_path / "again")
    assert again.name == original.name
    with zipfile.ZipFile(original) as first, zipfile.ZipFile(again) as second:
        names = first.namelist()
        assert sorted(names) == sorted(second.namelist())
        record = next(name for name in names if name.endswith("/RECORD"))
        assert {name: first.read(name) for name in names if name != record} == {
            name: second.read(name) for name in names if name != record
        }
        assert sorted(first.read(record).splitlines()) == sorted(second.read(record).splitlines())
    assert again.read_bytes() == rebuild(installed, tmp_path / "third").read_bytes()
    (place / "dagger_edge" / "command.py").write_text("print('mine')")
    with pytest.raises(UsageError, match=r"command\.py is not the file that was installed"):
        rebuild(installed, tmp_path / "fourth")


def test_what_the_target_needs_is_followed_for_the_target(tmp_path):
    """Markers of this Python instead of the target's, or an extra's needs: an installation that cannot be imported."""
    wheels = [
        make_wheel(tmp_path, "ours", "1", requires=["old; python_version < '3.12'", "gpu[fast]; extra == 'cuda'"]),
        make_wheel(tmp_path, "gpu", "1", requires=["quick>=2; extra == 'fast'"]),
        make_wheel(tmp_path, "quick", "2"),
    ]
    read = [Wheel.read(path) for path in wheels]
    new, old = (Target(python, "linux-x86_64", "cuda").environment for python in ("3.12", "3.11"))
    assert edges(read, "ours", ["cuda"], new) == {"gpu": ["quick"], "ours": ["gpu"], "quick": []}
    assert edges(read, "ours", ["cpu"], new) == {"ours": []}
    with pytest.raises(UsageError, match=r"ours needs old.*nothing of it is in requirements/"):
        edges(read, "ours", [], old)
    with pytest.raises(UsageError, match=r"gpu needs quick.*1 is in requirements/"):
        edges([*read[:2], Wheel.read(make_wheel(tmp_path, "quick", "1"))], "ours", ["cuda"], new)


def test_the_oldest_glibc_that_a_wheel_runs_with_is_read_from_its_name(tmp_path):
    """A system that is told to be too old, or too late, by the imports."""
    several = make_wheel(tmp_path, "a", "1", tag="cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64")
    assert Wheel.read(several).glibc == (2, 17)
    assert Wheel.read(make_wheel(tmp_path, "b", "1", tag="cp39-abi3-manylinux_2_31_aarch64")).glibc == (2, 31)
    assert Wheel.read(make_wheel(tmp_path, "c", "1")).glibc is None
    (tmp_path / "d-1-py3-none-any.whl").write_text("no zip")
    with pytest.raises(UsageError, match="is no wheel"):
        Wheel.read(tmp_path / "d-1-py3-none-any.whl")
