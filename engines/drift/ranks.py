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
from array import array
from bisect import bisect_left, bisect_right
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from engines.drift.windows import LAGS, RECENT, REFERENCE, STEP, WIDTHS, require

Floats = npt.NDArray[np.float64]

FIRST = 96  # values that a reference begins with: nothing is said before
#: A spread's score is that of a rank this far from the ends at least: two values in a row in the very middle of the
#: others are no news.
EDGE = 0.01

_HEADER = struct.Struct("<4sQ3H?")
_MAGIC = b"RNK2"


class RankShift:
    """Says when a stream's level or spread has changed, and begins anew with what came since.

    Parameters
    ----------
    threshold
        Of the statistic. `engines.drift.budget` knows it for an expected run time.
    reference, recent
        How many values it compares with at most, and how many of the last it suspects, fewer by far than those.

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
    _reference: array[float]  # in their order, as are the recent ones, which came next
    _recent: array[float]
    _levels: array[float]  # sums of the scores up to each recent value, a zero first
    _spreads: array[float]
    _ordered: array[float]  # the reference's, once it is long enough
    _ties: array[float]  # what breaks ties of those
    _weights: list[tuple[int, float, float]]  # width, 1 / variance of a sum of so many levels, of spreads
    __slots__ = (
        *("_count", "_levels", "_most", "_ordered", "_recent", "_reference", "_spreads", "_suspects", "_threshold"),
        *("_ties", "_weights", "statistic", "width"),
    )

    def __init__(self, threshold: float, *, reference: int = REFERENCE, recent: int = RECENT) -> None:
        self._threshold, self._most, self._suspects = threshold, reference, recent
        self._count = 0
        self._begin(array("d"))

    def update(self, value: float) -> bool:
        """Take the next value, a finite one, and return whether the stream has changed."""
        self._count += 1
        if not self._weights:
            self._reference.append(value)
            if len(self._reference) >= FIRST:
                self._learn()
            return False
        rank = self._rank(value)
        levels, spreads = scores(len(self._ordered))
        self._recent.append(value)
        self._levels.append(self._levels[-1] + levels[rank])
        self._spreads.append(self._spreads[-1] + spreads[rank])
        self._suspect()
        if self.statistic > self._threshold:
            self.begin_anew(self.width)
            return True
        # A young reference grows first: half as many values are suspected as there are to compare them with.
        if len(self._recent) >= min(self._suspects, len(self._reference) // 2) + STEP:
            self._reference = (self._reference + self._recent[:STEP])[-self._most :]
            del self._recent[:STEP], self._levels[:STEP], self._spreads[:STEP]
            self._learn()
        return False

    def _rank(self, value: float) -> int:
        """Return how many of the reference's are below the newest value, ties broken at random."""
        first = bisect_left(self._ordered, value)
        last = bisect_right(self._ordered, value, first)
        if first == last:
            return first
        return bisect_left(self._ties, float(_uniform(np.array([self._count], np.uint64))[0]), first, last)

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

    def _begin(self, reference: array[float]) -> None:
        self._reference, self._recent = reference, array("d")
        self.statistic, self.width = 0.0, 0
        self._levels, self._spreads = array("d", [0.0]), array("d", [0.0])
        self._ordered, self._ties, self._weights = array("d"), array("d"), []
        if len(reference) >= FIRST:
            self._learn()

    def _learn(self) -> None:
        """Take the reference as it is now: its order, and how much the sums over its windows vary."""
        values, count = np.array(self._reference), len(self._reference)
        last = self._count - len(self._recent)
        ties = _uniform(np.arange(last - count + 1, last + 1, dtype=np.uint64))
        order = np.lexsort((ties, values))
        self._ordered, self._ties = array("d", values[order].tobytes()), array("d", ties[order].tobytes())
        ranks = np.empty(count, np.intp)
        ranks[order] = np.arange(count)
        levels, spreads = (np.array(row)[ranks] for row in scores(count - 1))
        self._weights = list(zip(WIDTHS, _inverse(levels), _inverse(spreads), strict=True))

    def pack(self) -> bytes:
        """Return the state as bytes: at most 15 kB, or 10 kB where all values are of single precision."""
        values = np.array(self._reference + self._recent, "<f8")
        single = values.astype("<f4")
        narrow = bool((single == values).all())
        header = _HEADER.pack(_MAGIC, self._count, len(self._reference), len(self._recent), len(self._levels), narrow)
        sums = np.array(self._levels + self._spreads, "<f8")
        return b"".join((header, (single if narrow else values).tobytes(), sums.tobytes()))

    def restore(self, data: bytes) -> None:
        """Take the state that `pack` wrote.

        Raises
        ------
        ValueError
            The bytes are not such a state.
        """
        require(data, _MAGIC, "rank detector")
        _, count, reference, recent, sums, narrow = _HEADER.unpack_from(data)
        kind = np.dtype("<f4" if narrow else "<f8")
        values = np.frombuffer(data, kind, reference + recent, _HEADER.size)
        told = array("d", values.astype(np.float64).tobytes())
        floats = array("d", data[_HEADER.size + values.nbytes :])
        self._count = count - recent  # as many as there were when the reference was taken
        self._begin(told[:reference])
        self._count, self._recent = count, told[reference:]
        self._levels, self._spreads = floats[:sums], floats[sums:]


def _uniform(counts: npt.NDArray[np.uint64]) -> Floats:
    """Return numbers in [0, 1) that follow from ``counts`` (n,) alone (splitmix64)."""
    mixed = counts * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return np.asarray((mixed ^ mixed >> np.uint64(31)) / 2.0**64, np.float64)


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
    alone = float((scores * scores).sum()) / count  # not by BLAS: its order of summation is the processor's
    variance = np.full(len(widths), alone)
    for lag in range(1, LAGS + 1):
        together = float((scores[lag:] * scores[:-lag]).sum()) / count
        if abs(together) < 2 * alone / count**0.5:
            break
        variance += 2 * np.maximum(0, 1 - lag / widths) * together
    variance = np.maximum(variance, alone / 4)
    return list((1 / (widths * variance * (1 + widths / count))).tolist())
