"""What the doctor finds: checks, and the report that they make. Plain dataclasses, since msgspec may be missing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import BundleError, ProviderError
from ..terminal import printable

Status = Literal["ok", "warning", "failure", "skipped"]
Area = Literal["packages", "providers", "machine", "bundle"]
Provider = Literal["cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: of the check, stable; docs/doctor.md lists them.
        area: what it is about.
        status: "warning" is what works, and not as it should; "skipped" could not be looked at.
        finding: what was found, in a line.
        remedy: what to do; null where nothing need be done.
    """

    name: str
    area: Area
    status: Status
    finding: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What `dagger-edge doctor --json` prints.

    Attributes:
        version: of dagger-edge.
        bundle: folder of the bundle that was examined.
        provider: that was asked for.
        exit_code: 4 where the bundle fails, else 3 where anything else does, else 0: warnings are no failure.
        checks: in the order in which what they are about is needed.
    """

    version: str
    bundle: str
    provider: Provider
    exit_code: int
    checks: tuple[Check, ...]

    def to_json(self) -> str:
        """One JSON document on one line."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)

    def lines(self) -> list[str]:
        """As people read it: a line a check, the remedy below; a summary at the end."""
        width = max(len(check.name) for check in self.checks)
        lines = []
        for check in self.checks:
            lines.append(f"{check.status:<8} {check.name:<{width}}  {printable(check.finding)}")
            if check.remedy is not None:
                lines.append(f"{'':<8} {'':<{width}}  remedy: {printable(check.remedy)}")
        counts = {status: sum(check.status == status for check in self.checks) for status in _ORDER}
        told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        return [*lines, "", f"{len(self.checks)} checks: {told}"]


_ORDER: tuple[Status, ...] = ("failure", "warning", "skipped", "ok")


def exit_code(checks: Sequence[Check]) -> int:
    """That of the worst failure: a bundle's before that of what it runs on; 0 where nothing fails."""
    failed = {check.area for check in checks if check.status == "failure"}
    if "bundle" in failed:
        return BundleError.exit_code
    return ProviderError.exit_code if failed else 0
