"""Looking at everything, in the order in which it is needed; what rests on something broken is skipped."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ... import __version__
from ..control_groups import ROOT
from ..files import Bar, packaged_bundle
from . import machine, onnxruntimes, packages, providers, sealed
from .needs import Needs
from .probe import Answer, Probe
from .report import Area, Check, Provider, Report, exit_code

if TYPE_CHECKING:
    from ..bundle import Bundle

_UNREAD = "the bundle could not be read"


def examine(
    bundle: Path | None = None,
    provider: Provider = "cpu",
    *,
    bar: Bar = lambda _total: nullcontext(lambda _done: None),
    root: Path = ROOT,
) -> Report:
    """Looks at packages, providers, the machine, and a bundle.

    Args:
        bundle: its folder; None is the demo's in the package, which answers on the CPU whatever the provider.
        provider: that is to be used.
        bar: called with the bytes of the bundle before they are read.
        root: where ``proc`` and ``sys`` are; for tests.
    """
    with Probe() as probe:
        return _Examination(bundle, provider, bar, root, probe).report()


class _Examination:
    """The state of one: what was found so far decides what can be looked at."""

    def __init__(self, bundle: Path | None, provider: Provider, bar: Bar, root: Path, probe: Probe) -> None:
        self._path = packaged_bundle() if bundle is None else bundle
        self._provider, self._bar, self._root, self._probe = provider, bar, root, probe
        # On which it is to answer.
        self._answering: Provider = "cpu" if bundle is None else provider
        self._checks: dict[str, Check] = {}

    def report(self) -> Report:
        self._look_at_packages()
        self._look_at_providers()
        opened = self._open()
        self._look_at_machine(opened)
        self._look_at_answers(opened)
        # By area; each was looked at when what it rests on was known.
        areas: tuple[Area, ...] = ("packages", "providers", "machine", "bundle")
        checks = tuple(sorted(self._checks.values(), key=lambda check: areas.index(check.area)))
        return Report(__version__, str(self._path), self._provider, exit_code(checks), checks)

    def _add(self, *checks: Check) -> None:
        self._checks |= {check.name: check for check in checks}

    def _works(self, *names: str) -> bool:
        return all(self._checks[name].status in {"ok", "warning"} for name in names)

    def _look_at_packages(self) -> None:
        self._installed = onnxruntimes.installed_onnxruntimes()
        self._add(packages.check_python(), *packages.check_packages(self._probe))
        self._add(onnxruntimes.check_onnxruntime(self._probe, self._installed, self._provider))

    def _look_at_providers(self) -> None:
        # Two onnxruntimes may work all the same, until one of them goes.
        usable = self._works("onnxruntime") or len(self._installed) > 1
        if not usable or not self._works("package-numpy"):
            reason = "numpy or onnxruntime cannot be used"
            self._add(*(Check(f"provider-{name}", "providers", "skipped", reason) for name in ("cpu", "cuda")))
            return
        self._add(providers.check_cpu(self._probe))
        self._add(providers.check_cuda(self._probe, self._installed, self._provider, self._root))

    def _open(self) -> Bundle | None:
        opened = None
        if self._works("python", "package-msgspec"):
            opened, check = sealed.open_bundle(self._path, self._bar)
        else:
            check = Check("bundle", "bundle", "skipped", "Python or msgspec, which read its manifest, cannot be used")
        self._add(check)
        if opened is None:
            self._add(Check("bundle-provider", "providers", "skipped", _UNREAD))
        else:
            self._add(sealed.check_made_for(opened, self._answering))
        return opened

    def _look_at_machine(self, opened: Bundle | None) -> None:
        self._add(machine.check_processor(self._root), machine.check_cores(self._root))
        if opened is None:
            self._add(*(Check(name, "machine", "skipped", _UNREAD) for name in ("memory", "limits", "disk")))
        else:
            needs = Needs.of(opened.manifest)
            self._add(machine.check_memory(needs, self._root), machine.check_limits(needs))
            self._add(machine.check_disk(needs, self._path))
        self._add(machine.check_cache(), machine.check_locale())
        own = Path(__file__).stat().st_mtime
        self._add(machine.check_clock([own] if opened is None else [own, *sealed.times_of(opened)]))

    def _look_at_answers(self, opened: Bundle | None) -> None:
        answer = Answer()
        reason = self._obstacle(opened)
        if reason is None:
            answer = sealed.ask_known_answer(self._probe, self._path, self._answering)
            self._add(sealed.check_known_answer(answer), sealed.check_network(answer))
            self._add(sealed.check_measurements(answer))
        else:
            names = ("known-answer", "network", "measurements")
            self._add(*(Check(name, "bundle", "skipped", reason) for name in names))
        self._add(packages.check_unneeded(None if answer.value is None else answer.value["loaded"]))

    def _obstacle(self, opened: Bundle | None) -> str | None:
        """Why no answer can be asked for."""
        if opened is None:
            return _UNREAD
        needed = [name for name in self._checks if name.startswith("package-")]
        needed += [f"provider-{self._answering}", "bundle-provider", "memory", "limits"]
        broken = [name for name in needed if not self._works(name)]
        return f"{broken[0]} would be needed first" if broken else None
