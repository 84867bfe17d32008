"""Anomalies of one timestamped series, value by value: nothing is fitted before, no later value and no label is seen.

Eight statistics say how unusual a value is against what came before it: the mean of the last few values at three
scales (level shifts), how far the last values lie from their nearest neighbours in the past at two lengths (shape;
Burnaev, Ishimtsev 2016), the value against all before (range), and against its hour of the day, alone and smoothed.
Each is ranked among its own past values, which gives a conformal p-value whatever its scale or distribution. The eight
are merged by their generalised mean of order -1/3, which a single small p-value dominates without deciding alone
(Vovk, Wang 2020). An alarm silences those that follow, so that an anomaly is told once.

All lengths follow from ``probation``, the number of values for which a series is only watched.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, insort
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

HOUR_NS = 3_600_000_000_000
SCALES = (60, 15, 5)  # of the level: means of probation / 60, / 15, / 5 values
LENGTHS = (19, 40)  # of the shapes; 19 is the one of KNN-CAD
NEIGHBOURS = 5
SHAPES = 1500  # past shapes a new one is compared with
ORDER = 1 / 3
RANK_MEMORY = 32_768
FIRST_RANK = 20  # ranks among fewer say nothing


@dataclass(slots=True, eq=False)
class Rank:
    """Past values of a statistic in order, thinned to every other when full, so that the far past fades."""

    past: array[float] = field(default_factory=lambda: array("d"))

    def update(self, statistic: float) -> float:
        """Return the p-value of ``statistic`` among the past ones, 1 for the first few, and keep it."""
        count = len(self.past)
        above = count - bisect_left(self.past, statistic)
        if count >= RANK_MEMORY:
            self.past = self.past[1::2]
        insort(self.past, statistic)
        return (above + 0.5) / (count + 1) if count > FIRST_RANK else 1.0


@dataclass(slots=True, eq=False)
class Level:
    """How far the mean of the last ``width`` values lies from where it used to lie, in standard deviations of it."""

    width: int
    memory: int  # means over which its own mean and variance fade
    last: array[float] = field(init=False)
    seen: int = 0
    mean: float = 0.0
    variance: float = 0.0

    def __post_init__(self) -> None:
        self.last = array("d", bytes(8 * self.width))

    def update(self, value: float) -> float:
        """Return the statistic with ``value`` as the newest, 0 while there is too little to compare."""
        self.last[self.seen % self.width] = value
        self.seen += 1
        count = self.seen - 2 * self.width
        if count <= 0:
            return 0.0
        # Summed anew: a running sum would keep the rounding errors of every outlier.
        distance = math.fsum(self.last) / self.width - self.mean
        statistic = abs(distance) / math.sqrt(self.variance) if count > 3 and self.variance > 0 else 0.0
        rate = max(1 / self.memory, 1 / count)
        self.mean += rate * distance
        self.variance = (1 - rate) * (self.variance + rate * distance * distance)
        return statistic


class Shapes:
    """Distances of the last values, `LENGTHS` of them, to the nearest of `SHAPES` earlier stretches."""

    def __init__(self) -> None:
        self._values = np.zeros(4 * (SHAPES + 2 * LENGTHS[-1]))  # written left to right, its end moved back when full
        self._stretches = np.lib.stride_tricks.sliding_window_view(self._values, LENGTHS[-1])
        self._end = 0

    def update(self, value: float) -> tuple[float, ...]:
        """Return the distance for each length with ``value`` as the newest, 0 while there is too little to compare."""
        if self._end == len(self._values):
            kept = SHAPES + 2 * LENGTHS[-1]
            self._values[:kept] = self._values[-kept:]
            self._end = kept
        self._values[self._end] = value
        self._end += 1
        now = self._end - LENGTHS[-1]  # where the newest stretch begins
        stop = now - LENGTHS[-1] + 1  # earlier ones may not overlap it
        if stop <= NEIGHBOURS:
            return (0.0,) * len(LENGTHS)
        apart = self._stretches[max(0, stop - SHAPES) : stop] - self._stretches[now]  # (shapes, longest)
        return tuple(self._nearest(apart[:, -length:]) for length in LENGTHS)

    @staticmethod
    def _nearest(apart: npt.NDArray[np.float64]) -> float:
        squared = np.einsum("ij,ij->i", apart, apart)  # (shapes,)
        return math.sqrt(float(np.partition(squared, NEIGHBOURS)[:NEIGHBOURS].mean()))


@dataclass(slots=True, eq=False)
class Range:
    """How far a value lies outside all before it, in widths of their range."""

    low: float = math.inf
    high: float = -math.inf

    def update(self, value: float) -> float:
        """Return the statistic, 0 for values within the range and for the first two."""
        outside = max(value - self.high, self.low - value, 0.0)
        width = self.high - self.low
        self.low, self.high = min(self.low, value), max(self.high, value)
        return outside / width if 0 < width < math.inf else 0.0


@dataclass(slots=True, eq=False)
class Season:
    """How far a value lies from the mean of its hour of the day, alone and smoothed over about ``width`` values."""

    width: int
    rate: float = 0.03  # at which an hour's mean follows
    means: list[float] = field(default_factory=lambda: [0.0] * 24)
    seen: list[int] = field(default_factory=lambda: [0] * 24)
    smooth: float = 0.0

    def update(self, ts_ns: int, value: float) -> tuple[float, float]:
        """Return both statistics, the first 0 for an hour's first value."""
        hour = ts_ns // HOUR_NS % 24
        distance = value - self.means[hour] if self.seen[hour] else 0.0
        if self.seen[hour]:
            self.smooth += (distance - self.smooth) / self.width
            self.seen[hour] += 1
            self.means[hour] += max(1 / self.seen[hour], self.rate) * distance
        else:
            self.seen[hour], self.means[hour] = 1, value
        return abs(distance), abs(self.smooth)


class Surprise:
    """How surprising each value of a series is, in nats: minus the logarithm of a merged p-value.

    Parameters
    ----------
    probation : int
        Number of values for which the series is only watched; all lengths follow from it.

    References
    ----------
    E. Burnaev, V. Ishimtsev (2016), Conformalized density- and distance-based anomaly detection in time-series data.
    V. Vovk, R. Wang (2020), Combining p-values via averaging, Biometrika 107(4).

    Example
    -------
    >>> surprise = Surprise(probation=60)
    >>> usual = [surprise.update(minute * 60_000_000_000, float(minute % 7)) for minute in range(400)]
    >>> surprise.update(400 * 60_000_000_000, 50.0) > max(usual[60:])
    True
    """

    def __init__(self, probation: int) -> None:
        self._levels = [Level(max(2, round(probation / scale)), 4 * max(1, probation)) for scale in SCALES]
        self._shapes = Shapes()
        self._range = Range()
        self._season = Season(max(1, probation // SCALES[0]))
        self._ranks = [Rank() for _ in range(len(SCALES) + len(LENGTHS) + 3)]

    def update(self, ts_ns: int, value: float) -> float:
        """Return the surprise of the next ``value``, a finite one, at event time ``ts_ns``."""
        statistics = (
            *(level.update(value) for level in self._levels),
            *self._shapes.update(value),
            self._range.update(value),
            *self._season.update(ts_ns, value),
        )
        merged = 0.0
        for rank, statistic in zip(self._ranks, statistics, strict=True):
            merged += float(rank.update(statistic) ** -ORDER)
        return math.log(merged / len(self._ranks)) / ORDER


@dataclass(slots=True, eq=False)
class Alarm:
    """Scores out of surprises: 0.5 and more is an alarm, after which the next ``rest`` values give none.

    Nor do the first ``probation`` values. A score is no probability: it only orders the values about its threshold.
    """

    threshold: float
    probation: int
    seen: int = 0
    quiet_until: int = 0

    @property
    def rest(self) -> int:
        """Number of values without an alarm after an alarm."""
        return resting(self.probation)

    def update(self, surprise: float) -> float:
        """Return the score of the next value from its surprise."""
        index, self.seen = self.seen, self.seen + 1
        score = float(1 - 0.5 ** (surprise / self.threshold))
        if index < max(self.probation, self.quiet_until):
            return score / 2
        if surprise >= self.threshold:
            self.quiet_until = index + self.rest + 1
        return score


def resting(probation: int) -> int:
    """Return how many values after an alarm give none: a fifth of the probation, 3 % of a series that it is 15 % of."""
    return max(1, probation // 5)
