"""A command of an installed release under the limits of its unit, where systemd is not there to set them.

    python benchmarks/as_service.py PREFIX solve --bundle PREFIX/current/bundle "..."

Runs as a number that owns nothing, without new privileges, with the unit's system calls alone (SystemCallFilter=, the
others fail with EPERM as in the unit), without memory that is writable and executable (MemoryDenyWriteExecute=), and
with a cache folder of its own. Not set: what needs namespaces and control groups (ProtectSystem=, IPAddressDeny=, ...).
Needs root, Linux 6.3, libseccomp 2 and systemd-analyze, which says what is in each group of calls.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ALLOW, FAIL_WITH_EPERM = 0x7FFF0000, 0x00050001
SET_NO_NEW_PRIVILEGES, SET_NO_WRITE_EXECUTE = 38, 65
NOBODY = 64999


def calls_of(group: str) -> set[str]:
    """The system calls in a group, and in the groups in it."""
    out = subprocess.run(
        ["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True
    ).stdout
    names = [line.strip() for line in out.splitlines()[1:]]
    found: set[str] = set()
    for name in names:
        if name and not name.startswith("#"):
            found |= calls_of(name) if name.startswith("@") else {name}
    return found


def allowed_calls(unit: str) -> set[str]:
    """What the unit's SystemCallFilter= lines leave, with the calls that systemd always allows."""
    allowed: set[str] = set()
    for line in unit.splitlines():
        name, _, groups = line.partition("=")
        if name == "SystemCallFilter":
            calls = set().union(*(calls_of(group) for group in groups.removeprefix("~").split()))
            allowed = allowed - calls if groups.startswith("~") else allowed | calls
    return allowed | calls_of("@default")


def limit(unit: str) -> None:
    """Puts this process, and what it will run, under the limits."""
    allowed = allowed_calls(unit)
    seccomp, libc = ctypes.CDLL("libseccomp.so.2", use_errno=True), ctypes.CDLL(None, use_errno=True)
    seccomp.seccomp_init.restype = ctypes.c_void_p
    filter_ = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(FAIL_WITH_EPERM)))
    for name in allowed:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        # Those of other processors have none here.
        if number >= 0:
            assert seccomp.seccomp_rule_add(filter_, ctypes.c_uint32(ALLOW), number, 0) == 0, name
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    assert libc.prctl(SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    if "MemoryDenyWriteExecute=yes" in unit:
        assert libc.prctl(SET_NO_WRITE_EXECUTE, 1, 0, 0, 0) == 0, "this kernel cannot deny it"
    assert seccomp.seccomp_load(filter_) == 0


def main() -> None:
    """Becomes the command."""
    prefix, *command = sys.argv[1:]
    cache = tempfile.mkdtemp()
    os.chown(cache, NOBODY, NOBODY)
    limit((Path(prefix) / "current" / "dagger-edge.service").read_text(encoding="utf-8"))
    tool = str(Path(prefix) / "current" / "venv" / "bin" / "dagger-edge")
    environment = {"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": cache, "PYTHONDONTWRITEBYTECODE": "1"}
    os.chdir("/")
    os.execve(tool, [tool, *command], environment)


if __name__ == "__main__":
    main()
