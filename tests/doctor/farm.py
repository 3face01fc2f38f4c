"""Environments to break: a virtual environment whose packages are links, so that any of them can go or be replaced."""

import os
import shutil
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_SITE = ("site-packages", "dist-packages")


class Farm:
    """A virtual environment of its own at ``folder``, with every package of the one that runs the tests."""

    def __init__(self, folder):
        venv.create(folder, symlinks=True)
        self.python = folder / "bin" / "python"
        (self.site,) = folder.glob("lib/python*/site-packages")
        for place in (Path(entry) for entry in sys.path if Path(entry).name in _SITE):
            for entry in place.iterdir():
                mine = self.site / entry.name
                # Not what starts by itself, nor what says that dagger-edge is installed from somewhere.
                started = entry.suffix == ".pth" or entry.name.startswith(("__editable__", "dagger_edge"))
                if not started and not mine.exists():
                    mine.symlink_to(entry)
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}

    def remove(self, name):
        """Takes a package out: its modules and its metadata."""
        for entry in [*self.site.glob(name), *self.site.glob(f"{name}-*.dist-info")]:
            entry.unlink() if entry.is_symlink() else shutil.rmtree(entry)

    def add_metadata(self, name, version, *lines, files=()):
        """The metadata of a package, as pip writes it."""
        folder = self.site / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        head = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *lines]
        (folder / "METADATA").write_text("\n".join([*head, ""]))
        if files:
            (folder / "RECORD").write_text("".join(f"{file},,\n" for file in files))

    def add_module(self, name, code):
        """A package of one module."""
        folder = self.site / name
        folder.mkdir()
        (folder / "__init__.py").write_text(code)
