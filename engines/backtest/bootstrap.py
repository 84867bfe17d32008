"""Intervals: whole blocks of time are drawn again and again, for what happens within one hangs together.

A figure is worked out of what each block brings to it, so that a draw is a row of counts (how often each block came)
and all draws are one product of matrices.

Blocks are hours, days or weeks by the clock and do not overlap (Carlstein 1986, *The use of subseries values for
estimating the variance of a general statistic from a stationary sequence*); as many are drawn as there are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engines.backtest.results import Estimate

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
#: Scores of true rows are told apart by so many levels in draws (the figure itself knows no such bound).
LEVELS = 2_048
#: Fewer blocks say nothing of how blocks vary.
LEAST = 5
_ENTRIES = 8_000_000


class Bootstrap:
    """Draws of ``blocks`` blocks; where they are fewer than `LEAST`, figures come without an interval."""

    def __init__(self, blocks: int, draws: int, seed: int) -> None:
        self.blocks = blocks
        # (draw, block)
        self.counts = (
            np.random.default_rng(seed).multinomial(blocks, np.full(blocks, 1 / blocks), draws).astype(np.float64)
            if blocks >= LEAST
            else np.empty((0, max(blocks, 1)))
        )

    def ratio(self, above: npt.ArrayLike, below: npt.ArrayLike, factor: float = 1.0, offset: float = 0.0) -> Estimate:
        """Return offset + factor · Σ above / Σ below of what each block brings, both (blocks,)."""
        top, bottom = np.asarray(above, np.float64), np.asarray(below, np.float64)
        if not bottom.sum():
            return Estimate(None)
        drawn = _divided(self.counts @ top, self.counts @ bottom)
        return self._estimate(offset + factor * float(top.sum() / bottom.sum()), offset + factor * drawn)

    def per_block(self, block: Ints, weight: npt.ArrayLike = 1.0) -> Floats:
        """Return the sum of ``weight`` (n,) by ``block`` (n,)."""
        weights = np.broadcast_to(np.asarray(weight, np.float64), block.shape)
        return np.bincount(block, weights, self.blocks).astype(np.float64)

    def quantiles(self, values: Floats, block: Ints, shares: list[float]) -> list[Estimate]:
        """Return quantiles of ``values`` (n,), each of which comes as often as its ``block`` (n,) is drawn."""
        if not len(values):
            return [Estimate(None) for _ in shares]
        order = np.argsort(values, kind="stable")
        ranked = values[order]
        draws = self.counts[: max(100, _ENTRIES // len(values)), block[order]]  # (draw, n)
        heaped = np.cumsum(draws, 1)
        drawn = np.full((len(draws), len(shares)), np.nan)
        for row, (heap, whole) in enumerate(zip(heaped, heaped[:, -1] if len(draws) else [], strict=True)):
            if whole:
                at = np.searchsorted(heap, np.array(shares) * whole - 1e-9)
                drawn[row] = ranked[np.minimum(at, len(ranked) - 1)]
        told = np.quantile(values, shares)
        return [self._estimate(float(value), drawn[:, i]) for i, value in enumerate(told)]

    def average_precision(self, truth: Bools, score: Floats, block: Ints) -> Estimate:
        """Return the area under precision over recall, see `average_precision`."""
        value = average_precision(truth, score)
        if value is None:
            return Estimate(None)
        level = _levels(truth, score)  # 0 is the highest
        count = int(level.max()) + 1
        key = block * count + level
        shape = (self.blocks, count)
        all_ = np.bincount(key, minlength=self.blocks * count).reshape(shape)
        own = np.bincount(key[truth], minlength=self.blocks * count).reshape(shape)
        drawn = [
            _areas(self.counts[first : first + 200] @ own, self.counts[first : first + 200] @ all_)
            for first in range(0, len(self.counts), 200)
        ]
        return self._estimate(value, np.concatenate(drawn) if drawn else np.empty(0))

    def binned_gap(self, gap: Floats, block: Ints, bin_of: Ints, bins: int) -> Estimate:
        """Return Σ over bins of |Σ gap| / n: the expected calibration error of ``gap`` (n,) = truth - probability."""
        key = block * bins + bin_of
        table = np.bincount(key, gap, self.blocks * bins).reshape(self.blocks, bins)
        rows = np.bincount(block, minlength=self.blocks).astype(np.float64)
        value = float(np.abs(table.sum(0)).sum() / rows.sum())
        return self._estimate(value, _divided(np.abs(self.counts @ table).sum(1), self.counts @ rows))

    def _estimate(self, value: float, drawn: Floats) -> Estimate:
        # A draw may lack what a figure is about; where most do, there is nothing to say.
        return interval(value, drawn) if np.isfinite(drawn).sum() >= len(drawn) // 2 else Estimate(value)


def average_precision(truth: Bools, score: Floats) -> float | None:
    """Return Σ (R_i - R_(i-1)) P_i over the distinct scores, falling; None without a true row.

    Equal scores come together, so that the order of rows says nothing, and one score for all gives the base rate.

    Example
    -------
    >>> average_precision(np.array([True, False, True]), np.array([0.9, 0.8, 0.7]))
    0.8333333333333333
    """
    if not truth.any():
        return None
    _, level = np.unique(-score, return_inverse=True)
    own, all_ = np.bincount(level, truth), np.bincount(level)
    return float(_areas(own[None], all_[None])[0])


def interval(value: float, drawn: Floats) -> Estimate:
    """Return a figure with the middle 95 % of what other draws of it gave."""
    finite = drawn[np.isfinite(drawn)]
    return Estimate(value, *map(float, np.quantile(finite, (0.025, 0.975)))) if len(finite) else Estimate(value)


def _areas(counted: npt.ArrayLike, all_: npt.ArrayLike) -> Floats:
    """Return average precision of each row of counts by level (draw, level), the highest score first."""
    own = np.asarray(counted, np.float64)
    hits = np.cumsum(own, 1)
    precision = _divided(hits, np.cumsum(all_, 1))
    return _divided(np.nansum(own * precision, 1), hits[:, -1])


def _levels(truth: Bools, score: Floats) -> Ints:
    """Return the level of each score, a level for each distinct score of a true row, 0 the highest.

    What lies between two of them counts from the lower one on: precision is asked for at true rows alone.
    """
    cuts = np.unique(-score[truth])
    if len(cuts) > LEVELS:
        cuts = cuts[np.linspace(0, len(cuts) - 1, LEVELS).astype(int)]
    return np.searchsorted(cuts, -score, "left")


def _divided(above: npt.ArrayLike, below: npt.ArrayLike) -> Floats:
    top, bottom = np.asarray(above, np.float64), np.asarray(below, np.float64)
    found = np.full(top.shape, np.nan)
    np.divide(top, bottom, out=found, where=bottom != 0)
    return found
