"""Rounding with error feedback: what rounding one input's weights does wrong, the inputs after it make good.

GPTQ (Frantar et al., 2023, arXiv:2210.17323). The Hessian of the squared error of ``x W^T`` is ``E[x^T x]``; its
inverse says how later columns compensate earlier ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

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
_CACHED = 1 << 19


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


@dataclass(frozen=True, slots=True)
class _Range:
    """How the weights of a group lie on a grid; all [out]. Numbers are counted from ``zero``."""

    scale: torch.Tensor
    zero: torch.Tensor
    lowest: torch.Tensor
    highest: torch.Tensor

    def nearest(self, weights: torch.Tensor) -> torch.Tensor:
        """The numbers nearest to ``weights`` [..., out]."""
        return (weights / self.scale).round_().clamp_(self.lowest, self.highest)


def _round(weight: torch.Tensor, importance: torch.Tensor, grid: Grid) -> tuple[torch.Tensor, ...]:
    """As of `_feed_back`."""
    columns = weight.T.contiguous()
    found = []
    size = grid.size or len(columns)
    for part, weighed in zip(columns.split(size), importance.split(size), strict=True):
        chosen = choose_range(part, weighed, grid)
        numbers = _on_grid(part / chosen.scale, chosen, grid)
        torch.mul(numbers, chosen.scale, out=part)
        found.append((numbers.add_(chosen.zero).to(torch.uint8), chosen.scale[None], chosen.zero[None]))
    numbers, scales, zeros = (torch.cat(items) for items in zip(*found, strict=True))
    return numbers, scales, zeros, columns


def _feed_back(
    weight: torch.Tensor, factor: torch.Tensor, importance: torch.Tensor, grid: Grid
) -> tuple[torch.Tensor, ...]:
    """Numbers [in, out], scales and zeros [groups, out], and what the weights then are, [in, out]."""
    feedback = _Feedback(weight.T.contiguous(), factor, importance, grid)
    feedback.run()
    scales, zeros = (torch.stack(items) for items in zip(*((it.scale, it.zero) for it in feedback.ranges), strict=True))
    return feedback.numbers, scales, zeros, feedback.columns


class _Feedback:
    """``columns`` [in, out] become what ``numbers`` stand for, one after the other."""

    def __init__(self, columns: torch.Tensor, factor: torch.Tensor, importance: torch.Tensor, grid: Grid) -> None:
        self.columns = columns
        self.numbers = torch.empty(columns.shape, dtype=torch.uint8)
        self.ranges: list[_Range] = []
        self._factor, self._importance, self._grid = factor, importance, grid
        self._size = grid.size or len(columns)
        # Groups wider than a block are chosen before errors reach them.
        self._block = max(self._size, _BLOCK) if self._size <= _WIDEST else _BLOCK
        self._errors = torch.empty(self._block, columns.shape[1])
        # The numbers of the column before.
        self._before = torch.empty(0)

    def run(self) -> None:
        inputs = len(self.columns)
        if self._size > self._block:
            for start in range(0, inputs, self._size):
                self._choose(start)
        for start in range(0, inputs, self._block):
            stop = min(start + self._block, inputs)
            with _one_thread():
                self._round_block(start, stop)
            _pass_on(self.columns[stop:], self._factor[start:stop, stop:], self._errors[: stop - start])

    def _choose(self, start: int) -> None:
        part = slice(start, start + self._size)
        self.ranges.append(choose_range(self.columns[part], self._importance[part], self._grid))

    def _round_block(self, start: int, stop: int) -> None:
        for first in range(start, stop, _STEP):
            if self._size <= self._block and first % self._size == 0:
                self._choose(first)
            last = min(first + _STEP, stop)
            errors = self._errors[first - start : last - start]
            for index in range(first, last):
                self._round_column(index, last, errors[index - first])
            _pass_on(self.columns[last:stop], self._factor[first:last, last:stop], errors)

    def _round_column(self, index: int, last: int, error: torch.Tensor) -> None:
        """Fills ``error`` [out], and takes it from the columns before ``last``."""
        column, chosen = self.columns[index], self.ranges[index // self._size]
        rounded = chosen.nearest(column)
        if self._grid.paired and index % 2:
            rounded = _beside(rounded, self._before, self._grid)
        self._before = rounded
        self.numbers[index] = rounded + chosen.zero
        made = rounded * chosen.scale
        torch.sub(column, made, out=error).div_(self._factor[index, index])
        column.copy_(made)
        self.columns[index + 1 : last].addr_(self._factor[index, index + 1 : last], error, alpha=-1)


def _pass_on(columns: torch.Tensor, factor: torch.Tensor, errors: torch.Tensor) -> None:
    """Takes what ``errors`` [some, out] ask for from later ``columns``."""
    if len(columns):
        columns.addmm_(factor.T, errors, alpha=-1)


def choose_range(columns: torch.Tensor, importance: torch.Tensor, grid: Grid) -> _Range:
    """The range of one group that loses least, between all of the weights' and a part.

    Args:
        columns: the group's weights, [in, out].
        importance: of its inputs, [in].
        grid: the numbers to choose from.
    """
    parts = columns.split(max(1, _CACHED // len(columns)), 1)
    found = [_search(part, importance, grid) for part in parts]
    scale, zero = (torch.cat(items) for items in zip(*found, strict=True))
    return _range(scale, zero, grid)


def _search(columns: torch.Tensor, importance: torch.Tensor, grid: Grid) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and zero, [out] each."""
    columns = columns.contiguous()
    low, high = columns.amin(0).clamp_(max=0), columns.amax(0).clamp_(min=0)
    whole = (high - low) / grid.top if grid.zero_points else torch.maximum(-low, high) / (grid.middle - 1)
    best, least = torch.ones_like(whole), torch.full_like(whole, torch.inf)

    def consider(share: torch.Tensor) -> None:
        loss = _loss(columns, importance, _share_of(low, whole, share, grid), grid)
        better = loss < least
        torch.where(better, share, best, out=best)
        torch.where(better, loss, least, out=least)

    shares, steps = _shares(grid)
    for share in shares:
        consider(torch.full_like(whole, share))
    for step in steps:
        centre = best.clone()
        consider(centre + step)
        consider(centre - step)
    chosen = _share_of(low, whole, best, grid)
    return chosen.scale, chosen.zero


def _shares(grid: Grid) -> tuple[list[float], list[float]]:
    """The parts of the full range that are tried, and by how much the best is varied then: few bits gain from leaving
    out the ends, many do not. Twice the range leaves room for all pairs."""
    if grid.paired:
        return np.linspace(2, 0.85, 5).tolist(), [0.14, 0.07]
    lowest, count = (0.5, 11) if grid.bits <= 4 else (0.85, 6)
    return np.linspace(1, lowest, count).tolist(), []


def _share_of(low: torch.Tensor, whole: torch.Tensor, share: torch.Tensor, grid: Grid) -> _Range:
    """A ``share`` of the range from ``low`` whose scale is ``whole``."""
    scale = (whole * share).clamp_(min=_SMALLEST)
    if grid.zero_points:
        return _range(scale, (-low * share / scale).round_().clamp_(0, grid.top), grid)
    return _range(scale, torch.full_like(scale, grid.middle), grid)


def _range(scale: torch.Tensor, zero: torch.Tensor, grid: Grid) -> _Range:
    return _Range(scale, zero, grid.lowest - zero, grid.top - zero)


def _loss(columns: torch.Tensor, importance: torch.Tensor, chosen: _Range, grid: Grid) -> torch.Tensor:
    """What rounding ``columns`` [in, out] loses of the product, [out]."""
    # In units of the scale, which spares two passes.
    exact = columns / chosen.scale
    lost = _on_grid(exact, chosen, grid).sub_(exact).square_()
    return (importance @ lost).mul_(chosen.scale.square())


def _on_grid(exact: torch.Tensor, chosen: _Range, grid: Grid) -> torch.Tensor:
    """The numbers nearest to ``exact`` [in, out], in units of the scale, that ``grid`` allows."""
    numbers = exact.round().clamp_(chosen.lowest, chosen.highest)
    if grid.paired:
        odd = numbers[1::2]
        odd.copy_(_beside(odd, numbers[::2][: len(odd)], grid))
    return numbers


def _beside(rounded: torch.Tensor, even: torch.Tensor, grid: Grid) -> torch.Tensor:
    """``rounded`` within what ``even``, its neighbour, leaves of a pair's range."""
    return (rounded + even).clamp_(1 - grid.middle, grid.middle - 1).sub_(even)
