"""From what was asked for to a folder or tar under its name."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import msgspec

import dagger_edge

from ...runtime.bundle import MANIFEST_FILE, WEIGHTS_FILE, Bundle
from ...runtime.errors import BundleError, UsageError
from ...runtime.files import Bar, is_plain_name, sha256_of
from ...runtime.memory import memory_to_run
from ...runtime.staging import Staging
from . import own_wheel, pip
from .bill import Model, bill_of_materials
from .contents import SUMS_FILE, Contents, Entry, with_sums, write_folder, write_tar
from .target import Target
from .wheel import Wheel, edges

# Of the wheels, roughly: what is asked of the disk before anything is fetched.
_ALLOWANCE = {"cpu": 200 << 20, "cuda": 4 << 30}
# An installed file is compiled too, and the disk has blocks.
_INSTALLED_FACTOR = 1.3
_LOCKS = {"cpu": "requirements/runtime.txt", "cuda": "requirements/runtime-cuda.txt"}
# Of ours, beside the provider's.
_EXTRAS = ("serve",)
_PIP_LOCK = "requirements/installer.txt"
_PACKAGE = "dagger_edge/"
# A GPU's files are made by its driver when it is first used; its kernels are compiled on the way.
_DEVICES = {
    "cpu": "PrivateDevices=yes\nMemoryDenyWriteExecute=yes",
    "cuda": "DevicePolicy=closed\nDeviceAllow=char-nvidia* rw",
}


class PackedBundle(msgspec.Struct, frozen=True):
    """A bundle in ``pack.json``: its folder in the pack, its name and size in bytes, the sha256 of its manifest."""

    folder: str
    name: str
    size_bytes: int
    manifest_sha256: str


class PackDocument(msgspec.Struct, frozen=True):
    """``pack.json``: what the pack is for, what it holds, what it needs."""

    dagger_edge: str
    python: str
    platform: str
    provider: str
    glibc: str
    wheels: int
    installed_bytes: int
    bundles: tuple[PackedBundle, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to pack. ``wheel`` is our own wheel where it is not to be made, ``notices`` are files that go along."""

    out: Path
    target: Target
    bundles: Sequence[Path]
    as_tar: bool = False
    wheel: Path | None = None
    notices: Sequence[Path] = ()


@dataclass(frozen=True, slots=True)
class Packed:
    """A finished pack: where, its size in bytes, the sha256 of its ``SHA256SUMS``, what it says of itself."""

    path: Path
    size_bytes: int
    sums_sha256: str
    document: PackDocument


def pack(
    wanted: Wanted, say: Callable[[str], None], bar: Bar = lambda _total: nullcontext(lambda _done: None)
) -> Packed:
    """Makes the pack. Wheels come through pip; everything else is here.

    Raises:
        UsageError: the output exists, pip fails, the disk is too small, a file is missing or altered.
        BundleError: a bundle is not intact, or not made for the provider.
    """
    bundles = _open_bundles(wanted)
    with Staging(wanted.out, "pack", UsageError) as staging:
        size = sum(bundle.size_bytes for bundle in bundles.values())
        staging.require_space(size + _ALLOWANCE[wanted.target.provider], "packing")
        own, wheels = _gather_wheels(wanted, staging.folder, say)
        contents, document = _contents(wanted, own, wheels, bundles)
        size = sum(entry.size_bytes for entry in contents.values())
        staging.require_space(size, "packing")
        say(f"writing {len(contents)} files, {size / 1e6:,.1f} MB")
        made = staging.folder / "made"
        with bar(size) as advance:
            if wanted.as_tar:
                write_tar(contents, made, staging.target.name.removesuffix(".tar"), advance)
            else:
                write_folder(contents, made, advance)
        staging.publish(made)
    return Packed(staging.target, size, contents[SUMS_FILE].sha256, document)


def _open_bundles(wanted: Wanted) -> dict[str, Bundle]:
    """The bundles by their folder in the pack. Their files are compared with their manifests while they are copied."""
    opened: dict[str, Bundle] = {}
    for path in wanted.bundles:
        bundle = Bundle.open(path, verify=False)
        if wanted.target.provider not in bundle.manifest.made_for:
            made_for = ", ".join(bundle.manifest.made_for)
            raise BundleError(f"bundle {path}: it is made for {made_for}; export it for {wanted.target.provider}")
        name = path.resolve().name
        if not is_plain_name(name) or f"bundles/{name}" in opened:
            raise UsageError(f"bundle {path}: its folder needs a name of its own of letters, digits and ._-: rename it")
        opened[f"bundles/{name}"] = bundle
    return opened


def _gather_wheels(wanted: Wanted, folder: Path, say: Callable[[str], None]) -> tuple[Wheel, list[Wheel]]:
    """Our own wheel, and all: those of the lock that lies in our own, and of the pip that will install them."""
    package = Path(dagger_edge.__file__).parent
    own = Wheel.read(wanted.wheel or own_wheel.make_own_wheel(package, folder / "own"))
    fetched = folder / "wheels"
    fetched.mkdir()
    locks = []
    for lock in (_LOCKS[wanted.target.provider], _PIP_LOCK):
        locks.append(folder / Path(lock).name)
        locks[-1].write_bytes(_member(own, _PACKAGE + lock))
    say(f"fetching the wheels for {wanted.target.title}")
    pip.download(locks, wanted.target, fetched)
    wheels = [own, *(Wheel.read(path) for path in sorted(fetched.iterdir()))]
    return own, sorted(wheels, key=lambda wheel: wheel.name)


def _member(wheel: Wheel, name: str) -> bytes:
    with zipfile.ZipFile(wheel.path) as file:
        try:
            return file.read(name)
        except KeyError:
            raise UsageError(f"{wheel.path.name} holds no {name}: give a wheel of this dagger-edge") from None


def _contents(
    wanted: Wanted, own: Wheel, wheels: Sequence[Wheel], bundles: dict[str, Bundle]
) -> tuple[Contents, PackDocument]:
    target = wanted.target
    needs = edges(wheels, own.name, (target.provider, *_EXTRAS), target.environment)
    contents = {f"wheels/{wheel.path.name}": Entry(wheel.path, wheel.sha256, wheel.size_bytes) for wheel in wheels}
    models = []
    for folder, bundle in bundles.items():
        manifest = bundle.path / MANIFEST_FILE
        models.append(Model(folder, bundle.manifest, sha256_of(manifest)))
        contents[f"{folder}/{MANIFEST_FILE}"] = Entry.of(manifest)
        for name, file in bundle.manifest.files.items():
            contents[f"{folder}/{name}"] = Entry(bundle.path / name, file.sha256, file.size_bytes)
    document = _document(wanted, own, wheels, bundles, models)
    bill = bill_of_materials(wheels, needs, own.name, models)
    texts = {
        "requirements.txt": "".join(_pin(wheel) for wheel in wheels if wheel.name in needs).encode(),
        "pack.json": msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n",
        "sbom.cdx.json": bill,
        **_documents(own),
        **_templates(wanted, document, wheels, bundles),
    }
    for path, text in texts.items():
        contents[path] = Entry.of(text, executable=path == "install.sh")
    for notice in wanted.notices:
        if f"notices/{notice.name}" in contents:
            raise UsageError(f"--notice {notice}: another one has that name; rename it")
        contents[f"notices/{notice.name}"] = Entry.of(notice)
    return with_sums(contents), document


def _document(
    wanted: Wanted, own: Wheel, wheels: Sequence[Wheel], bundles: dict[str, Bundle], models: Sequence[Model]
) -> PackDocument:
    glibc = max(wheel.glibc for wheel in wheels if wheel.glibc is not None)
    sizes = [bundle.size_bytes for bundle in bundles.values()]
    packed = [
        PackedBundle(model.folder, model.manifest.name, size, model.sha256)
        for model, size in zip(models, sizes, strict=True)
    ]
    return PackDocument(
        dagger_edge=own.version,
        python=wanted.target.python,
        platform=wanted.target.platform,
        provider=wanted.target.provider,
        glibc="{}.{}".format(*glibc),
        wheels=len(wheels),
        installed_bytes=round(sum(wheel.unpacked_bytes for wheel in wheels) * _INSTALLED_FACTOR) + sum(sizes),
        bundles=tuple(packed),
    )


def _pin(wheel: Wheel) -> str:
    return f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n"


def _documents(own: Wheel) -> dict[str, bytes]:
    """The documentation that our own wheel holds: README, licence, and the folder of docs."""
    docs = _PACKAGE + "docs/"
    with zipfile.ZipFile(own.path) as file:
        names = file.namelist()
        found = {f"docs/{name.removeprefix(docs)}": file.read(name) for name in names if name.startswith(docs)}
        licence = next(file.read(name) for name in names if name.endswith(".dist-info/licenses/LICENSE"))
    return {**found, "README.md": str(own.metadata.get_payload()).encode(), "LICENSE": licence}


def _templates(
    wanted: Wanted, document: PackDocument, wheels: Sequence[Wheel], bundles: dict[str, Bundle]
) -> dict[str, bytes]:
    (installer,) = (wheel.path.name for wheel in wheels if wheel.name == "pip")
    weights = [bundle.manifest.files[WEIGHTS_FILE].size_bytes for bundle in bundles.values()]
    values = {
        "version": document.dagger_edge,
        "python": document.python,
        "abi": wanted.target.abi,
        "machine": wanted.target.machine,
        "glibc": document.glibc,
        "bytes": str(document.installed_bytes),
        "bundle": next(iter(bundles), "").rpartition("/")[2],
        "pip": installer,
        "memory": f"{-(-memory_to_run(max(weights, default=0)) // (1 << 20))}M",
        "devices": _DEVICES[wanted.target.provider],
    }
    made = {}
    for file in resources.files(__package__).joinpath("files").iterdir():
        text = file.read_text(encoding="utf-8")
        for name, value in values.items():
            text = text.replace(f"@{name}@", value)
        made[file.name] = text.encode()
    return made
