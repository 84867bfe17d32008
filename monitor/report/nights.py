"""Nights and weekends: where nothing is traded, a plot's time axis has no room; what fell there stands at its end."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.report import figures

Ints = npt.NDArray[np.int64]
HOUR_NS = 3_600 * 10**9
#: Shorter pauses are shown as they are, and so is a range in which no night can lie.
LEAST_NS, LEAST_RANGE_NS = 3 * HOUR_NS, 36 * HOUR_NS


@dataclass(frozen=True, slots=True, eq=False)
class Nights:
    """Stretches ``[start, end)``, int64 ns UTC of shape (n,) and in order, that a time axis leaves out."""

    start: Ints
    end: Ints

    def axis(self) -> dict[str, Any]:
        """Return what an axis of Plotly's leaves out: starts of each length together."""
        starts: dict[int, list[int]] = defaultdict(list)
        for start, end in zip(self.start.tolist(), self.end.tolist(), strict=True):
            starts[(end - start) // 1_000_000].append(start // 1_000_000)
        breaks = [{"values": values, "dvalue": length} for length, values in sorted(starts.items())]
        return {"rangebreaks": breaks} if breaks else {}

    def milliseconds(self, ns: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return times (n,) in int64 ns UTC as such an axis shows them; what fell in a night stands at its end."""
        ts = np.asarray(ns, np.int64)
        if not len(self.start):
            return figures.milliseconds(ts)
        at = np.searchsorted(self.start, ts, "right") - 1
        return figures.milliseconds(np.where((at >= 0) & (ts < self.end[at]), self.end[at], ts))


def between(start: Ints, end: Ints, from_ns: int, to_ns: int, least_ns: int = LEAST_NS) -> Nights:
    """Return the nights between stretches ``[start, end)`` (n,) of trading, in any order, of a range that is plotted.

    Example
    -------
    >>> day = 86_400 * 10**9
    >>> opens = np.array([0, 1, 4]) * day
    >>> found = between(opens, opens + 8 * HOUR_NS, 0, 5 * day)
    >>> (found.start // HOUR_NS).tolist(), (found.end // HOUR_NS).tolist()
    ([8, 32], [24, 96])
    """
    order = np.argsort(start)
    start, end = start[order], np.maximum.accumulate(end[order])
    begins, ends = end[:-1], start[1:]
    kept = (ends - begins >= least_ns) & (to_ns - from_ns >= LEAST_RANGE_NS)
    return Nights(begins[kept], ends[kept])
