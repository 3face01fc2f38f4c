"""An input folder that nobody vouches for: a checkpoint or an adapter, in Hugging Face's layout."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..runtime.errors import UsageError
from ..runtime.files import is_plain_name, regular_file_status, sha256_of
from ..runtime.manifest import FileEntry

MAX_JSON_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class InputFolder:
    """A folder whose files are found by plain names, inside it, and nowhere else.

    Attributes:
        path: the folder.
        kind: what errors call it: ``checkpoint`` or ``adapter``.
    """

    path: Path
    kind: str

    def error(self, what: str) -> UsageError:
        """The error that says ``what`` is wrong with this folder, on one line whatever names the files hold."""
        message = f"{self.kind} {self.path}: {what}"
        return UsageError("".join(char if char.isprintable() else " " for char in message))

    def has(self, name: str) -> bool:
        """Whether there is a file of that name, or a link to one."""
        return (self.path / name).exists()

    def file(self, name: str) -> Path:
        """The regular file ``name``, links followed as far as `_home` allows.

        Raises:
            UsageError: it is missing, no regular file, or a link that leaves the folder.
        """
        path = self.path / name
        if not is_plain_name(name):
            raise self.error(f"{name[:100]!r} is not the name of a file in the folder")
        try:
            target = path.resolve(strict=True)
            regular_file_status(target)
        except FileNotFoundError:
            raise self.error(f"{name} is missing; download it again") from None
        except (OSError, RuntimeError) as error:
            raise self.error(f"{name} cannot be read: {error}") from None
        except ValueError as error:
            raise self.error(f"{name} is {error}, not a file") from None
        if not target.is_relative_to(self._home()):
            raise self.error(f"{name} is a link out of the folder; copy the file itself into it")
        return target

    def json(self, name: str) -> dict[str, Any]:
        """The JSON object in file ``name``, of `MAX_JSON_BYTES` at most.

        Raises:
            UsageError: it is missing, larger, or not a JSON object.
        """
        path = self.file(name)
        try:
            if path.stat().st_size > MAX_JSON_BYTES:
                raise self.error(f"{name} is larger than {MAX_JSON_BYTES:,} bytes")
            content = json.loads(path.read_bytes())
        except OSError as error:
            raise self.error(f"{name} cannot be read: {error.strerror}") from error
        except (ValueError, RecursionError):
            raise self.error(f"{name} is not JSON; download it again") from None
        if not isinstance(content, dict):
            raise self.error(f"{name} is not a JSON object; download it again")
        return content

    def digest(self, name: str) -> FileEntry:
        """Size and sha256 of file ``name``, all of which is read.

        Raises:
            UsageError: as `file`.
        """
        path = self.file(name)
        return FileEntry(path.stat().st_size, sha256_of(path))

    @property
    def identity(self) -> tuple[str, str | None]:
        """Model id and revision in Hugging Face's cache; elsewhere the folder's name, and a revision if noted.

        Raises:
            UsageError: they cannot be shown.
        """
        path = self.path.absolute()
        name, revision = path.name, None
        # `hf download --local-dir` notes the commit in the first line of this file.
        note = path / ".cache" / "huggingface" / "download" / "config.json.metadata"
        if path.parent.name == "snapshots" and path.parent.parent.name.startswith("models--"):
            name, revision = path.parent.parent.name.removeprefix("models--").replace("--", "/"), path.name
        elif note.is_file():
            revision = next(iter(note.read_text(encoding="utf-8", errors="replace").splitlines()), None)
        if not (name.isprintable() and (revision or "").isprintable()):
            raise self.error("its name or revision holds control characters; rename the folder")
        return name, revision or None

    def _home(self) -> Path:
        """The folder that links may point into; Hugging Face's cache links its snapshots to the blobs beside them."""
        folder = self.path.resolve()
        in_cache = folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--")
        return folder.parent.parent if in_cache else folder
