"""A change in how often errors (1) come among hits (0): windows of counts.

The statistic of a window that ends now is the likelihood ratio of two rates, the window's and that of the reference
before it, to one; the largest one of windows is taken, in square roots of what it was on the average. This allows for
errors that come in runs.

D. Siegmund, E. S. Venkatraman (1995), Using the generalized likelihood ratio statistic for sequential detection of a
change-point, Annals of Statistics 23(1).
"""

from __future__ import annotations

import math
import struct
from itertools import islice

import numpy as np
import numpy.typing as npt

from engines.drift.surprises import FIRST, TRUSTED, USUAL, WIDTHS
from engines.drift.windows import RECENT, REFERENCE, STEP, require

_TIMES_LOG = np.array([n * math.log(max(n, 1)) for n in range(REFERENCE + RECENT + 1)])

_HEADER = struct.Struct("<4s2I2d")
_MAGIC = b"ERR1"


class ErrorShift:
    """Says when errors have become more or fewer, and begins anew with what came since.

    Parameters
    ----------
    threshold
        Of the statistic. `engines.drift.budget` knows it for an expected run time.

    Example
    -------
    >>> detector, rng = ErrorShift(threshold=9.0), np.random.default_rng(1)
    >>> any(detector.update(float(value)) for value in rng.random(300) < 0.2)
    False
    >>> any(detector.update(float(value)) for value in rng.random(100) < 0.8)
    True
    """

    _reference: bytearray  # of 0 and 1, in their order, as are the recent ones
    _recent: bytearray
    _sums: npt.NDArray[np.int64]  # (RECENT + STEP + 1,): errors up to each recent value, a zero first
    _seen: list[float]  # the statistic at each recent value, its root not yet taken
    __slots__ = ("_errors", "_mean", "_recent", "_reference", "_seen", "_sums", "_threshold", "_trust")

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._mean, self._trust = USUAL, float(TRUSTED)
        self._begin(bytearray())

    def update(self, value: float) -> bool:
        """Take the next value, 0 or 1, and return whether the stream has changed."""
        if len(self._reference) < FIRST:
            self._reference.append(int(value))
            self._errors += int(value)
            return False
        self._recent.append(int(value))
        held = len(self._recent)
        self._sums[held] = self._sums[held - 1] + int(value)
        widths = WIDTHS[: int(WIDTHS.searchsorted(held, "right"))]
        errors = self._sums[held] - self._sums[held - widths]  # (widths that fit,)
        count = len(self._reference)
        ratios = _fit(errors, widths) + _fit(self._errors, count) - _fit(errors + self._errors, widths + count)
        best = int(ratios.argmax())
        self._seen.append(2 * float(ratios[best]))
        if self._seen[-1] > self._threshold * math.sqrt(self._mean):
            self._begin(self._recent[-int(widths[best]) :])
            return True
        # A young reference grows first: half as many values are suspected as there are to compare them with.
        if held >= min(RECENT, count // 2) + STEP:
            self._move(held)
        return False

    def _begin(self, reference: bytearray) -> None:
        self._reference, self._recent, self._seen = reference, bytearray(), []
        self._errors = sum(reference)
        self._sums = np.zeros(RECENT + STEP + 1, np.int64)

    def _move(self, held: int) -> None:
        """Let the oldest of the recent values join the reference."""
        self._trust = min(self._trust + STEP, float(REFERENCE))
        self._mean += (sum(islice(self._seen, STEP)) - STEP * self._mean) / self._trust
        self._reference = (self._reference + self._recent[:STEP])[-REFERENCE:]
        self._errors = sum(self._reference)
        del self._recent[:STEP], self._seen[:STEP]
        self._sums[: held - STEP + 1] = self._sums[STEP : held + 1] - self._sums[STEP]

    def pack(self) -> bytes:
        """Return the state as bytes, at most 4 kB."""
        header = _HEADER.pack(_MAGIC, len(self._reference), len(self._recent), self._mean, self._trust)
        return header + bytes(self._reference + self._recent) + np.array(self._seen, "<f8").tobytes()

    def restore(self, data: bytes) -> None:
        """Take the state that `pack` wrote.

        Raises
        ------
        ValueError
            The bytes are not such a state.
        """
        require(data, _MAGIC, "error detector")
        _, reference, held, self._mean, self._trust = _HEADER.unpack_from(data)
        values = data[_HEADER.size : _HEADER.size + reference + held]
        self._begin(bytearray(values[:reference]))
        self._recent = bytearray(values[reference:])
        self._sums[1 : held + 1] = np.cumsum(np.frombuffer(self._recent, np.uint8))
        self._seen = np.frombuffer(data, "<f8", offset=_HEADER.size + reference + held).tolist()


def _fit(errors: npt.NDArray[np.int64] | int, count: npt.NDArray[np.int64] | int) -> npt.NDArray[np.float64]:
    """Return the log likelihood of so many errors among ``count`` values, at the rate that fits best."""
    found: npt.NDArray[np.float64] = _TIMES_LOG[errors] + _TIMES_LOG[count - errors] - _TIMES_LOG[count]
    return found
