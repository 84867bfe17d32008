"""Units of the background, in which strength is counted (docs/simulator.md): measured on a day's frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.simulator.flow import SECOND_NS
from schemas.frames import Frame, Kind
from schemas.order_frames import OrderFrame

Floats = npt.NDArray[np.float64]
_GRID_S = 10


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """What is usual in one instrument on one day.

    ``depth`` and ``trade`` are units of the instrument, ``mids`` log mids on a grid of 10 s, shape (n,), ``volume``
    what trades a second, ``second_rate`` messages of the instrument in a second, ``minute_rate`` of an account in a
    minute.
    """

    depth: float
    trade: float
    mids: Floats
    volume: float
    second_rate: float
    minute_rate: float

    def sigma(self, horizon_s: float) -> float:
        """Return the standard deviation of the mid's log change over ``horizon_s``."""
        lag = max(1, round(horizon_s / _GRID_S))
        return float(np.std(self.mids[lag:] - self.mids[:-lag]))


def mids_of(frame: Frame, grid_ns: npt.NDArray[np.int64]) -> Floats:
    """Return the log mid in force at each time of ``grid_ns``, shape (n,); before the first quote, the first one's."""
    quotes = frame[frame.kind == Kind.QUOTE]
    at = np.maximum(np.searchsorted(quotes.ts_event, grid_ns, side="right") - 1, 0)
    return np.asarray(np.log((quotes.bid[at] + quotes.ask[at]) / 2), dtype=np.float64)


def measure(frame: Frame, orders: OrderFrame, open_ns: int, seconds: int) -> Units:
    """Return the units of one instrument, of a session without an event."""
    quotes, trades = frame[frame.kind == Kind.QUOTE], frame[frame.kind == Kind.TRADE]
    at_s = (orders.ts_event - open_ns) // SECOND_NS
    by_second = np.bincount(at_s)
    _, by_account = np.unique(orders.account * 10_000 + at_s // 60, return_counts=True)
    return Units(
        depth=float(np.median(np.concatenate([quotes.bid_size, quotes.ask_size]))),
        trade=float(np.median(trades.size)),
        mids=mids_of(frame, open_ns + np.arange(0, seconds, _GRID_S, dtype=np.int64) * SECOND_NS),
        volume=float(trades.size.sum() / seconds),
        second_rate=float(np.percentile(by_second[by_second > 0], 99)),
        minute_rate=float(np.percentile(by_account, 99)),
    )
