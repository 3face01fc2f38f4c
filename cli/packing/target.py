"""The machine that a pack is for: its Python, its processor, its execution provider."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass

from ...runtime.errors import UsageError
from ...runtime.manifest import ProviderName

PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = ("linux-x86_64", "linux-aarch64")

# The oldest first: of several wheels pip takes the one whose platform is named first, and that runs on more machines.
_GLIBC_MINORS = range(5, 43)
_OLD_NAMES = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}


@dataclass(frozen=True, slots=True)
class Target:
    """A Python (``3.12``), a platform (``linux-aarch64``) and a provider, whose locked wheels are wanted."""

    python: str
    platform: str
    provider: ProviderName

    @classmethod
    def here(cls, python: str | None, on: str | None, provider: ProviderName) -> Target:
        """What was asked for; for the rest, this machine.

        Raises:
            UsageError: this machine is not among the targets, and nothing else was asked for.
        """
        own_python = "{}.{}".format(*sys.version_info)
        own_platform = f"{sys.platform}-{platform.machine()}"
        for option, given, own, known in (
            ("--python", python, own_python, PYTHONS),
            ("--platform", on, own_platform, PLATFORMS),
        ):
            if given is None and own not in known:
                raise UsageError(f"{own} is here, and no pack can be made for it: give {option} {' or '.join(known)}")
        return cls(python or own_python, on or own_platform, provider)

    @property
    def machine(self) -> str:
        """The processor, as Python and wheels name it."""
        return self.platform.partition("-")[2]

    @property
    def abi(self) -> str:
        """What CPython of this target calls itself (``SOABI``), glibc's; free-threaded builds differ."""
        return f"cpython-{self.python.replace('.', '')}-{self.machine}-linux-gnu"

    @property
    def title(self) -> str:
        """In words."""
        return f"Python {self.python} on {self.platform} ({self.provider})"

    @property
    def pip_options(self) -> list[str]:
        """What makes ``pip download`` choose this target's wheels."""
        plain = self.python.replace(".", "")
        options = ["--python-version", self.python, "--implementation", "cp"]
        for abi in (f"cp{plain}", "abi3", "none"):
            options += ["--abi", abi]
        for minor in _GLIBC_MINORS:
            names = [_OLD_NAMES[minor]] if minor in _OLD_NAMES else []
            for name in (*names, f"manylinux_2_{minor}"):
                options += ["--platform", f"{name}_{self.machine}"]
        return [*options, "--platform", f"linux_{self.machine}"]

    @property
    def environment(self) -> dict[str, str]:
        """The variables of dependency markers (PEP 508) on this target."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }
