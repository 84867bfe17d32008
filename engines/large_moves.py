"""Large moves: what a day is called that moves far more than the days before it did."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: A day is large when its return exceeds this many standard deviations of the days before.
LARGE = 2.0
TRAILING = 60


def returns(close: Floats) -> Floats:
    """Return the log return of each of ``close`` (n,), adjusted for splits, over the one before; NaN for the first."""
    return np.diff(np.log(close), prepend=np.nan)


def sizes(close: Floats) -> Floats:
    """Return how large the next day of each is, in standard deviations of the `TRAILING` returns up to its close.

    Parameters
    ----------
    close
        One instrument's closes (n,), oldest first, adjusted for splits.

    Returns
    -------
    float64 (n,), NaN where the days before are too few, and for the last. A next day above `LARGE` is large.

    Example
    -------
    >>> moves = np.tile([0.01, -0.01], 31)
    >>> moves[-1] = 0.03
    >>> sizes(100 * np.exp(np.cumsum(moves)))[-2:].round(6)
    array([ 3., nan])
    """
    moves = returns(close)
    found = np.full(len(close), np.nan)
    for at in range(TRAILING, len(close) - 1):
        found[at] = abs(float(moves[at + 1])) / float(np.std(moves[at - TRAILING + 1 : at + 1]))
    return found
