"""The machine: processor, cores, memory, limits, disk, cache folder, locale, clock."""

from __future__ import annotations

import errno
import locale
import os
import resource
import stat
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ..control_groups import ROOT, allowed_processors
from ..kernels.machine import instructions, processor_name, usable_cores
from ..memory import available_memory
from ..user_cache import cache_folder
from .needs import Needs
from .report import Check, Status

# An answer has ten files open; each connection of a server is one more.
_FEW_FILES = 64
_HOUR_S = 3600
# As large as what is written there; small files may fit where these do not.
_PROBE_BYTES = 1 << 16


def check_processor(root: Path = ROOT) -> Check:
    """Whether the processor has the instructions that kernels are quick with. ``root`` is where ``proc`` is."""
    found = instructions(root)
    finding = f"{processor_name(root)} ({', '.join(found) or 'no instructions known'})"
    slow = "`dagger-edge measure` says which precision is quickest here; another processor may be needed"
    machine = os.uname().machine
    if machine in {"x86_64", "AMD64"} and "avx2" not in found:
        return _check("processor", "warning", f"{finding}: without AVX2 answers take several times as long", slow)
    if machine in {"aarch64", "arm64"} and "asimddp" not in found:
        return _check("processor", "warning", f"{finding}: without dot products INT8 and INT4 gain little", slow)
    quick = {"avx512_vnni", "avx_vnni", "amx_int8", "i8mm", "asimddp"} & set(found)
    told = "products of integers are quick" if quick else "no VNNI: products of integers run on AVX2"
    return _check("processor", "ok", f"{finding}: {told}")


def check_cores(root: Path = ROOT) -> Check:
    """How many cores may be used, and whether a quota cuts that. ``root`` is where ``proc`` and ``sys`` are."""
    cores, allowed = usable_cores(), allowed_processors(root)
    finding = f"{cores} of {os.cpu_count()} may be used"
    if allowed is None or allowed >= cores:
        return _check("cores", "ok", finding)
    finding += f", but a control group allows the time of {allowed:g}: threads wait for each other"
    return _check("cores", "warning", finding, f"use --threads {max(1, int(allowed))}, or raise the quota")


def check_memory(needs: Needs, root: Path = ROOT) -> Check:
    """Whether the bundle fits into what is free, by control groups too. ``root`` is where ``proc`` and ``sys`` are."""
    free = available_memory(root)
    finding = f"{_mb(free)} free for this process, {_mb(needs.memory)} needed for an answer of full length"
    remedy = "end other programs, raise the container's limit, or export a smaller precision (--precision int4)"
    if free < needs.weights:
        return _check("memory", "failure", f"{finding}: the weights do not fit", remedy)
    if free < needs.memory:
        return _check("memory", "warning", f"{finding}: it may be killed", remedy)
    return _check("memory", "ok", finding)


def check_limits(needs: Needs) -> Check:
    """The limits of this process (`ulimit`): address space, data, open files."""
    for kind, flag, name, words, wanted in (
        (resource.RLIMIT_AS, "v", "AS", "address space", needs.addresses),
        (resource.RLIMIT_DATA, "d", "DATA", "data", needs.memory),
    ):
        limit = resource.getrlimit(kind)[0]
        if limit != resource.RLIM_INFINITY and limit < wanted:
            finding = f"{words} is limited to {_mb(limit)}, {_mb(wanted)} may be needed"
            return _check("limits", "failure", finding, f"ulimit -{flag} unlimited (systemd: Limit{name}=infinity)")
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files != resource.RLIM_INFINITY and files < _FEW_FILES:
        finding = f"{files} files may be open at a time: too few beside a server's connections"
        return _check("limits", "warning", finding, "ulimit -n 1024 (systemd: LimitNOFILE=1024)")
    told = "any number of" if files == resource.RLIM_INFINITY else files
    return _check("limits", "ok", f"no limit on memory that would be met; {told} files may be open")


def check_disk(needs: Needs, bundle: Path) -> Check:
    """Room for what is kept in the user's cache; what is left beside the bundle is told."""
    try:
        free, beside = _free(cache_folder()), _free(bundle)
    except (OSError, RuntimeError) as error:
        return _check("disk", "skipped", f"free space is not known ({error})")
    finding = f"{_mb(free)} free for the cache, {_mb(needs.cache)} needed; {_mb(beside)} free beside the bundle"
    if free < needs.cache:
        remedy = "free some space, or set XDG_CACHE_HOME to a folder on another disk; without, each start takes longer"
        return _check("disk", "warning", finding, remedy)
    return _check("disk", "ok", finding)


def check_cache() -> Check:
    """Whether the user's cache can be written, and by no one else."""
    try:
        folder = cache_folder()
    except RuntimeError:
        finding = "this user has no home, so nothing is kept: each start takes longer"
        return _check("cache", "warning", finding, "set XDG_CACHE_HOME to a folder that this user may write to")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=folder, prefix="doctor-") as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
        status = folder.stat()
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        remedy = "free some space" if full else "let this user write there"
        finding = f"{folder} cannot be written ({error.strerror}), so nothing is kept: each start takes longer"
        return _check("cache", "warning", finding, f"{remedy}, or set XDG_CACHE_HOME to another folder")
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        finding = f"{folder} can be written by other users, who could say there that altered files are verified"
        return _check("cache", "warning", finding, f"chown it to this user, and chmod go-w {folder}")
    return _check("cache", "ok", f"{folder} can be written")


def check_locale() -> Check:
    """Whether arguments arrive as UTF-8, and the terminal is said to be of it. Output is UTF-8 in any case."""
    setting = next((value for key in ("LC_ALL", "LC_CTYPE", "LANG") if (value := os.environ.get(key))), "none set")
    arguments, terminal = sys.getfilesystemencoding(), locale.nl_langinfo(locale.CODESET)
    remedy = "export LC_ALL=C.UTF-8"
    if not _is_utf8(arguments):
        finding = f"locale {setting}: arguments are read as {arguments}, so Bengali questions arrive garbled"
        return _check("locale", "failure", finding, f"{remedy}, or give questions with --file or on stdin")
    if not _is_utf8(terminal):
        finding = f"locale {setting} is of {terminal}: questions are read, but shells and pagers may garble Bengali"
        return _check("locale", "warning", finding, remedy)
    return _check("locale", "ok", f"{setting}, UTF-8")


def check_clock(written: Sequence[float], now: float | None = None) -> Check:
    """Whether anything was written in the future.

    Args:
        written: seconds since 1970 at which the bundle was made and files were changed.
        now: the present; None asks the clock.
    """
    now = time.time() if now is None else now
    latest = max(written, default=now)
    if latest > now + _HOUR_S:
        finding = (
            f"the clock says {_day(now)}, but the bundle or its files are of {_day(latest)}: files of the future are"
            " verified anew at each start, and what is logged is dated wrongly"
        )
        return _check("clock", "warning", finding, "set the clock (timedatectl set-time, or NTP), or touch the files")
    return _check("clock", "ok", _day(now))


def _free(path: Path) -> int:
    """Bytes that this user may still write where ``path`` is or will be."""
    while not path.exists() and path != path.parent:
        path = path.parent
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def _is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("-", "") == "utf8"


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def _check(name: str, status: Status, finding: str, remedy: str | None = None) -> Check:
    return Check(name, "machine", status, finding, remedy)
