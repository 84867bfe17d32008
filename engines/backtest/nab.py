"""The score of the Numenta Anomaly Benchmark, standard profile, from its published definition.

The first alarm in a window earns by how early it comes, a window without one costs 1, and every alarm outside costs up
to 0.11, less if shortly after a window. The sum is put between a detector without alarms (0) and a perfect one (100).

A. Lavin, S. Ahmad (2015), Evaluating real-time anomaly detection algorithms: the Numenta Anomaly Benchmark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
FALSE_POSITIVE = 0.11
OUTSIDE = -1


class Marks(NamedTuple):
    """A series' windows, which do not overlap: ``first`` and ``last`` row of each (n,), in order.

    The first ``probation`` rows are not scored; the last ``windows`` of the windows have a row behind them and count.
    """

    first: Ints
    last: Ints
    probation: int
    windows: int


def probation(rows: int) -> int:
    """Return how many first rows of a series are not scored: 15 %, 750 at most."""
    return min(rows * 15 // 100, 750)


def position_reward(position: npt.ArrayLike) -> Floats:
    """Return the reward at each ``position``: -1 at a window's first row, 0 at its end, above 0 behind it."""
    at = np.asarray(position, np.float64)
    # Rows far ahead of a window are asked for too, and thrown away.
    return np.where(at >= 3, -1.0, 2 / (1 + np.exp(5 * np.clip(at, -3, 3))) - 1)


def mark(rows: int, windows: Sequence[tuple[int, int]]) -> Marks:
    """Return the marks of a series of ``rows`` with these windows: first and last row of each, in order."""
    first, last = np.array(windows, np.int64).reshape(-1, 2).T
    first_scored = probation(rows)
    return Marks(first, last, first_scored, int((last >= first_scored).sum()))


def worth(marks: Marks, rows: Ints) -> tuple[Ints, Floats]:
    """Return the window in which each row (n,) lies, `OUTSIDE` where in none, and what an alarm there is worth."""
    if not len(marks.first):
        return np.full(len(rows), OUTSIDE), np.full(len(rows), -FALSE_POSITIVE)
    before = np.searchsorted(marks.first, rows, "right") - 1  # the window that began last, -1 where none has
    last = marks.last[before]
    width = last - marks.first[before] + 1
    inside = (before >= 0) & (rows <= last)
    earned = position_reward((rows - last - 1) / width) / position_reward(-1)
    lost = np.where(before < 0, -1.0, position_reward((rows - last) / np.maximum(width - 1, 1)))
    return np.where(inside, before, OUTSIDE), np.where(inside, earned, FALSE_POSITIVE * lost)


class Earned(NamedTuple):
    """What alarms came to: ``won`` (windows,) by each window that counts, -1 where it was missed, and the others.

    ``window`` (windows,) are the first rows of those windows, ``outside`` (k,) the rows of alarms in none, ``lost``
    (k,) what each of these cost.
    """

    window: Ints
    won: Floats
    outside: Ints
    lost: Floats


def earned(marks: Marks, alarms: npt.ArrayLike) -> Earned:
    """Return what alarms at these rows earn and cost; those within the probation do neither."""
    rows = np.asarray(alarms, dtype=np.int64)
    rows = rows[rows >= marks.probation]
    window, value = worth(marks, rows)
    inside = window != OUTSIDE
    unscored = len(marks.first) - marks.windows
    won = np.full(marks.windows, -1.0)
    np.maximum.at(won, window[inside] - unscored, value[inside])
    return Earned(marks.first[unscored:], won, rows[~inside], value[~inside])


def raw_score(marks: Marks, alarms: npt.ArrayLike) -> float:
    """Return the sum of it all."""
    found = earned(marks, alarms)
    return float(found.won.sum() + found.lost.sum())


def normalised(raw: float, windows: int) -> float:
    """Return raw scores, summed over series with ``windows`` windows in all, as 0 without alarms and 100 if perfect."""
    return 100 * (raw + windows) / (2 * windows)
