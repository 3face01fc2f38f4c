"""What the runtime needs to be installed: pyproject.toml's list, for those who must say so where packages are missing.

Nothing but Python is imported here.
"""

from __future__ import annotations

from typing import NamedTuple

Release = tuple[int, ...]

OLDEST_PYTHON: Release = (3, 11)
# Older ones run our graphs with windows that are off by one (onnxruntime#25927), and say nothing.
OLDEST_ONNXRUNTIME: Release = (1, 24)


class Bounds(NamedTuple):
    """The first release that will do, and the first that no longer does (None: there is none)."""

    first: Release
    end: Release | None = None

    def allow(self, version: str) -> bool:
        """Whether ``version`` lies in them; what follows its numbers (``rc1``, ``+cpu``) is left aside."""
        found = release(version)
        return found >= self.first and (self.end is None or found < self.end)

    def specifier(self, name: str) -> str:
        """As pip reads it: ``llguidance>=1.9,<2``."""
        end = "" if self.end is None else f",<{dotted(self.end)}"
        return f"{name}>={dotted(self.first)}{end}"


PACKAGES = {
    "click": Bounds((8, 1)),
    "llguidance": Bounds((1, 9), (2,)),
    "msgspec": Bounds((0, 19)),
    "numpy": Bounds((1, 26)),
    "tokenizers": Bounds((0, 20)),
}


def release(version: str) -> Release:
    """The numbers that ``version`` begins with: (1, 24, 0) of ``1.24.0rc1``."""
    numbers = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if digits:
            numbers.append(int(digits))
        if digits != part:
            break
    return tuple(numbers)


def dotted(numbers: Release) -> str:
    """``1.24`` of (1, 24)."""
    return ".".join(map(str, numbers))
