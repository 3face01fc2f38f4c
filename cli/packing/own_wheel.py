"""Our own wheel: of a checkout it is built, of an installed dagger-edge it is put together again from its files."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import zipfile
from importlib import metadata
from pathlib import Path, PurePosixPath

from ...runtime.errors import UsageError
from . import pip

NAME = "dagger-edge"
# Zip files know no time before 1980; wheels of one content are to be the same bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_EPOCH_SECONDS = 315532800
# What an installer adds.
_INSTALLED = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "RECORD.jws", "RECORD.p7s"})
_GIVE = "give the wheel by --wheel FILE"


def make_own_wheel(package: Path, folder: Path) -> Path:
    """The wheel of the dagger-edge that lies in ``package`` (the folder of its ``__init__.py``), in ``folder``.

    Raises:
        UsageError: it was neither installed from a wheel nor is it a checkout, or its files are not those that were
            installed.
    """
    root = package.parents[1]
    if package.parent.name == "src" and (root / "pyproject.toml").is_file():
        return _build(root, folder)
    try:
        installed = metadata.distribution(NAME)
    except metadata.PackageNotFoundError:
        raise UsageError(f"{package} was not installed by pip and is no checkout: {_GIVE}") from None
    return rebuild(installed, folder)


def _build(root: Path, folder: Path) -> Path:
    """That of the checkout at ``root``; from a copy, since setuptools writes beside its sources."""
    source = folder / "source"
    folder.mkdir(parents=True, exist_ok=True)
    # The links to the packages become folders, as in an sdist.
    shutil.copytree(root / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", ".*"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, source / name)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(_EPOCH_SECONDS)}
    pip.run(["wheel", "--no-deps", "--wheel-dir", str(folder), str(source)], "building our own wheel", environment)
    shutil.rmtree(source)
    (wheel,) = folder.glob("*.whl")
    return wheel


def rebuild(installed: metadata.Distribution, folder: Path) -> Path:
    """The wheel that ``installed`` was installed from, but for its compression and times.

    Every file is compared with the sha256 that was noted when it was installed.

    Raises:
        UsageError: files are missing or altered, or the installer noted none.
    """
    tags = [line.removeprefix("Tag:").strip() for line in _text(installed, "WHEEL").splitlines() if "Tag:" in line]
    if len(tags) != 1 or installed.files is None:
        raise UsageError(f"dagger-edge was installed without notes of its files: {_GIVE}")
    contents = {}
    for file in installed.files:
        if _is_ours(file):
            contents[str(file)] = _intact(Path(str(file.locate())), file)
    (info,) = {PurePosixPath(name).parts[0] for name in contents if name.endswith(".dist-info/METADATA")}
    record = f"{info}/RECORD"
    lines = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in sorted(contents.items())]
    contents[record] = "\n".join([*lines, f"{record},,", ""]).encode()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{info.removesuffix('.dist-info')}-{tags[0]}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        # The record comes last, as the format recommends.
        for name in sorted(contents, key=lambda name: (".dist-info/" in name, name == record, name)):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o100644 << 16
            made.writestr(entry, contents[name])
    return path


def _is_ours(file: metadata.PackagePath) -> bool:
    """Whether ``file`` came out of the wheel: scripts lie outside, and compiled files were made here."""
    added = file.parts[0].endswith(".dist-info") and file.name in _INSTALLED
    return ".." not in file.parts and not file.is_absolute() and file.suffix != ".pyc" and not added


def _intact(path: Path, file: metadata.PackagePath) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path}, a file of dagger-edge, cannot be read ({error.strerror}): install it again"
        ) from error
    if file.hash is None or file.hash.mode != "sha256" or file.hash.value != _digest(data):
        raise UsageError(f"{path} is not the file that was installed: install dagger-edge again, or {_GIVE}")
    return data


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _text(installed: metadata.Distribution, name: str) -> str:
    return installed.read_text(name) or ""
