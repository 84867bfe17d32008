"""A change of level or spread in a stream of numbers, whatever their distribution: windows of ranks.

A value is ranked among the last `REFERENCE` values before those under suspicion (the last `RECENT`), ties broken at
random, and becomes two normal scores: of its rank (level), and of how far its rank is from the middle (spread). The
scores of windows that end now are summed, and each sum is divided by the deviation that it would have where nothing
changed, of which the reference's autocorrelation is a part. The largest square over windows and scores is the
statistic: a window-limited generalised likelihood ratio.

Ranks of exchangeable values have one law whatever the values' own, so one threshold brings one expected run time for
all distributions, discrete ones too; autocorrelation that the reference does not show well enough shortens it.

T. L. Lai (1995), Sequential changepoint detection in quality control and dynamical systems, JRSS B 57(4).
L. Gordon, M. Pollak (1994), An efficient sequential nonparametric scheme for detecting a change of distribution,
Annals of Statistics 22(2).
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
#: A value, and what breaks ties.
Item = tuple[float, float]

REFERENCE = 1024
RECENT = 256
FIRST = 96  # values that a reference begins with: nothing is said before
STEP = 32  # values that go from the recent ones to the reference at once
WIDTHS = (1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256)
LAGS = 16  # the last one of the autocovariances; none is counted from the first on that chance would make as large
#: A spread's score is that of a rank this far from the ends at least: two values in a row in the very middle of the
#: others are no news.
EDGE = 0.01

_HEADER = struct.Struct("<4sQ3H")
_MAGIC = b"RNK1"
_MASK = (1 << 64) - 1


class RankShift:
    """Says when a stream's level or spread has changed, and begins anew with what came since.

    Parameters
    ----------
    threshold
        Of the statistic. `engines.drift.budget` knows it for an expected run time.

    Example
    -------
    >>> detector, rng = RankShift(threshold=16.0), np.random.default_rng(1)
    >>> any(detector.update(value) for value in rng.normal(size=300).tolist())
    False
    >>> any(detector.update(value) for value in rng.normal(5, size=20).tolist())
    True
    """

    #: Of the last value; how many values, the last ones, speak most for a change.
    statistic: float
    width: int
    _reference: list[Item]  # in their order, as are the recent ones
    _recent: list[Item]
    _levels: list[float]  # sums of the scores up to each recent value, a zero first
    _spreads: list[float]
    _ordered: list[Item]  # the reference's, once it is long enough
    _weights: list[tuple[int, float, float]]  # width, 1 / variance of a sum of so many levels, of spreads
    __slots__ = (
        *("_count", "_levels", "_ordered", "_recent", "_reference", "_spreads", "_threshold", "_weights"),
        *("statistic", "width"),
    )

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._count = 0
        self._begin([])

    def update(self, value: float) -> bool:
        """Take the next value, a finite one, and return whether the stream has changed."""
        self._count += 1
        item = (value, _uniform(self._count))  # distinct, so ranks have no ties
        if not self._weights:
            self._reference.append(item)
            if len(self._reference) >= FIRST:
                self._learn()
            return False
        rank = bisect_left(self._ordered, item)
        levels, spreads = scores(len(self._ordered))
        self._recent.append(item)
        self._levels.append(self._levels[-1] + levels[rank])
        self._spreads.append(self._spreads[-1] + spreads[rank])
        self._suspect()
        if self.statistic > self._threshold:
            self.begin_anew(self.width)
            return True
        # A young reference grows first: half as many values are suspected as there are to compare them with.
        if len(self._recent) >= min(RECENT, len(self._reference) // 2) + STEP:
            self._reference = (self._reference + self._recent[:STEP])[-REFERENCE:]
            del self._recent[:STEP], self._levels[:STEP], self._spreads[:STEP]
            self._learn()
        return False

    def begin_anew(self, kept: int) -> None:
        """Forget all but the last ``kept`` of the recent values: they are what the stream is like from now on."""
        self._begin(self._recent[max(0, len(self._recent) - kept) :])

    def _suspect(self) -> None:
        held, self.statistic = len(self._recent), 0.0
        level, spread = self._levels[-1], self._spreads[-1]
        for width, of_level, of_spread in self._weights:
            if width > held:
                break
            up, out = level - self._levels[-1 - width], spread - self._spreads[-1 - width]
            square = max(up * up * of_level, out * out * of_spread)
            if square > self.statistic:
                self.statistic, self.width = square, width

    def _begin(self, reference: list[Item]) -> None:
        self._reference, self._recent = reference, []
        self.statistic, self.width = 0.0, 0
        self._levels, self._spreads = [0.0], [0.0]
        self._ordered, self._weights = [], []
        if len(reference) >= FIRST:
            self._learn()

    def _learn(self) -> None:
        """Take the reference as it is now: its order, and how much the sums over its windows vary."""
        count = len(self._reference)
        self._ordered = sorted(self._reference)
        ranks = np.empty(count, np.intp)
        ranks[sorted(range(count), key=self._reference.__getitem__)] = np.arange(count)
        levels, spreads = (np.array(row)[ranks] for row in scores(count - 1))
        self._weights = list(zip(WIDTHS, _inverse(levels), _inverse(spreads), strict=True))

    def pack(self) -> bytes:
        """Return the state as bytes, at most 26 kB."""
        header = _HEADER.pack(_MAGIC, self._count, len(self._reference), len(self._recent), len(self._levels))
        items = np.array(self._reference + self._recent, "<f8")
        return b"".join((header, items.tobytes(), np.array(self._levels + self._spreads, "<f8").tobytes()))

    def restore(self, data: bytes) -> None:
        """Take the state that `pack` wrote.

        Raises
        ------
        ValueError
            The bytes are not such a state.
        """
        if data[:4] != _MAGIC:
            raise ValueError(f"rank detector: expected bytes that begin with {_MAGIC!r}, found {data[:4]!r}")
        _, self._count, reference, recent, sums = _HEADER.unpack_from(data)
        floats = np.frombuffer(data, "<f8", offset=_HEADER.size).tolist()
        items = list(zip(*[iter(floats[: 2 * (reference + recent)])] * 2, strict=True))
        self._begin(items[:reference])
        self._recent = items[reference:]
        self._levels, self._spreads = floats[-2 * sums : -sums], floats[-sums:]


def _uniform(count: int) -> float:
    """Return a number in [0, 1) that follows from ``count`` alone (splitmix64)."""
    mixed = count * 0x9E3779B97F4A7C15 & _MASK
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _MASK
    return (mixed ^ mixed >> 31) / 2**64


@lru_cache(2 * REFERENCE)
def scores(count: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the scores of level and of spread of each rank 0 to ``count`` among ``count`` others."""
    quantile = NormalDist().inv_cdf
    shares = [(rank + 0.5) / (count + 1) for rank in range(count + 1)]
    levels = [quantile(share) for share in shares]
    spreads = [quantile(max(abs(2 * share - 1), EDGE)) for share in shares]
    middle = sum(spreads) / len(spreads)
    return tuple(levels), tuple(spread - middle for spread in spreads)


def _inverse(scores: Floats) -> list[float]:
    """Return, for each of `WIDTHS`, 1 / the variance of so many successive scores' sum beside their reference (n,)."""
    count, widths = len(scores), np.array(WIDTHS)
    alone = float(scores @ scores) / count
    variance = np.full(len(widths), alone)
    for lag in range(1, LAGS + 1):
        together = float(scores[lag:] @ scores[:-lag]) / count
        if abs(together) < 2 * alone / count**0.5:
            break
        variance += 2 * np.maximum(0, 1 - lag / widths) * together
    variance = np.maximum(variance, alone / 4)
    return list((1 / (widths * variance * (1 + widths / count))).tolist())
