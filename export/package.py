"""Writing a bundle: all of it appears under its name, or nothing does."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..runtime.bundle import MANIFEST_FILE, Bundle
from ..runtime.errors import BundleError
from ..runtime.files import sha256_of
from ..runtime.manifest import FileEntry, Manifest
from ..runtime.staging import Staging, sync


class BundleWriter(Staging):
    """A context in which a bundle is written to a hidden folder beside its target; `seal` gives it its name.

    Args:
        target: the folder to make. It must not exist; its parent must.

    Raises:
        UsageError: the target exists, or its parent does not. Raised before anything is done.
        BundleError: the folder cannot be made, or (on leaving) the disk was full.
    """

    def __init__(self, target: Path) -> None:
        super().__init__(target, "bundle", BundleError)

    def require_space(self, size_bytes: int, doing: str = "exporting") -> None:
        """As `Staging.require_space`."""
        super().require_space(size_bytes, doing)

    def seal(self, draft: Manifest) -> Bundle:
        """Adds the manifest, makes everything durable and renames the folder to its target.

        Args:
            draft: the manifest; its ``files`` are replaced by what lies in the folder.

        Raises:
            UsageError: the target has come to exist meanwhile.
            BundleError: the folder's contents are no valid bundle.
        """
        paths = sorted(self.folder.iterdir())
        for path in paths:
            sync(path)
        files = {path.name: FileEntry(path.stat().st_size, sha256_of(path)) for path in paths}
        manifest_path = self.folder / MANIFEST_FILE
        manifest_path.write_bytes(msgspec.structs.replace(draft, files=files).encode())
        Bundle.open(self.folder, verify=False)
        sync(manifest_path)
        self.publish(self.folder)
        return Bundle.open(self.target, verify=False)
