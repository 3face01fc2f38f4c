"""Energy, where the platform tells it: the RAPL counters of Linux's powercap, of the processor packages alone."""

from __future__ import annotations

from pathlib import Path

_ROOT = Path("/sys/class/powercap")
RAPL = "RAPL (processor packages, all that runs on them)"


def energy_source(root: Path = _ROOT) -> str | None:
    """What tells the energy; None where nothing does, or we may not read it."""
    return RAPL if Meter(root).read() is not None else None


class Meter:
    """The energy counters of the processor packages. ``root`` is where powercap is; for tests."""

    def __init__(self, root: Path = _ROOT) -> None:
        # Zones inside a package (core, dram) have a second number: they would count twice.
        self._zones = [zone for zone in sorted(root.glob("*:*")) if zone.name.count(":") == 1 and _is_package(zone)]

    def read(self) -> list[int] | None:
        """Microjoules of each package; None where there is none, or they may not be read."""
        try:
            return [int((zone / "energy_uj").read_text()) for zone in self._zones] or None
        except (OSError, ValueError):
            return None

    def joules(self, before: list[int] | None, after: list[int] | None) -> float | None:
        """Between two readings. Counters begin again at zero from time to time."""
        if before is None or after is None:
            return None
        try:
            spent = [
                last - first + (_range(zone) if last < first else 0)
                for zone, first, last in zip(self._zones, before, after, strict=True)
            ]
        except (OSError, ValueError):
            return None
        return sum(spent) / 1e6


def _range(zone: Path) -> int:
    """Microjoules after which a counter begins again."""
    return int((zone / "max_energy_range_uj").read_text()) + 1


def _is_package(zone: Path) -> bool:
    try:
        return (zone / "name").read_text().startswith("package")
    except OSError:
        return False
