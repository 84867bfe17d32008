"""Bars in a row: windows of them, what trailing windows tell, and their features, all free of currency and level.

Series of several instruments lie one behind the other: ``first`` says for each row which row its series begins at.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

NAMES = (
    "gap",  # log of the open over the last close, in deviations of the window's returns
    "body",  # log of the close over the open, likewise
    "range",  # log of the high over the low, likewise
    "location",  # where the close lies between low (-1) and high (+1)
    "volume",  # log of the volume over the window's mean
)
CLIP = 6.0


def windows(values: Floats, first: Ints, rows: Ints, length: int) -> Floats:
    """Return the last ``length`` of ``values`` (n, …) up to each of ``rows``, shape (row, length, …).

    NaN stands for what is before the series' first row.
    """
    at = rows[:, None] + np.arange(1 - length, 1)  # (row, length)
    found = np.asarray(values[np.maximum(at, 0)], np.float64)  # (row, length, …)
    found[at < first[rows, None]] = np.nan
    return found


def trailing(values: Floats, first: Ints, length: int) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of the last ``length`` of ``values`` (n,), both (n,).

    Where the series has fewer, of those; where a value in the window is NaN, it does not count. NaN below two values.
    """
    known = np.isfinite(values)
    level = float(np.mean(values[known])) if known.any() else 0.0  # taken off, for the sums of squares' sake
    kept = np.where(known, values - level, 0.0)
    end = np.arange(1, len(values) + 1)
    start = np.maximum(first, end - length)

    def total(x: Floats) -> Floats:
        sums = np.concatenate([[0.0], np.cumsum(x)])
        return np.asarray(sums[end] - sums[start])

    count = total(known.astype(np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(count > 1, total(kept) / count, np.nan)
        spread = np.sqrt(np.maximum(total(kept**2) / count - mean**2, 0.0))
    return mean + level, spread


def features(bars: Floats) -> Singles:
    """Return features of bars, 0 where there is no bar.

    Parameters
    ----------
    bars
        Shape (row, time + 1, 5), oldest first: open, high, low, close, volume; NaN where there is no bar.

    Returns
    -------
    Shape (row, time, 5), float32: `NAMES`, cut to [-`CLIP`, `CLIP`].
    """
    with np.errstate(divide="ignore"):
        open_, high, low, close = np.moveaxis(np.log(bars[:, :, :4]), 2, 0)  # (row, time + 1) each
        volume = np.log(bars[:, 1:, 4])  # (row, time)
    moves = np.diff(close, axis=1)  # (row, time)
    scale = _deviation(moves)  # (row, 1)
    spread = np.maximum(high - low, 1e-9)[:, 1:]  # (row, time)
    known = np.where(np.isfinite(volume), volume, np.nan)  # a bar without trades has no logarithm
    mean = np.log(np.maximum(_mean(np.exp(known)), 1e-9))  # (row, 1)
    told = np.stack(
        [
            (open_[:, 1:] - close[:, :-1]) / scale,
            (close - open_)[:, 1:] / scale,
            spread / scale,
            (2 * close - high - low)[:, 1:] / spread,
            known - mean,
        ],
        axis=2,
    )  # (row, time, feature)
    return np.asarray(np.nan_to_num(np.clip(told, -CLIP, CLIP)), np.float32)


def _mean(x: Floats) -> Floats:
    """Return the mean of what is known of ``x`` (row, time), (row, 1)."""
    known = np.isfinite(x)
    return np.asarray(np.where(known, x, 0.0).sum(1, keepdims=True) / np.maximum(known.sum(1, keepdims=True), 1))


def _deviation(x: Floats) -> Floats:
    return np.sqrt(np.maximum(_mean((x - _mean(x)) ** 2), 1e-12))
