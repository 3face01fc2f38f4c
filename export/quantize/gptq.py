"""Rounding with error feedback: what rounding one input's weights does wrong, the inputs after it make good.

GPTQ (Frantar et al., 2023, arXiv:2210.17323). The Hessian of the squared error of ``x W^T`` is ``E[x^T x]``; its
inverse says how later columns compensate earlier ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from ..storage.codes import Codes, Grid

# Added to the diagonal, as a share of its mean: directions that the calibration hardly saw are left alone.
DAMPING = 0.01
# Inputs whose errors reach each other at once, inputs whose errors reach the rest together, and outputs at a time.
_STEP, _BLOCK, _WIDEST, _OUTPUTS = 16, 128, 256, 2048
_SMALLEST = 1e-12
# Columns of a Hessian at a time, and rows of a triangle that are inverted at once.
_PANEL, _SMALL = 2048, 256
# Numbers that are turned around at a time.
_TURNED = 1 << 22
# Weights whose ranges are searched at a time.
_CACHED = 1 << 17


def gram(x: torch.Tensor) -> torch.Tensor:
    """The mean of ``x^T x`` over the rows of ``x`` [tokens, in]: [in, in]. What mirrors is computed once."""
    inputs = x.shape[1]
    found = torch.empty(inputs, inputs)
    for start in range(0, inputs, _PANEL):
        stop = min(start + _PANEL, inputs)
        torch.mm(x[:, start:stop].T, x[:, start:], out=found[start:stop, start:])
        found[stop:, start:stop] = found[start:stop, stop:].T
    return found.div_(len(x))


def inverse_factor(hessian: torch.Tensor, damping: float = DAMPING) -> torch.Tensor:
    """The upper Cholesky factor of the inverse of ``hessian`` [in, in], damped; float32. Overwrites ``hessian``.

    Factored from its end, the Hessian is R R^T with an upper R; the inverse of R is what is asked for.
    """
    diagonal = hessian.diagonal()
    diagonal.add_(damping * float(diagonal.mean()) or 1.0)
    _turn(hessian)
    torch.linalg.cholesky(hessian, out=hessian)
    _turn(hessian)
    _invert_upper(hessian)
    return hessian


def _turn(matrix: torch.Tensor) -> None:
    """Reverses both axes of ``matrix`` in place, for at 4B it has 0.4 GB."""
    numbers = matrix.view(-1)
    half = len(numbers) // 2
    for start in range(0, half, _TURNED):
        stop = min(start + _TURNED, half)
        first, last = numbers[start:stop], numbers[len(numbers) - stop : len(numbers) - start]
        kept = first.flip(0)
        first.copy_(last.flip(0))
        last.copy_(kept)


def _invert_upper(matrix: torch.Tensor) -> None:
    """Inverts an upper triangular ``matrix`` in place, mostly by products."""
    if len(matrix) <= _SMALL:
        identity = torch.eye(len(matrix))
        matrix.copy_(torch.linalg.solve_triangular(matrix, identity, upper=True))
        return
    half = len(matrix) // 2
    first, corner, last = matrix[:half, :half], matrix[:half, half:], matrix[half:, half:]
    _invert_upper(first)
    _invert_upper(last)
    corner.copy_(first @ corner @ last).neg_()


def quantise(
    weight: torch.Tensor, factor: torch.Tensor | None, importance: torch.Tensor, grid: Grid
) -> tuple[Codes, torch.Tensor]:
    """``weight`` on ``grid``, and what it then is.

    Args:
        weight: float32 [out, in].
        factor: of `inverse_factor`, [in, in], for error feedback; None rounds each weight for itself.
        importance: mean square of each input, [in]; scales are chosen by errors weighted with it.
        grid: the numbers to choose from.
    """
    # Outputs know nothing of each other: so many at a time that a step's numbers stay in the processor's cache.
    with _one_thread():
        parts = [
            _round(rows, importance, grid) if factor is None else _feed_back(rows, factor, importance, grid)
            for rows in weight.split(_OUTPUTS)
        ]
    numbers, scales, zeros, made = (torch.cat(items, 1).T.contiguous() for items in zip(*parts, strict=True))
    return Codes(numbers.numpy(), scales.numpy(), zeros.numpy().astype(np.uint8)), made


@contextmanager
def _one_thread() -> Iterator[None]:
    """Many short operations, for which threads that wait for each other cost more than they bring: on a busy machine
    fifty times more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _round(weight: torch.Tensor, importance: torch.Tensor, grid: Grid) -> tuple[torch.Tensor, ...]:
    """As of `_feed_back`."""
    columns = weight.T.contiguous()
    found = []
    size = grid.size or len(columns)
    for part, weighed in zip(columns.split(size), importance.split(size), strict=True):
        scale, zero = choose_scales(part, weighed, grid)
        numbers = _on_grid(part, scale, zero, grid)
        part.copy_(numbers).sub_(zero).mul_(scale)
        found.append((numbers.to(torch.uint8), scale[None], zero[None]))
    numbers, scales, zeros = (torch.cat(items) for items in zip(*found, strict=True))
    return numbers, scales, zeros, columns


def _feed_back(
    weight: torch.Tensor, factor: torch.Tensor, importance: torch.Tensor, grid: Grid
) -> tuple[torch.Tensor, ...]:
    """Numbers [in, out], scales and zeros [groups, out], and what the weights then are, [in, out]."""
    columns = weight.T.contiguous()
    inputs, outputs = columns.shape
    size = grid.size or inputs
    numbers = torch.empty(inputs, outputs, dtype=torch.uint8)
    scales, zeros = (torch.empty(-(-inputs // size), outputs) for _ in range(2))
    # Groups wider than a block are chosen before errors reach them.
    block = max(size, _BLOCK) if size <= _WIDEST else _BLOCK
    if size > block:
        for group, start in enumerate(range(0, inputs, size)):
            part = slice(start, start + size)
            scales[group], zeros[group] = choose_scales(columns[part], importance[part], grid)
    errors = torch.empty(block, outputs)
    for start in range(0, inputs, block):
        stop = min(start + block, inputs)
        for step in range(start, stop, _STEP):
            if size <= block and step % size == 0:
                part = slice(step, min(step + size, inputs))
                scales[step // size], zeros[step // size] = choose_scales(columns[part], importance[part], grid)
            last = min(step + _STEP, stop)
            for index in range(step, last):
                group = index // size
                rounded = _nearest(columns[index], scales[group], zeros[group], grid)
                if grid.paired and index % 2:
                    rounded = _beside(rounded, numbers[index - 1], grid)
                numbers[index] = rounded
                made = rounded.sub_(zeros[group]).mul_(scales[group])
                error = torch.sub(columns[index], made, out=errors[index - start]).div_(factor[index, index])
                columns[index] = made
                columns[index + 1 : last].addr_(factor[index, index + 1 : last], error, alpha=-1)
            _pass_on(columns[last:stop], factor[step:last, last:stop], errors[step - start : last - start])
        _pass_on(columns[stop:], factor[start:stop, stop:], errors[: stop - start])
    return numbers, scales, zeros, columns


def _pass_on(columns: torch.Tensor, factor: torch.Tensor, errors: torch.Tensor) -> None:
    """Takes what ``errors`` [some, out] ask for from later ``columns``."""
    if len(columns):
        columns.addmm_(factor.T, errors, alpha=-1)


def choose_scales(columns: torch.Tensor, importance: torch.Tensor, grid: Grid) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and zero of one group, [out] each: the range that loses least, between all of the weights' and a part.

    Args:
        columns: the group's weights, [in, out].
        importance: of its inputs, [in].
        grid: the numbers to choose from.
    """
    found = [_choose_scales(part, importance, grid) for part in columns.split(max(1, _CACHED // len(columns)), 1)]
    scales, zeros = (torch.cat(items) for items in zip(*found, strict=True))
    return scales, zeros


def _choose_scales(columns: torch.Tensor, importance: torch.Tensor, grid: Grid) -> tuple[torch.Tensor, torch.Tensor]:
    columns = columns.contiguous()
    if grid.zero_points:
        low, high = columns.amin(0).clamp_(max=0), columns.amax(0).clamp_(min=0)
        whole = (high - low) / grid.top
    else:
        low, whole = torch.zeros(columns.shape[1]), columns.abs().amax(0) / (grid.middle - 1)
    best: tuple[torch.Tensor, ...] | None = None
    for share in _shares(grid):
        scale = (whole * share).clamp_(min=_SMALLEST)
        if grid.zero_points:
            zero = (-low * share / scale).round_().clamp_(0, grid.top)
        else:
            zero = torch.full_like(scale, grid.middle)
        made = _on_grid(columns, scale, zero, grid).sub_(zero).mul_(scale)
        loss = importance @ made.sub_(columns).square_()
        if best is None:
            best = (loss, scale, zero)
        else:
            better = loss < best[0]
            best = tuple(torch.where(better, new, old) for new, old in zip((loss, scale, zero), best, strict=True))
    assert best is not None
    return best[1], best[2]


def _shares(grid: Grid) -> Sequence[float]:
    """The parts of the full range that are tried: few bits gain from leaving out the ends, many do not. Twice the
    range leaves room for all pairs."""
    if grid.paired:
        return [float(share) for share in np.linspace(2, 0.85, 13)]
    lowest, count = (0.5, 11) if grid.bits <= 4 else (0.85, 6)
    return [float(share) for share in np.linspace(1, lowest, count)]


def _on_grid(columns: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor, grid: Grid) -> torch.Tensor:
    """The numbers nearest to ``columns`` [in, out] that ``grid`` allows."""
    numbers = _nearest(columns, scale, zero, grid)
    if grid.paired:
        odd = numbers[1::2]
        odd.copy_(_beside(odd, numbers[::2][: len(odd)], grid))
    return numbers


def _nearest(weights: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor, grid: Grid) -> torch.Tensor:
    return (weights / scale).round_().add_(zero).clamp_(grid.lowest, grid.top)


def _beside(rounded: torch.Tensor, neighbours: torch.Tensor, grid: Grid) -> torch.Tensor:
    """``rounded`` within what ``neighbours`` leave of a pair's range."""
    others = neighbours - float(grid.middle)
    highest, lowest = grid.top - others.clamp(min=0), grid.lowest - others.clamp(max=0)
    return torch.minimum(torch.maximum(rounded, lowest), highest)
