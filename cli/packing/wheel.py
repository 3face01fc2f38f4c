"""Wheels as files: what one says of itself, and what a set of them needs."""

from __future__ import annotations

import email
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from packaging.requirements import Requirement
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from ...runtime.errors import UsageError
from ...runtime.files import sha256_of

_GLIBC_OF = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
_GLIBC = re.compile(r"manylinux_(\d+)_(\d+)_")


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel on the disk.

    Attributes:
        path, sha256, size_bytes: the file; size in bytes.
        unpacked_bytes: of all files in it, in bytes.
        name: as packages are compared (lower case, hyphens); ``version`` as it stands.
        tags: the Pythons and platforms that it is for.
        metadata: its METADATA, whose body is the description.
    """

    path: Path
    sha256: str
    size_bytes: int
    unpacked_bytes: int
    name: str
    version: str
    tags: frozenset[Tag]
    metadata: Message

    @classmethod
    def read(cls, path: Path) -> Wheel:
        """The wheel at ``path``.

        Raises:
            UsageError: it is none.
        """
        try:
            name, version, _, tags = parse_wheel_filename(path.name)
            with zipfile.ZipFile(path) as file:
                unpacked = sum(entry.file_size for entry in file.infolist())
                (place,) = (entry for entry in file.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", entry))
                metadata = email.message_from_string(file.read(place).decode())
            return cls(path, sha256_of(path), path.stat().st_size, unpacked, name, str(version), tags, metadata)
        except (InvalidWheelFilename, zipfile.BadZipFile, ValueError, OSError) as error:
            raise UsageError(f"{path} is no wheel ({error}): give a .whl file") from error

    @property
    def glibc(self) -> tuple[int, int] | None:
        """The oldest glibc that it runs with; None where it does not say, as one without machine code does not."""
        found = [version for tag in self.tags if (version := _glibc_of(tag.platform)) is not None]
        return min(found) if found else None

    def requires(self, environment: Mapping[str, str], extras: Sequence[str]) -> list[Requirement]:
        """What it needs on a target, with these of its extras."""
        requirements = [Requirement(line) for line in self.metadata.get_all("Requires-Dist", [])]
        return [need for need in requirements if _applies(need, environment, extras)]


def _glibc_of(platform: str) -> tuple[int, int] | None:
    if match := _GLIBC.match(platform):
        return int(match[1]), int(match[2])
    return _GLIBC_OF.get(platform.partition("_")[0])


def _applies(need: Requirement, environment: Mapping[str, str], extras: Sequence[str]) -> bool:
    if need.marker is None:
        return True
    return any(need.marker.evaluate({**environment, "extra": extra}) for extra in extras or [""])


def edges(
    wheels: Sequence[Wheel], root: str, extras: Sequence[str], environment: Mapping[str, str]
) -> dict[str, list[str]]:
    """What each wheel needs of the others, from ``root`` with its ``extras`` on, by name and sorted.

    Raises:
        UsageError: something that is needed on the target is not among them, or has another version.
    """
    held = {wheel.name: wheel for wheel in wheels}
    found: dict[str, set[str]] = {}
    seen: set[tuple[str, str]] = set()
    waiting: list[tuple[str, tuple[str, ...]]] = [(root, ("", *extras))]
    while waiting:
        name, asked = waiting.pop()
        if all((name, each) in seen for each in asked):
            continue
        seen |= {(name, each) for each in asked}
        needs = found.setdefault(name, set())
        for need in held[name].requires(environment, asked):
            other = canonicalize_name(need.name)
            if other not in held or not need.specifier.contains(held[other].version, prereleases=True):
                have = f"{held[other].version} is" if other in held else "nothing of it is"
                raise UsageError(f"{name} needs {need} on the target, and {have} in requirements/: make them anew")
            needs.add(other)
            waiting.append((other, ("", *sorted(need.extras))))
    return {name: sorted(needs - {name}) for name, needs in sorted(found.items())}
