"""What the doctor is made of: readings of the machine, the process that is asked, the report."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tomllib
from contextlib import nullcontext
from pathlib import Path

import pytest
from farm import ROOT, Farm

from dagger_edge.runtime.bundle import Bundle
from dagger_edge.runtime.control_groups import allowed_processors
from dagger_edge.runtime.doctor import machine, packages, providers, sealed
from dagger_edge.runtime.doctor.needs import Needs
from dagger_edge.runtime.doctor.probe import Answer, Probe
from dagger_edge.runtime.doctor.report import Check, Report, exit_code
from dagger_edge.runtime.requirements import OLDEST_ONNXRUNTIME, OLDEST_PYTHON, PACKAGES, Bounds, dotted, release
from dagger_edge.runtime.solver import demo_bundle

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
GB = 10**9
NEEDS = Needs(weights=GB, memory=2 * GB, addresses=4 * GB, cache=GB)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def told(code, **environment):
    """The check that ``code`` leaves in ``check``, in a process of its own: status, finding, remedy."""
    script = (
        "from pathlib import Path\nfrom dagger_edge.runtime.doctor import machine\n"
        f"{code}\nprint(check.status, check.finding, check.remedy, sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={**ENVIRONMENT, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_bounds_are_those_of_pyproject():
    """A package that pip was asked for in another version than the doctor asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["dependencies"] == [bounds.specifier(name) for name, bounds in PACKAGES.items()]
    assert project["requires-python"] == f">={dotted(OLDEST_PYTHON)}"
    assert project["optional-dependencies"]["cpu"] == [f"onnxruntime>={dotted(OLDEST_ONNXRUNTIME)}"]


@pytest.mark.parametrize(
    ("version", "numbers"),
    [
        ("1.9.1", (1, 9, 1)),
        ("2.0.0rc1", (2, 0, 0)),
        ("1.10", (1, 10)),
        ("1.24.dev3", (1, 24)),
        ("2.13+cpu", (2, 13)),
        ("", ()),
    ],
)
def test_versions_are_read_as_numbers(version, numbers):
    """As texts, 1.10 comes before 1.9."""
    assert release(version) == numbers


def test_a_release_before_the_end_is_allowed_and_the_end_is_not():
    """<2 with 2.0rc1, or 1.9 taken for older than 1.9.0."""
    bounds = PACKAGES["llguidance"]
    assert [bounds.allow(version) for version in ("1.9", "1.10.2", "2.0", "1.8.9")] == [True, True, False, False]


@pytest.mark.parametrize(
    ("files", "processors"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": ""}, None),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
    ],
)
def test_quotas_of_both_versions_of_groups_are_read(tmp_path, files, processors):
    """A container with the time of two processors shows all sixty-four of the host."""
    controllers = "3:cpu,cpuacct:/" if "cpu.max" not in files else "0::/"
    write(tmp_path / "proc/self/cgroup", f"{controllers}\n")
    for name, text in files.items():
        write(tmp_path / "sys/fs/cgroup" / name, text)
    assert allowed_processors(tmp_path) == processors


def test_a_quota_below_the_cores_is_a_warning(tmp_path):
    """onnxruntime starts a thread a core, and they wait for each other."""
    write(tmp_path / "proc/self/cgroup", "0::/job\n")
    write(tmp_path / "sys/fs/cgroup/job/cpu.max", "50000 100000\n")
    check = machine.check_cores(tmp_path)
    assert (check.status, "time of 0.5" in check.finding) == ("warning", True)
    assert "--threads 1" in check.remedy
    assert machine.check_cores(tmp_path / "nowhere").status == "ok"


@pytest.mark.parametrize(("limit", "status"), [(GB // 2, "failure"), (3 * GB // 2, "warning"), (3 * GB, "ok")])
def test_memory_is_what_the_control_group_leaves(tmp_path, limit, status):
    """A container of 4 GB on a machine of 64: the kernel kills where nothing was said."""
    write(tmp_path / "proc/meminfo", f"MemAvailable: {64 << 20} kB\n")
    write(tmp_path / "proc/self/cgroup", "0::/\n")
    for name, text in {"memory.max": limit, "memory.current": 0, "memory.stat": "anon 0"}.items():
        write(tmp_path / "sys/fs/cgroup" / name, f"{text}\n")
    check = machine.check_memory(NEEDS, tmp_path)
    assert check.status == status
    assert (check.remedy is None) == (status == "ok")


def test_a_4b_bundle_needs_what_was_measured():
    """docs/start-up.md: 3,372 MB at the peak with 2,678 MB of INT4; a formula that says less lets it be killed."""
    document = json.loads((demo_bundle() / "manifest.json").read_bytes())
    document["architecture"] |= {"num_layers": 34, "num_kv_heads": 4, "head_dim": 256, "context_length": 8192}
    document["precision"]["name"] = "int4"
    document["files"]["model.onnx.data"]["size_bytes"] = 2_600_000_000
    from dagger_edge.runtime.manifest import decode_manifest

    needs = Needs.of(decode_manifest(json.dumps(document).encode()))
    assert 3_372_000_000 < needs.memory < 4_500_000_000
    assert 2_600_000_000 < needs.weights < 2_800_000_000
    assert needs.addresses > needs.memory + 2_678_000_000


@pytest.mark.parametrize(
    ("flags", "status"), [("sse4_2 avx", "warning"), ("avx2 fma", "ok"), ("avx2 avx512_vnni", "ok")]
)
def test_a_processor_without_avx2_is_a_warning(tmp_path, monkeypatch, flags, status):
    """An old Atom answers, in minutes."""
    monkeypatch.setattr(os, "uname", lambda: type("Uname", (), {"machine": "x86_64"}))
    write(tmp_path / "proc/cpuinfo", f"model name\t: A processor\nflags\t\t: {flags}\n")
    check = machine.check_processor(tmp_path)
    assert check.status == status
    assert "A processor" in check.finding


def test_few_open_files_are_a_warning():
    """A server runs out of them at its first connections."""
    code = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))\n"
    code += "from dagger_edge.runtime.doctor.needs import Needs; check = machine.check_limits(Needs(0, 0, 0, 0))"
    status, finding, remedy = told(code)
    assert (status, finding.split()[0]) == ("warning", "40")
    assert "ulimit -n" in remedy


@pytest.mark.skipif(shutil.which("unshare") is None, reason="no file system can be mounted here")
def test_a_full_disk_is_a_warning_of_cache_and_of_disk(tmp_path):
    """What is full can be opened for writing, and takes an empty file: only bytes show it."""
    code = (
        "import subprocess; subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=64k', 'none', FOLDER], check=True)\n"
        "(Path(FOLDER) / 'full').write_bytes(bytes(40_000))\n"
        "from dagger_edge.runtime.doctor.needs import Needs\n"
        "checks = [machine.check_cache(), machine.check_disk(Needs(0, 0, 0, 10**6), Path(FOLDER))]\n"
        "print(*[(check.status, check.finding, check.remedy) for check in checks], sep='\\n')"
    )
    code = (
        f"FOLDER = {str(tmp_path)!r}\nfrom pathlib import Path\nfrom dagger_edge.runtime.doctor import machine\n{code}"
    )
    done = subprocess.run(
        ["unshare", "-rm", sys.executable, "-c", code],
        env={**ENVIRONMENT, "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and ("unshare" in done.stderr or "mount" in done.stderr):
        pytest.skip("no file system can be mounted here")
    cache, disk = done.stdout.splitlines()
    assert cache.startswith("('warning'")
    assert "No space left on device" in cache
    assert "free some space" in cache
    assert disk.startswith("('warning'")
    assert "1 MB needed" in disk


def test_a_cache_that_others_can_write_is_a_warning(tmp_path, monkeypatch):
    """Who can write there can have an altered bundle taken for a verified one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert machine.check_cache().status == "ok"
    (tmp_path / "dagger-edge").chmod(0o777)
    check = machine.check_cache()
    assert (check.status, "chmod go-w" in check.remedy) == ("warning", True)
    assert list((tmp_path / "dagger-edge").iterdir()) == []
    assert stat.S_IMODE((tmp_path / "dagger-edge").stat().st_mode) == 0o777


@pytest.mark.parametrize(
    ("environment", "status"),
    [
        ({"LC_ALL": "C.UTF-8"}, "ok"),
        ({"LC_ALL": "C", "PYTHONUTF8": "1"}, "warning"),
        ({"LC_ALL": "C", "PYTHONUTF8": "0"}, "failure"),
    ],
)
def test_locales_that_are_not_utf8(environment, status):
    """Python mends the C locale for itself, not for the shell; told not to, it reads questions as ASCII."""
    assert told("check = machine.check_locale()", **environment)[0] == status


def test_files_of_the_future_are_a_warning(tmp_path):
    """A board without a battery wakes up in 1970, and verifies 4 GB at each start."""
    folder = Path(shutil.copytree(demo_bundle(), tmp_path / "bundle"))
    times = sealed.times_of(Bundle.open(folder))
    assert machine.check_clock(times, max(times)).status == "ok"
    check = machine.check_clock(times, 86_400.0)
    assert (check.status, "1970-01-02" in check.finding) == ("warning", True)
    os.utime(folder / "model.onnx", (4e9, 4e9))
    assert machine.check_clock(sealed.times_of(Bundle.open(folder))).status == "warning"


def test_a_missing_file_is_named(tmp_path):
    """A copy that was cut short: the model would fail to load, with a message of onnxruntime's."""
    folder = Path(shutil.copytree(demo_bundle(), tmp_path / "bundle"))
    (folder / "tokenizer.json").unlink()
    opened, check = sealed.open_bundle(folder, lambda _: nullcontext(lambda _: None))
    assert (opened, check.status, check.remedy) == (None, "failure", "copy or export the bundle again")
    assert "tokenizer.json is missing" in check.finding


def test_a_package_outside_its_bounds_is_a_failure():
    """One that is there, and imports, and lacks what is called later."""
    with Probe() as probe:
        check = packages._check_package("tokenizers", Bounds((99,)), probe)
    assert (check.status, check.finding.split()[1:]) == ("failure", ["is", "not", "tokenizers>=99"])
    assert check.remedy == "pip install --upgrade 'tokenizers>=99'"


def test_files_that_may_not_be_read_are_named(tmp_path):
    """A bundle that was unpacked by root, and is used by a service."""
    folder = Path(shutil.copytree(demo_bundle(), tmp_path / "bundle"))
    (folder / "tokenizer.json").chmod(0)
    # Root may read everything: another user opens it, to whom the folders on the way have to be open.
    for place in (folder, *folder.parents[:3]) if os.geteuid() == 0 else ():
        place.chmod(place.stat().st_mode | 0o555)
    code = (
        "import os\nfrom contextlib import nullcontext\nimport dagger_edge.runtime.bundle\n"
        "from dagger_edge.runtime.doctor import sealed\nif os.geteuid() == 0: os.setuid(65534)\n"
        f"_, check = sealed.open_bundle(Path({str(folder)!r}), lambda _: nullcontext(lambda _: None))"
    )
    status, finding, remedy = told(code)
    assert status == "failure"
    assert "tokenizer.json cannot be read (Permission denied)" in finding
    assert "check its permissions" in remedy


def test_a_process_that_ends_or_hangs_is_an_answer_and_the_next_one_is_whole(tmp_path, monkeypatch):
    """A crash that takes the doctor with it, or an answer that is taken for that to the next question."""
    for name, code in {
        "dies": "import ctypes; ctypes.string_at(0)",
        "leaves": "raise SystemExit(5)",
        "hangs": "import time; time.sleep(60)",
        "prints": "import os; print('noise'); os.write(1, b'more')",
    }.items():
        write(tmp_path / f"{name}.py", code)
    monkeypatch.syspath_prepend(tmp_path)
    with Probe() as probe:
        died = probe.ask("import", "dies")
        assert (died.kind, "SIGSEGV" in died.error, died.ended) == ("Crash", True, True)
        assert probe.ask("import", "prints").value["file"] == str(tmp_path / "prints.py")
        assert probe.ask("import", "leaves").error == "5"
        assert probe.ask("import", "hangs", seconds=0.3).kind == "Timeout"
        assert probe.ask("import", "json").value is not None
        missing = probe.ask("import", "no_such_module")
        assert (missing.kind, missing.ended) == ("ModuleNotFoundError", False)


@pytest.mark.parametrize("namespace", [True, False])
def test_nothing_that_is_asked_can_reach_a_network(namespace):
    """'Not needed' is worth nothing where it was there to be used."""
    code = """
import socket, sys
from dagger_edge.runtime.doctor import isolation
if not NAMESPACE:
    sys.modules["ctypes"] = None
print(isolation.forbid_network())
for act in (lambda: socket.create_connection(("127.0.0.1", 9), 1), lambda: socket.getaddrinfo("localhost", 80),
            lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("192.0.2.1", 9))):
    try:
        act()
    except OSError as error:
        print(type(error).__name__, error)
    else:
        print("reached")
""".replace("NAMESPACE", str(namespace))
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    how, connection, lookup, datagram = done.stdout.splitlines()
    if how.startswith("with"):
        assert all(line == "PermissionError the doctor forbids the network" for line in (connection, lookup, datagram))
    else:
        # The loopback is down too.
        assert "unreachable" in connection
        assert "unreachable" in datagram
    assert namespace or how.startswith("with")


def test_an_answer_says_which_library_the_gpu_lacks(tmp_path):
    """'Could not start CUDA' leaves an operator with nothing to look for. The text is of onnxruntime-gpu 1.31.1."""
    said = (
        "Failed to load library libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: cannot open shared"
        " object file: No such file\nFailed to create CUDAExecutionProvider. Require cuDNN 9.* and CUDA 13.*."
    )
    finding, remedy = providers._why(Answer(said=said), None, [])
    assert "libcublasLt.so.13 cannot be loaded" in finding
    assert "requires cuDNN 9.* and CUDA 13" in finding
    assert "NVIDIA driver" in remedy
    assert "pip install 'dagger-edge[cuda]'" in remedy
    write(tmp_path / "proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu\n")
    assert providers._driver(tmp_path) == "NVIDIA driver 570.86.15"


def test_a_folder_without_its_module_is_no_bug_of_ours(tmp_path):
    """What uninstalling one of two onnxruntimes leaves imports as an empty module: solve asked for a bug report."""
    farm = Farm(tmp_path / "venv")
    farm.remove("onnxruntime")
    (farm.site / "onnxruntime" / "capi").mkdir(parents=True)
    done = subprocess.run(
        [farm.python, "-m", "dagger_edge", "solve", "৫টি আম"], env=farm.environment, capture_output=True, check=False
    )
    assert done.returncode == 3
    assert b"pip uninstall -y onnxruntime onnxruntime-gpu" in done.stderr


def test_the_doctor_runs_without_the_command_line(tmp_path):
    """Where click is missing, nothing else of ours can say so."""
    farm = Farm(tmp_path / "venv")
    farm.remove("click")
    farm.remove("numpy")
    command = [farm.python, "-m", "dagger_edge.runtime.doctor"]
    done = subprocess.run(command, env=farm.environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (3, "")
    assert "remedy: pip install 'click>=8.1'" in done.stdout
    assert "numpy or onnxruntime cannot be used" in done.stdout


def test_the_worst_failure_is_the_exit_code():
    """A warning that fails a deployment, or an altered bundle that is told as a missing package."""

    def code(*found):
        return exit_code([Check("a", area, status, "") for area, status in found])

    assert code() == code(("bundle", "warning"), ("packages", "skipped"), ("machine", "ok")) == 0
    assert code(("machine", "failure"), ("bundle", "ok")) == 3
    assert code(("bundle", "failure"), ("packages", "failure")) == 4


def test_what_was_found_cannot_steer_a_terminal():
    """File names and messages of libraries are anybody's."""
    report = Report("0", "x", "cpu", 3, (Check("a", "bundle", "failure", "\x1b[2J\nb", "c\u202e"),))
    assert report.lines()[:2] == ["failure  a  \\x1b[2J\\nb", "            remedy: c\\u202e"]
    assert json.loads(report.to_json())["checks"][0]["finding"] == "\x1b[2J\nb"
