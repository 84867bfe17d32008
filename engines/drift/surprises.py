"""A change in a stream of numbers, whatever their distribution: windows of ranks, of values and of surprises.

A value is ranked among the last `REFERENCE` values before those under suspicion (the last `RECENT`), and so is what an
autoregression fitted on these does not foresee of it; ties are broken at random. Of a rank that is a share u of the way
up there are scores that grow towards one end: -log(1 - u) and -log u, and for both ends that of the distance from the
middle (I. R. Savage 1956). They are exponential where nothing has changed, so that the few values of something new
that a gradual change begins with count for more than their number. For each window that ends now the statistic is the
likelihood ratio of an exponential law with the window's mean, of as many independent values as the reference's
autocorrelation leaves; the largest one of windows and scores is taken, in square roots of what it was on the average.

Ranks of exchangeable values have one law whatever the values' own, so one threshold brings one expected run time for
all distributions, discrete ones too. Where values hang together the autoregression leaves less of that, and the average
allows for what is left.

T. L. Lai (1995), Sequential changepoint detection in quality control and dynamical systems, JRSS B 57(4).
L. Gordon, M. Pollak (1994), An efficient sequential nonparametric scheme for detecting a change of distribution,
Annals of Statistics 22(2). I. R. Savage (1956), Contributions to the theory of rank order statistics: the two-sample
case, Annals of Mathematical Statistics 27(3).
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_left, bisect_right
from functools import lru_cache
from itertools import islice
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from engines.drift import windows
from engines.drift.windows import LAGS, RECENT, REFERENCE, STEP, require

Floats = npt.NDArray[np.float64]
Ranks = npt.NDArray[np.int64]

FIRST = 48  # values that a reference begins with: nothing is said before
WIDTHS = np.array(windows.WIDTHS)
ORDER = 4  # of the autoregression
#: What it is to take from the variance, times how many values: chance takes more once in a hundred times (chi-square of
#: `ORDER` degrees), which would tear equal values apart by those before them.
GAIN = 13.3
#: Scores: of the value's rank, large where it is high, low, far from the middle; of the surprise's, the same.
ROWS = 6
OUT = 2  # the row that says how far values are from the middle; the only one that is asked whether it fell, too
HALF = 0.5  # what its fall counts for: two values in a row in the very middle of the others are no news
#: A distance's score is that of a rank this far from the middle at least.
EDGE = 0.01
USUAL = 3.5  # the statistic's average on independent values, before its root is taken
TRUSTED = 128  # values for which this counts, beside what was seen

_TIES = np.random.default_rng(7).random(4099)  # of a prime number, so that none comes at the same place again soon
_TIED = _TIES.tolist()
_HEADER = struct.Struct("<4sQ2I2d")
_MAGIC = b"SUR1"


class SurpriseShift:
    """Says when a stream's level, its spread or how its values hang together has changed; begins anew with what is new.

    Parameters
    ----------
    threshold
        Of the statistic. `engines.drift.budget` knows it for an expected run time.

    Example
    -------
    >>> detector, rng = SurpriseShift(threshold=8.0), np.random.default_rng(1)
    >>> any(detector.update(value) for value in rng.normal(size=300).tolist())
    False
    >>> any(detector.update(value) for value in rng.normal(5, size=20).tolist())
    True
    """

    #: Of the last value; how many values, the last ones, speak most for a change.
    statistic: float
    width: int
    _reference: list[float]  # in their order, as are the recent ones
    _recent: list[float]
    _sums: Floats  # (ROWS, RECENT + most of a step + 1): of scores up to each recent value, a zero first
    _seen: list[float]  # the statistic at each recent value, its root not yet taken
    _ordered: list[float]  # the reference's, once it is long enough
    _surprises: list[float]  # the same of what the autoregression did not foresee
    _past: list[float]  # normal scores of the last values, the newest first
    _regression: list[float]  # weights of `_past` in what is to be expected
    _weights: Floats  # (ROWS + 1, widths): independent values that a window counts for, twice; the last row of a fall
    __slots__ = (
        *("_count", "_mean", "_ordered", "_past", "_recent", "_reference", "_regression", "_seen", "_sums"),
        *("_surprises", "_threshold", "_trust", "_weights", "statistic", "width"),
    )

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._count = 0
        self._mean, self._trust = USUAL, float(TRUSTED)
        self._begin([])

    def update(self, value: float) -> bool:
        """Take the next value, a finite one, and return whether the stream has changed."""
        self._count += 1
        if not self._ordered:
            self._reference.append(value)
            if len(self._reference) >= FIRST:
                self._learn()
            return False
        self._recent.append(value)
        self._score(value)
        self._suspect()
        if self.statistic > self._threshold:
            self.begin_anew(self.width)
            return True
        # A young reference grows first: half as many values are suspected as there are to compare them with.
        step = _step(len(self._reference))
        if len(self._recent) >= min(RECENT, len(self._reference) // 2) + step:
            self._move(step)
        return False

    def begin_anew(self, kept: int) -> None:
        """Forget all but the last ``kept`` of the recent values: they are what the stream is like from now on."""
        self._begin(self._recent[max(0, len(self._recent) - kept) :])

    def _score(self, value: float) -> None:
        """Add the scores of the newest of the recent values to their sums."""
        low, high = bisect_left(self._ordered, value), bisect_right(self._ordered, value)
        rank = low + int(_TIED[2 * self._count % len(_TIED)] * (high - low + 1))
        normal = normals(len(self._ordered))[low + high]
        surprise = normal
        for weight, before in zip(self._regression, self._past, strict=True):
            surprise -= weight * before
        self._past = [normal, *self._past[:-1]]
        low, high = bisect_left(self._surprises, surprise), bisect_right(self._surprises, surprise)
        of_surprise = low + int(_TIED[(2 * self._count + 1) % len(_TIED)] * (high - low + 1))
        held = len(self._recent)
        new = self._sums[:, held]
        new[:3] = scores(len(self._ordered))[rank]
        new[3:] = scores(len(self._surprises))[of_surprise]
        new += self._sums[:, held - 1]

    def _suspect(self) -> None:
        held = len(self._recent)
        fit = int(WIDTHS.searchsorted(held, "right"))
        widths = WIDTHS[:fit]
        means = (self._sums[:, held, None] - self._sums[:, held - widths]) / widths  # (ROWS, fit)
        fallen = np.maximum(np.minimum(means[OUT], 0), -0.99)
        means[OUT] = 0  # of the values themselves it is the ends that tell
        rows = np.concatenate((np.maximum(means, 0), fallen[None]))
        ratios = (rows - np.log1p(rows)) * self._weights[:, :fit]
        best = int(ratios.argmax())
        found = float(ratios.flat[best])
        self._seen.append(found)
        self.statistic, self.width = found / math.sqrt(self._mean), int(widths[best % fit])

    def _move(self, step: int) -> None:
        """Let the oldest recent values, ``step`` of them, join the reference."""
        held = len(self._recent)
        self._reference = (self._reference + self._recent[:step])[-REFERENCE:]
        self._trust = min(self._trust + step, float(REFERENCE))
        self._mean += (sum(islice(self._seen, step)) - step * self._mean) / self._trust
        del self._recent[:step], self._seen[:step]
        self._sums[:, : held - step + 1] = self._sums[:, step : held + 1] - self._sums[:, step, None]
        self._learn()

    def _begin(self, reference: list[float]) -> None:
        self._reference, self._recent, self._seen = reference, [], []
        self.statistic, self.width = 0.0, 0
        self._sums = np.zeros((ROWS, RECENT + _step(REFERENCE) + 1))
        self._ordered, self._surprises, self._regression, self._past = [], [], [], []
        if len(reference) >= FIRST:
            self._learn()

    def _learn(self) -> None:
        """Take the reference as it is now: its order, what follows from what, how long values hang together."""
        values = np.array(self._reference)
        count, first = len(values), self._count - len(self._recent) - len(values) + 1
        at = 2 * np.arange(first, first + count)
        ordered = np.sort(values)
        low, high = ordered.searchsorted(values, "left"), ordered.searchsorted(values, "right")
        levels = np.array(normals(count))[low + high]  # as `_score` has them: equal values have equal surprises
        self._regression = _regression(levels)
        surprises = levels[ORDER:].copy()
        for lag, weight in enumerate(self._regression, 1):
            surprises -= weight * levels[ORDER - lag : -lag]
        if not self._past:
            self._past = levels[: -ORDER - 1 : -1].tolist()
        by_surprise = np.sort(surprises)
        self._ordered, self._surprises = ordered.tolist(), by_surprise.tolist()
        own = _own(low, high, at)
        weights = np.empty((ROWS + 1, len(WIDTHS)))
        weights[:3] = _independent(own)
        weights[3:ROWS] = _independent(
            _own(
                by_surprise.searchsorted(surprises, "left"),
                by_surprise.searchsorted(surprises, "right"),
                at[ORDER:] + 1,
            )
        )
        weights[ROWS] = HALF * weights[OUT]
        self._weights = weights

    def pack(self) -> bytes:
        """Return the state as bytes, at most 33 kB."""
        held = len(self._recent)
        header = _HEADER.pack(_MAGIC, self._count, len(self._reference), held, self._mean, self._trust)
        values = np.array(self._reference + self._recent + self._seen + self._past, "<f8")
        return header + values.tobytes() + self._sums[:, : held + 1].astype("<f8").tobytes()

    def restore(self, data: bytes) -> None:
        """Take the state that `pack` wrote.

        Raises
        ------
        ValueError
            The bytes are not such a state.
        """
        require(data, _MAGIC, "detector of surprises")
        _, self._count, reference, held, self._mean, self._trust = _HEADER.unpack_from(data)
        floats = np.frombuffer(data, "<f8", offset=_HEADER.size)
        values, sums = floats[: -ROWS * (held + 1)].tolist(), floats[-ROWS * (held + 1) :]
        self._begin([])
        self._reference, self._recent = values[:reference], values[reference : reference + held]
        self._seen, self._past = values[reference + held : reference + 2 * held], values[reference + 2 * held :]
        self._sums[:, : held + 1] = sums.reshape(ROWS, held + 1)
        if self._past:
            self._learn()


def _step(reference: int) -> int:
    """Return how many values go from the recent ones to a reference at once: an eighth of it, or `STEP`."""
    return max(STEP, reference // 8)


@lru_cache(2 * REFERENCE)
def normals(count: int) -> tuple[float, ...]:
    """Return the normal score of each rank among ``count`` others, in halves: 0 to 2 ``count``."""
    quantile = NormalDist().inv_cdf
    return tuple(quantile((half + 1) / (2 * count + 2)) for half in range(2 * count + 1))


@lru_cache(2 * REFERENCE)
def scores(count: int) -> Floats:
    """Return the scores of each rank 0 to ``count`` among ``count`` others, float64 (count + 1, 3).

    Large where the rank is high, where it is low, where it is far from the middle; each of mean zero about, and 1 more
    of an exponential law.
    """
    shares = (np.arange(count + 1) + 0.5) / (count + 1)
    far = np.maximum(np.abs(2 * shares - 1), EDGE)
    return np.stack((-np.log1p(-shares), -np.log(shares), -np.log1p(-far)), axis=1) - 1


def _own(low: Ranks, high: Ranks, at: Ranks) -> Floats:
    """Return the scores (3, n) of values that have n among themselves of which ``low`` are smaller and ``high`` not
    larger; ties are broken by the numbers ``at``.
    """
    ranks = low + (_TIES[at % len(_TIES)] * (high - low)).astype(np.int64)
    return scores(len(low) - 1)[ranks].T


def _regression(levels: Floats) -> list[float]:
    """Return the weights of the last `ORDER` values in what is to be expected of the next (Yule and Walker).

    They are zeros where chance explains what they foresee.
    """
    together = np.array([(levels[lag:] * levels[: len(levels) - lag]).sum() for lag in range(ORDER + 1)])
    if together[0] < 1e-9 * len(levels):
        return [0.0] * ORDER
    apart = np.abs(np.subtract.outer(np.arange(ORDER), np.arange(ORDER)))
    matrix = together[apart] + 1e-6 * together[0] * np.eye(ORDER)
    weights = np.linalg.solve(matrix, together[1:])
    foreseen = float((weights * together[1:]).sum() / together[0])  # of the variance
    return list(weights.tolist()) if len(levels) * foreseen >= GAIN else [0.0] * ORDER


def _independent(scores: Floats) -> Floats:
    """Return, of rows (rows, n) of scores, how many independent values a window of each of `WIDTHS` counts for, twice:
    (rows, widths).
    """
    count = scores.shape[1]
    alone = (scores**2).sum(1)
    inflated = np.ones((len(scores), len(WIDTHS)))
    counted = np.ones(len(scores), bool)
    for lag in range(1, LAGS + 1):
        together = (scores[:, lag:] * scores[:, :-lag]).sum(1) / alone
        counted &= np.abs(together) >= 2 / count**0.5
        if not counted.any():
            break
        inflated += np.outer(counted * together, 2 * np.maximum(0, 1 - lag / WIDTHS))
    independent: Floats = 2 * WIDTHS / (np.maximum(inflated, 0.25) * (1 + WIDTHS / count))
    return independent
