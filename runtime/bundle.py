"""Opening a bundle: a folder with the model, its tokenizer, its prompt and a manifest that seals them.

What opening covers: a manifest that is hostile or of another version; files that are missing, cut short,
altered, replaced by links, devices or folders, or named outside the folder; weights, code and configurations
that nobody listed; token ids outside the vocabulary; a prompt without its placeholder.

What it does not cover: the digests are no signature, so whoever can rewrite ``manifest.json`` can seal
another model; the ONNX graph itself is not parsed (onnxruntime refuses external data outside the model's
folder by itself, and all weight files inside are listed); files that change after they were verified.

Reading gigabytes takes seconds, so a file may be remembered as verified (`verified`): in the cache of the user, by
device, inode, size, times of the last change of its content and of its status, and digest. Who writes to a file
changes these times, and only root, or who sets the system's clock, can set the second one back: so it covers what
befalls a file through the system (a copy that was cut short, another version, another user's edit), and not what
befalls it below (a failing disk), which `dagger-edge verify` and `inspect` find, as they always read everything. Who
can write the user's cache can make it say anything, and could as well replace this program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from .errors import BundleError
from .files import Bar, is_plain_name, regular_file_status
from .known_answer import MAX_BYTES as MAX_KNOWN_ANSWER_BYTES
from .known_answer import KnownAnswer, decode_known_answer
from .manifest import MAX_MANIFEST_BYTES, FileEntry, Manifest, Prefix, PromptId, decode_manifest
from .prompt import PLACEHOLDER
from .verified import verify_file, was_verified

if TYPE_CHECKING:
    from .snapshot import Snapshot

MANIFEST_FILE = "manifest.json"
MODEL_FILE = "model.onnx"
WEIGHTS_FILE = "model.onnx.data"
TOKENIZER_FILE = "tokenizer.json"
PROMPT_FILE = "prompt.txt"
KNOWN_ANSWER_FILE = "known_answer.json"
PREFIX_FILE = "prefix.npy"
# Not read here; other tools open the folder by them.
CONFIG_FILE = "config.json"
GENERATION_CONFIG_FILE = "generation_config.json"
GENAI_CONFIG_FILE = "genai_config.json"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
REQUIRED_FILES = (MODEL_FILE, WEIGHTS_FILE, TOKENIZER_FILE, PROMPT_FILE)
PROMPT_IDS: tuple[PromptId, ...] = get_args(PromptId)

_MAX_PROMPT_BYTES = 1 << 18
_WEIGHT_SUFFIXES = frozenset({".onnx", ".data", ".onnx_data", ".ort", ".npy", ".bin", ".safetensors", ".pb"})
# What a tool loads, runs or obeys because of its name alone.
_CODE_SUFFIXES = frozenset({".py", ".so", ".dll", ".dylib", ".jinja"})
_OBEYED_FILES = frozenset(
    {KNOWN_ANSWER_FILE, CONFIG_FILE, GENERATION_CONFIG_FILE, GENAI_CONFIG_FILE, TOKENIZER_CONFIG_FILE}
)
_COPY_AGAIN = "copy or export the bundle again"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was opened with `Bundle.open`.

    Attributes:
        path: the folder.
        manifest: the decoded ``manifest.json``.
        prompt_template: the user's turn, holding ``{question}`` once; other braces are literal, so fill it in
            with ``str.replace``.
        verified: whether the files are known to be those of the manifest.
    """

    path: Path
    manifest: Manifest
    prompt_template: str
    verified: bool = False

    @property
    def model_path(self) -> Path:
        """The ONNX graph; its weights lie beside it."""
        return self.path / MODEL_FILE

    @property
    def tokenizer_path(self) -> Path:
        """The tokenizer, as of the checkpoint."""
        return self.path / TOKENIZER_FILE

    @property
    def size_bytes(self) -> int:
        """Size of all listed files, in bytes."""
        return sum(entry.size_bytes for entry in self.manifest.files.values())

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        verify: bool = True,
        remember: bool = False,
        bar: Bar = lambda _total: nullcontext(lambda _done: None),
    ) -> Bundle:
        """Checks the folder at ``path`` and gives its contents' places.

        Args:
            path: the bundle's folder.
            verify: read every listed file once and compare its sha256. Without it only names, kinds and sizes
                are checked, and a file that has further hard links is refused, since its content may be
                anybody's. (With it they are accepted: package managers install files as hard links.)
            remember: leave out files that were verified before and are the same still, as far as the system can tell.
            bar: called with the bytes of all files before they are read, if they are.

        Raises:
            BundleError: the folder is no bundle, or one that is incomplete or altered; the message names the
                bundle, the file and the remedy.
        """
        folder = Path(path)
        manifest = _read_manifest(folder)
        _check_names(folder, manifest)
        _check_unlisted(folder, manifest)
        for name, entry in manifest.files.items():
            _check_status(folder, name, entry, one_link=not verify)
        template = _read_prompt(folder)
        opened = cls(folder, manifest, template, verified=verify)
        if verify:
            with bar(opened.size_bytes) as advance:
                for name, entry in manifest.files.items():
                    if not (remember and was_verified(folder / name, entry.sha256)):
                        _check_digest(folder, name, entry, advance)
        return opened

    def known_answer(self) -> KnownAnswer | None:
        """What the model said where it was exported; None in a bundle that was made without comparing it.

        Raises:
            BundleError: the file that holds it is none.
        """
        if KNOWN_ANSWER_FILE not in self.manifest.files:
            return None
        try:
            with (self.path / KNOWN_ANSWER_FILE).open("rb") as file:
                data = file.read(MAX_KNOWN_ANSWER_BYTES + 1)
            if len(data) > MAX_KNOWN_ANSWER_BYTES:
                raise ValueError(f"more than {MAX_KNOWN_ANSWER_BYTES:,} bytes")  # noqa: TRY301
            return decode_known_answer(data, self.manifest.architecture.vocab_size)
        except OSError as error:
            raise _unreadable(self.path, KNOWN_ANSWER_FILE, error) from error
        except ValueError as error:
            raise _error(self.path, f"{KNOWN_ANSWER_FILE} is not usable: {error}") from None

    def snapshot(self, prefix_ids: Sequence[int]) -> Snapshot | None:
        """The state of ``prefix_ids``, mapped into memory; None in a bundle that was made without, or with another one:
        where the prompt was changed since, or another version of tokenizers makes other ids of it.

        Args:
            prefix_ids: what the bundle's prompts begin with (`Prompt.prefix_ids`).

        Raises:
            BundleError: the file that holds it is none of the manifest's model.
        """
        from .snapshot import Snapshot, map_state, state_shape, state_type

        manifest = self.manifest
        if manifest.prefix is None or Prefix.of(prefix_ids) != manifest.prefix:
            return None
        try:
            shape = state_shape(manifest.architecture, manifest.prefix.tokens)
            state = map_state(self.path / PREFIX_FILE, shape, state_type(manifest.precision.name))
        except OSError as error:
            raise _unreadable(self.path, PREFIX_FILE, error) from error
        except ValueError as error:
            raise _error(self.path, f"{PREFIX_FILE} is not usable: {error}") from None
        return Snapshot(prefix_ids, state)


def template_text(prompt: PromptId) -> str:
    """A prompt template: ``card`` (the model card's), ``paper`` (the authors') or ``question`` (bare)."""
    if prompt == "question":
        return PLACEHOLDER
    return resources.files(__package__).joinpath(f"templates/{prompt}.txt").read_text(encoding="utf-8")


def _error(folder: Path, what: str, remedy: str = _COPY_AGAIN) -> BundleError:
    return BundleError(f"bundle {folder}: {what}; {remedy}")


def _unreadable(folder: Path, name: str, error: OSError) -> BundleError:
    return _error(folder, f"{name} cannot be read ({error.strerror})", "check its permissions and the disk")


def _read_manifest(folder: Path) -> Manifest:
    try:
        if not folder.is_dir():
            what = "it is a file, not a folder" if folder.exists() else "there is no such folder"
            raise _error(folder, what, "give the folder that `dagger-edge export` made")
    except OSError as error:
        raise _error(folder, f"cannot be opened: {error.strerror}", "check the path and its permissions") from error
    path = folder / MANIFEST_FILE
    try:
        status = regular_file_status(path)
        if status.st_size > MAX_MANIFEST_BYTES:
            raise ValueError(f"{status.st_size:,} bytes, more than the {MAX_MANIFEST_BYTES:,} allowed")  # noqa: TRY301
        with path.open("rb") as file:
            data = file.read(MAX_MANIFEST_BYTES + 1)
        return decode_manifest(data)
    except FileNotFoundError:
        remedy = "give a folder that `dagger-edge export` made"
        raise _error(folder, f"{MANIFEST_FILE} is missing", remedy) from None
    except OSError as error:
        raise _unreadable(folder, MANIFEST_FILE, error) from error
    except ValueError as error:
        remedy = "use a matching dagger-edge, or export the bundle again"
        raise _error(folder, f"{MANIFEST_FILE} is not usable: {error}", remedy) from None


def _check_names(folder: Path, manifest: Manifest) -> None:
    for name in manifest.files:
        if not is_plain_name(name) or name == MANIFEST_FILE:
            raise _error(folder, f"{MANIFEST_FILE} lists {name[:100]!r}, which is not a plain file name")
    for name in REQUIRED_FILES:
        if name not in manifest.files:
            raise _error(folder, f"{MANIFEST_FILE} does not list {name}")
    if (PREFIX_FILE in manifest.files) != (manifest.prefix is not None):
        raise _error(folder, f"{MANIFEST_FILE} lists {PREFIX_FILE} or its ids, and not both")


def _check_unlisted(folder: Path, manifest: Manifest) -> None:
    try:
        entries = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise _unreadable(folder, "the folder", error) from error
    for name in entries:
        if name not in manifest.files and name != MANIFEST_FILE and _is_read_by_name(name):
            raise _error(folder, f"{name!r} is not listed in {MANIFEST_FILE}", "remove that file")


def _is_read_by_name(name: str) -> bool:
    """Whether a tool may read the file ``name`` just because it lies in the folder."""
    lower = name.lower()
    return lower in _OBEYED_FILES or Path(lower).suffix in _WEIGHT_SUFFIXES | _CODE_SUFFIXES


def _check_status(folder: Path, name: str, entry: FileEntry, *, one_link: bool) -> None:
    try:
        status = regular_file_status(folder / name)
    except FileNotFoundError:
        raise _error(folder, f"{name} is missing") from None
    except OSError as error:
        raise _unreadable(folder, name, error) from error
    except ValueError as error:
        raise _error(folder, f"{name} is {error}, not a regular file") from None
    if status.st_size != entry.size_bytes:
        raise _error(folder, f"{name} has {status.st_size:,} bytes, its manifest says {entry.size_bytes:,}")
    if one_link and status.st_nlink != 1:
        remedy = "open it with verification, or copy the bundle"
        raise _error(folder, f"{name} has {status.st_nlink} hard links and was not verified", remedy)


def _check_digest(folder: Path, name: str, entry: FileEntry, advance: Callable[[int], None]) -> None:
    try:
        intact = verify_file(folder / name, entry.sha256, advance)
    except OSError as error:
        raise _unreadable(folder, name, error) from error
    if not intact:
        raise _error(folder, f"{name} is altered: its sha256 is not the manifest's")


def _read_prompt(folder: Path) -> str:
    try:
        with (folder / PROMPT_FILE).open("rb") as file:
            data = file.read(_MAX_PROMPT_BYTES + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise _unreadable(folder, PROMPT_FILE, error) from error
    except UnicodeDecodeError:
        raise _error(folder, f"{PROMPT_FILE} is not UTF-8 text") from None
    if len(data) > _MAX_PROMPT_BYTES:
        raise _error(folder, f"{PROMPT_FILE} is larger than {_MAX_PROMPT_BYTES:,} bytes")
    if text.count(PLACEHOLDER) != 1:
        raise _error(folder, f"{PROMPT_FILE} holds {PLACEHOLDER} {text.count(PLACEHOLDER)} times, not once")
    return text
