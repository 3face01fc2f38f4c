"""``install.sh`` of a pack, run by sh without a network: a release at a time, back again, and away."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_wheels import bundled_pip, here, lock_of, make_wheel, own_wheel

pytest.importorskip("cyclonedx")

from dagger_edge.cli.packing.assembly import Wanted, pack
from dagger_edge.cli.packing.target import Target
from dagger_edge.runtime.solver import demo_bundle


@pytest.fixture(scope="module")
def packs(tmp_path_factory):
    """Two packs, of versions 1.0 and 2.0."""
    if bundled_pip() is None:
        pytest.skip("this Python brings no wheel of pip along")
    folder = tmp_path_factory.mktemp("index")
    installer = Path(shutil.copy(bundled_pip(), folder))
    wheels = [make_wheel(folder, "small", "1.0"), make_wheel(folder, "engine", "2.0", tag=here())]
    made = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(folder))
        for version in ("1.0", "2.0"):
            own = own_wheel(folder / version, lock_of(*wheels), lock_of(installer), version)
            wanted = Wanted(folder / f"pack-{version}", Target.here(None, None, "cpu"), [demo_bundle()], wheel=own)
            made.append(pack(wanted, lambda line: None).path)
    return made


def install(pack, *options, fails=False, prefix=None):
    """Runs install.sh as a bare system would; gives what it says."""
    command = ["sh", str(pack / "install.sh"), "--python", sys.executable, *options]
    command += [] if prefix is None else ["--prefix", str(prefix)]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": os.defpath}, check=False)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stderr if fails else done.stdout


def tool(prefix):
    """Where the command that is current is installed."""
    done = subprocess.run([prefix / "bin" / "dagger-edge", "where"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def broken(pack, folder):
    """A copy of ``pack`` whose bundle says something else, and whose sums are right."""
    shutil.copytree(pack, folder)
    (folder / "bundles" / "demo" / "prompt.txt").write_text("broken {question}")
    (folder / "bundles" / "demo" / "manifest.json").write_text("{}")
    sums = "find . -type f ! -name SHA256SUMS -exec sha256sum {} + >SHA256SUMS"
    subprocess.run(sums, shell=True, cwd=folder, check=True)
    return folder


def releases(prefix):
    return sorted(path.name.partition("-")[0] for path in (prefix / "releases").iterdir())


def test_install_upgrade_rollback_prune_uninstall(packs, tmp_path):
    """A run after a power cut that finds the place locked, a second one that installs again, a release that becomes
    current although its files or its answers are others, a switch that loses the release before, what is used being
    pruned, something left behind."""
    prefix = tmp_path / "deep" / "prefix"
    (prefix / ".lock").mkdir(parents=True)
    (prefix / ".dagger-edge").touch()
    ended = subprocess.Popen(["true"])
    ended.wait()
    (prefix / ".lock" / "pid").write_text(str(ended.pid))
    assert "demo: 3 of 3 tokens equal" in install(packs[0], prefix=prefix)
    first = tool(prefix)
    assert Path(first).parent.name.startswith("1.0-")
    unit = (prefix / "current" / "dagger-edge.service").read_text()
    assert f"ExecStart={prefix}/current/venv/bin/dagger-edge serve" in unit
    assert "is there already" in install(packs[0], prefix=prefix)

    bad = broken(packs[1], tmp_path / "bad")
    said = install(bad, fails=True, prefix=prefix)
    assert "demo does not answer here as it should: error: it says something else here" in said
    wheel = next((bad / "wheels").glob("small-*"))
    wheel.write_bytes(wheel.read_bytes()[:-1])
    assert f"altered or missing, copy the pack again: ./wheels/{wheel.name}: FAILED" in install(
        bad, fails=True, prefix=prefix
    )
    assert (tool(prefix), releases(prefix)) == (first, ["1.0"])

    install(packs[1], prefix=prefix)
    second = tool(prefix)
    assert Path(second).parent.name.startswith("2.0-")
    own = prefix / "current"
    for expected in (first, second):
        install(own, "--rollback", prefix=prefix)
        assert tool(prefix) == expected
    (prefix / "releases" / "0.9-1").mkdir()
    # That release, and the bundle that did not answer; the other one serves both.
    assert install(own, "--prune", prefix=prefix).count("removed") == 2
    assert (releases(prefix), len(list((prefix / "bundles").iterdir()))) == (["1.0", "2.0"], 1)
    assert (prefix / "current" / "bundle" / "manifest.json").is_file()
    assert not (prefix / ".lock").exists()
    install(packs[0], "--uninstall", prefix=prefix)
    assert not prefix.exists()


def test_what_cannot_be_installed_is_refused_in_one_line(packs, tmp_path):
    """Another Python's wheels, a folder of someone else's, a path that the unit would not survive."""
    other = tmp_path / "other"
    shutil.copytree(packs[0], other)
    script = (other / "install.sh").read_text()
    found = next(line for line in script.splitlines() if line.startswith("need_abi="))
    (other / "install.sh").write_text(script.replace(found, "need_abi='cpython-399-sparc-linux-gnu'"))
    said = install(other, fails=True, prefix=tmp_path / "p")
    assert "this pack is for cpython-399-sparc-linux-gnu" in said
    (other / "install.sh").write_text(script.replace("need_glibc='2.5'", "need_glibc='9.9'"))
    assert "the wheels need 9.9: use a newer system" in install(other, fails=True, prefix=tmp_path / "p")
    assert "holds other things" in install(packs[0], fails=True, prefix=tmp_path)
    assert "letters, digits" in install(packs[0], fails=True, prefix=tmp_path / "a b")
    assert "without . and .." in install(packs[0], fails=True, prefix=tmp_path / ".." / "x")
    assert "was not made by install.sh" in install(packs[0], "--uninstall", fails=True, prefix=tmp_path)
    assert "is no option" in install(packs[0], "--prefxi", fails=True)
    assert not (tmp_path / "p").exists()


def test_two_do_not_work_on_one_place(packs, tmp_path):
    """Two that write into one release."""
    prefix = tmp_path / "prefix"
    (prefix / ".lock").mkdir(parents=True)
    (prefix / ".dagger-edge").touch()
    (prefix / ".lock" / "pid").write_text(str(os.getpid()))
    assert "works on" in install(packs[0], fails=True, prefix=prefix)
    assert (prefix / ".lock").exists()
