"""Which recipe suits a machine, by a measurement of its kernels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

from ..runtime.errors import UsageError
from ..runtime.kernels.estimate import Load, best_of, estimate
from ..runtime.kernels.kernel import KERNELS, KernelName
from ..runtime.kernels.report import MAX_REPORT_BYTES, Estimate, MachineReport, decode_report
from ..runtime.manifest import PrecisionName
from .config import TextConfig
from .folder import InputFolder
from .names import EMBEDDING, HEAD
from .recipe import Recipe, recipe, recipe_names
from .storage.base import MatrixStorage, VocabularyStorage
from .storage.blocks import Blocks, SharedBlocks
from .storage.dense import Dense, DenseProduct
from .storage.rows import IntegerRows


@dataclass(frozen=True, slots=True)
class Choice:
    """A recipe for a machine.

    Attributes:
        recipe: the recipe; its words say what it was measured for.
        reason: what every candidate would take, a line each.
    """

    recipe: Recipe
    reason: tuple[str, ...]


def choose_recipe(machine: Path, checkpoint: Path, precision: PrecisionName | None = None) -> Choice:
    """The recipe that an answer is quickest with on a machine, of those whose bundle has room there.

    Args:
        machine: what `dagger-edge measure --json` printed there.
        checkpoint: the folder to export; its configuration is read.
        precision: of the recipes to choose from; None is all that processors have kernels for.

    Raises:
        UsageError: one of the files is not what it should be, nothing fits, or the precision was not measured.
    """
    report, config = read_report(machine), TextConfig.read(InputFolder(checkpoint, "checkpoint"))
    candidates = [recipe(name).for_model(config) for name in recipe_names()]
    measured = [item for item in candidates if _is_measured(item, report) and precision in {None, item.name}]
    if not measured:
        raise UsageError(
            f"{machine}: it has no measurement for {precision or 'any recipe'}; leave out --for, or choose another"
            " --precision"
        )
    loads, lines = {}, []
    for item in measured:
        try:
            loads[item.title] = _load(item, config)
        except UsageError as error:
            lines.append(f"{item.title}: {error}")
    found = {title: estimate(load, report.kernels, report.available_bytes) for title, load in loads.items()}
    best = best_of(found, {title: load.bits for title, load in loads.items()})
    lines += [f"{title}: {_words(item)}" for title, item in found.items()]
    if best is None:
        raise UsageError(
            f"{machine}: no recipe fits into {report.available_bytes / 1e9:.1f} GB of memory ({'; '.join(lines)})"
        )
    chosen = recipe(best)
    words = {**chosen.description, "measured_for": f"{report.processor}, {_words(found[best])}"}
    return Choice(replace(chosen, description=words), (*lines, _basis(report, config), f"chosen: {best}"))


def read_report(path: Path) -> MachineReport:
    """The measurement in a file.

    Raises:
        UsageError: it cannot be read, or is none; the message names the field.
    """
    try:
        with path.open("rb") as file:
            return decode_report(file.read(MAX_REPORT_BYTES + 1))
    except OSError as error:
        raise UsageError(f"measurement {path}: it cannot be read ({error.strerror})") from None
    except ValueError as error:
        reason = "".join(char if char.isprintable() else " " for char in str(error))
        raise UsageError(f"measurement {path}: {reason}; make it with `dagger-edge measure --json`") from None


def _words(item: Estimate) -> str:
    room = "" if item.fits else ", too large"
    return f"question and drafted answer {item.answer_ms / 1e3:.3g} s, weights {item.size_bytes / 1e9:.3g} GB{room}"


def _basis(report: MachineReport, config: TextConfig) -> str:
    """What the numbers are good for."""
    measured, own = (report.shape.hidden, report.shape.intermediate), (config.hidden_size, config.intermediate_size)
    if measured == own:
        return f"measured on matrices of this model's shape, {own[0]} by {own[1]}"
    return "measured on matrices of {} by {}, in proportion for {} by {}".format(*measured, *own)


def _is_measured(item: Recipe, report: MachineReport) -> bool:
    kernels = {kernel_of(storage) for storage in (*item.exceptions.values(), item.vocabulary)}
    return None not in kernels and kernels <= set(report.kernels)


def kernel_of(storage: MatrixStorage | VocabularyStorage) -> KernelName | None:
    """The kernel that multiplies by a matrix stored so, of those that are measured: of blocks the nearest size. None
    for fp16, which processors do not multiply in.
    """
    match storage:
        case Dense() | DenseProduct():
            return "dense" if storage.dtype.itemsize == 4 else None
        case IntegerRows():
            return "rows"
        case Blocks():
            return _nearest(storage.bits, storage.size)
        case SharedBlocks():
            return _nearest(8, storage.size)
    return None


def _nearest(bits: int, size: int) -> KernelName:
    names = [name for name in KERNELS if name.startswith(f"blocks-{bits}-")]
    return min(names, key=lambda name: abs(int(name.rpartition("-")[2]) - size))


def _load(item: Recipe, config: TextConfig) -> Load:
    """What a token goes through in a model by ``item``, which is `Recipe.for_model`'s.

    Raises:
        UsageError: the recipe cannot store a matrix of this model.
    """
    products: dict[KernelName, int] = {}
    size = 0
    head: tuple[KernelName, int] = "dense", 0
    for name, shape in config.tensor_shapes.items():
        if len(shape) != 2:
            continue
        storage = item.vocabulary if name == EMBEDDING else item.storage(name)
        size += sum(part.nbytes for part in storage.parts(shape) if part.same_as is None)
        kernel = kernel_of(storage)
        assert kernel is not None
        if name == (EMBEDDING if config.tied else HEAD):
            head = kernel, prod(shape)
        elif name != EMBEDDING:
            products[kernel] = products.get(kernel, 0) + prod(shape)
    return Load(products, head, size)
