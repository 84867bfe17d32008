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

FALSE_POSITIVE = 0.11
OUTSIDE = -1


class Marks(NamedTuple):
    """What an alarm at each row is worth: ``window`` (rows,) its window's number or `OUTSIDE`, ``worth`` (rows,).

    ``windows`` is the number of windows that have a row after the ``probation``, the last of those whose ``first`` rows
    are given.
    """

    window: npt.NDArray[np.int64]
    worth: npt.NDArray[np.float64]
    probation: int
    windows: int
    first: npt.NDArray[np.int64]


def probation(rows: int) -> int:
    """Return how many first rows of a series are not scored: 15 %, 750 at most."""
    return min(rows * 15 // 100, 750)


def position_reward(position: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the reward at each ``position``: -1 at a window's first row, 0 at its end, above 0 behind it."""
    at = np.asarray(position, np.float64)
    return np.where(at >= 3, -1.0, 2 / (1 + np.exp(5 * np.minimum(at, 3))) - 1)


def mark(rows: int, windows: Sequence[tuple[int, int]]) -> Marks:
    """Return what alarms are worth in a series of ``rows`` with these windows: first and last row of each, in order."""
    window = np.full(rows, OUTSIDE, np.int64)
    worth = np.full(rows, -FALSE_POSITIVE)
    for number, (first, last) in enumerate(windows):
        width = last - first + 1
        following = windows[number + 1][0] if number + 1 < len(windows) else rows
        window[first : last + 1] = number
        before_end = np.arange(-width, 0) / width
        worth[first : last + 1] = position_reward(before_end) / position_reward(-1)
        behind = np.arange(1, following - last) / max(width - 1, 1)
        worth[last + 1 : following] = FALSE_POSITIVE * position_reward(behind)
    first_scored = probation(rows)
    first_rows = np.array([first for first, _ in windows], np.int64)
    return Marks(window, worth, first_scored, sum(last >= first_scored for _, last in windows), first_rows)


class Earned(NamedTuple):
    """What alarms came to: ``won`` (windows,) by each window that counts, -1 where it was missed, and the others.

    ``window`` (windows,) are the first rows of those windows, ``outside`` (k,) the rows of alarms in none, ``lost``
    (k,) what each of these cost.
    """

    window: npt.NDArray[np.int64]
    won: npt.NDArray[np.float64]
    outside: npt.NDArray[np.int64]
    lost: npt.NDArray[np.float64]


def earned(marks: Marks, alarms: npt.ArrayLike) -> Earned:
    """Return what alarms at these rows earn and cost; those within the probation do neither."""
    rows = np.asarray(alarms, dtype=np.int64)
    rows = rows[rows >= marks.probation]
    window = marks.window[rows]
    inside = window != OUTSIDE
    unscored = len(marks.first) - marks.windows
    won = np.full(marks.windows, -1.0)
    np.maximum.at(won, window[inside] - unscored, marks.worth[rows[inside]])
    return Earned(marks.first[unscored:], won, rows[~inside], marks.worth[rows[~inside]])


def raw_score(marks: Marks, alarms: npt.ArrayLike) -> float:
    """Return the sum of it all."""
    found = earned(marks, alarms)
    return float(found.won.sum() + found.lost.sum())


def normalised(raw: float, windows: int) -> float:
    """Return raw scores, summed over series with ``windows`` windows in all, as 0 without alarms and 100 if perfect."""
    return 100 * (raw + windows) / (2 * windows)
