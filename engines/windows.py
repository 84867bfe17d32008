"""Windows of ticks: time, tick and volume bars, in event time, half-open, with grace.

A windower is an immutable `BarSpec` and the `Windows` of one instrument: the bars that are still open and a ring of
the last closed ones. Sums are carried in tick order (``np.add.accumulate``), so that every framing of the same ticks
gives the same bits.

```
width 5 s, grace 5 s        closes when a tick at or beyond 15 s arrives
|  bar 0  |  bar 1  |  bar 2  |
0         5        10        15
          ^ late ticks of bar 0 are still taken until then; afterwards they are counted, not scored
```
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from schemas.frames import Frame, Kind

#: Sums that a bar carries. The last four are only touched by frames with quotes.
SUMS = (
    "volume",  # units
    "notional",  # price x size
    "buy_notional",  # where the aggressor bought
    "sell_notional",
    "square_return",  # sum of squared tick returns: realised variance
    "trades",
    "orders",  # trades whose ts_event differs from the trade before: one aggressive order each
    "quotes",
    "spread",  # sum of (ask - bid) / mid
    "depth",  # sum of bid_size + ask_size
    "lean",  # sum of (bid_size - ask_size) / (bid_size + ask_size)
)
VOLUME, NOTIONAL, BUY, SELL, SQUARE, TRADES, ORDERS, QUOTES, SPREAD, DEPTH, LEAN = range(len(SUMS))
TRADE_SUMS = QUOTES
_QUOTE = int(Kind.QUOTE)  # as a plain number: looking a member of an enum up takes longer than the comparison
RING = 64
#: Whole bars that a lateness may span: so many stand open at once, and the two that are being filled.
GRACE_BARS = 6

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class BarSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Which bars are built: ``kind`` picks ``width_ns`` (time), ``ticks`` (a count) or ``volume`` (units).

    ``grace_ns`` is the allowed lateness, for time bars a multiple of the width; a bar without a successor closes when
    the clock is ``idle_grace_ns`` past that.
    """

    kind: Literal["time", "ticks", "volume"] = "time"
    width_ns: int = 5_000_000_000
    ticks: int = 100
    volume: float = 0.0
    grace_ns: int = 5_000_000_000
    idle_grace_ns: int = 5_000_000_000

    def __post_init__(self) -> None:
        if self.kind == "time" and not (self.width_ns > 0 and 0 <= self.grace_ns // self.width_ns <= GRACE_BARS):
            raise ValueError(
                f"grace_ns: expected 0 to {GRACE_BARS} widths of {self.width_ns} ns, found {self.grace_ns}"
            )
        if self.kind == "time" and self.grace_ns % self.width_ns:
            raise ValueError(f"grace_ns: expected a multiple of width_ns {self.width_ns}, found {self.grace_ns}")
        if self.kind == "ticks" and self.ticks < 1:
            raise ValueError(f"ticks: expected at least 1, found {self.ticks}")
        if self.kind == "volume" and not self.volume > 0:
            raise ValueError(f"volume: expected more than 0 units, found {self.volume}")


@dataclass(slots=True, eq=False)
class OpenBar:
    """A bar that still takes ticks: ``start`` and ``end`` int64 ns (``end`` of tick and volume bars grows)."""

    start: int
    end: int
    open: float = np.nan
    high: float = -np.inf
    low: float = np.inf
    close: float = np.nan
    jump: float = 0.0  # largest statistic of `engines.anomaly` among its ticks
    sums: list[float] = field(default_factory=lambda: [0.0] * len(SUMS))


@dataclass(slots=True, eq=False)
class Windows:
    """Bars of one instrument.

    ``closed`` holds the end (int64 ns), taker-buy notional and orders of the last `RING` closed bars, oldest first.
    Before ``closed_until`` (ns) no bar is open any more; ``newest`` is the largest ts_event so far.
    """

    open: list[OpenBar] = field(default_factory=list)
    closed: deque[tuple[int, float, float]] = field(default_factory=lambda: deque(maxlen=RING))
    closed_until: int = 0
    newest: int = 0

    def keep(self, bar: OpenBar) -> None:
        """Put a closed bar into the ring."""
        self.closed.append((bar.end, bar.sums[BUY], bar.sums[ORDERS]))

    def before(self, bar: OpenBar, window_ns: int) -> tuple[float, float]:
        """Return taker-buy notional and orders of the bars that end in ``(bar.start - window_ns, bar.start]``."""
        since = bar.start - window_ns
        bought, orders = 0.0, 0.0
        for end, money, count in reversed(self.closed):
            if end <= since:
                break
            bought += money
            orders += count
        for other in self.open:
            if other.start < bar.start and other.end > since:
                bought += other.sums[BUY]
                orders += other.sums[ORDERS]
        return bought, orders

    def bar_at(self, spec: BarSpec, ts: int) -> OpenBar:
        """Return the open bar that takes a tick at ``ts`` (int64 ns), opening it where needed."""
        if spec.kind != "time":
            if not self.open:
                self.open.append(OpenBar(ts, ts + 1))
            bar = self.open[0]
            bar.end = max(bar.end, ts + 1)
            return bar
        start = ts - ts % spec.width_ns
        at = len(self.open)
        while at and self.open[at - 1].start >= start:
            at -= 1
            if self.open[at].start == start:
                return self.open[at]
        bar = OpenBar(start, start + spec.width_ns)
        self.open.insert(at, bar)
        return bar

    def due(self, spec: BarSpec, watermark: int) -> list[OpenBar]:
        """Take out and return the time bars that end at or before ``watermark`` (int64 ns), oldest first."""
        if spec.kind != "time" or not self.open or self.open[0].end > watermark:
            return []
        ready = [bar for bar in self.open if bar.end <= watermark]
        self.open = self.open[len(ready) :]
        return ready


def segments(spec: BarSpec, windows: Windows, ts: Ints, size: Floats, trades: Floats) -> list[int]:
    """Return where each bar's run of ticks begins, and at last n, for ticks (n,) in order of ts_event.

    ``size`` (units) counts for volume bars, ``trades`` (1 for a trade, else 0) for tick bars: a bar is full with the
    tick that brings it there.
    """
    n = len(ts)
    if spec.kind == "time":
        if ts.item(0) // spec.width_ns == ts.item(-1) // spec.width_ns:
            return [0, n]
        bins = ts // spec.width_ns
        return [0, *(np.flatnonzero(bins[1:] != bins[:-1]) + 1).tolist(), n]
    amount, target, column = (trades, spec.ticks, TRADES) if spec.kind == "ticks" else (size, spec.volume, VOLUME)
    bounds, carried = [0], windows.open[0].sums[column] if windows.open else 0.0
    while True:
        part = amount[bounds[-1] :].copy()
        part[0] += carried
        full = np.flatnonzero(np.add.accumulate(part) >= target)
        if not len(full) or bounds[-1] + int(full[0]) + 1 >= n:
            return [*bounds, n]
        bounds.append(bounds[-1] + int(full[0]) + 1)
        carried = 0.0


def is_full(spec: BarSpec, bar: OpenBar) -> bool:
    """Say whether a tick or volume bar has all that it takes."""
    if spec.kind == "ticks":
        return bar.sums[TRADES] >= spec.ticks
    return spec.kind == "volume" and bar.sums[VOLUME] >= spec.volume


def summands(frame: Frame, trade: Mask | None, last_price: float, last_ts: int) -> Floats:
    """Return what each row adds to its bar's sums, float64 of shape (sums, n).

    ``trade`` masks the trades, None where all rows are; ``last_price`` and ``last_ts`` are of the trade before, or 0.
    """
    if trade is None:
        return _of_trades(frame.price, frame.size, frame.side, frame.ts_event, last_price, last_ts)
    sums = np.zeros((len(SUMS), len(frame)))
    rows = trade.nonzero()[0]
    if len(rows):
        price, size, side = frame.price.take(rows), frame.size.take(rows), frame.side.take(rows)
        sums[:TRADE_SUMS, rows] = _of_trades(price, size, side, frame.ts_event.take(rows), last_price, last_ts)
    rows = (frame.kind == _QUOTE).nonzero()[0]
    if len(rows):
        bid, ask = frame.bid.take(rows), frame.ask.take(rows)
        bid_size, ask_size = frame.bid_size.take(rows), frame.ask_size.take(rows)
        depth = np.maximum(bid_size, 0.0) + np.maximum(ask_size, 0.0)
        lean = (bid_size - ask_size) / np.where(depth > 0.0, depth, np.inf)
        sums[QUOTES:, rows] = np.ones(len(rows)), (ask - bid) / (0.5 * (ask + bid)), depth, lean
    return sums


def _of_trades(
    price: Floats, size: Floats, side: npt.NDArray[np.int8], ts: Ints, last_price: float, last_ts: int
) -> Floats:
    sums = np.empty((TRADE_SUMS, len(price)))
    sums[VOLUME] = size
    notional = np.multiply(price, size, out=sums[NOTIONAL])
    np.multiply(notional, side > 0, out=sums[BUY])
    np.multiply(notional, side < 0, out=sums[SELL])
    move = sums[SQUARE]
    np.divide(price[1:], price[:-1], out=move[1:])
    move[0] = price[0] / last_price if last_price else 1.0
    move -= 1.0
    move *= move
    sums[TRADES] = 1.0
    np.not_equal(ts[1:], ts[:-1], out=sums[ORDERS, 1:])
    sums[ORDERS, 0] = ts[0] != last_ts
    return sums


def extremes(price: Floats, mask: Mask | None, bounds: list[int]) -> tuple[list[float], list[float]]:
    """Return the highest and lowest price of each segment among the rows in ``mask``; (-inf, inf) where none is."""
    if len(bounds) == 2 and mask is None:
        return [float(price.max())], [float(price.min())]
    starts = bounds[:-1]
    highs = price if mask is None else np.where(mask, price, -np.inf)
    lows = price if mask is None else np.where(mask, price, np.inf)
    return np.maximum.reduceat(highs, starts).tolist(), np.minimum.reduceat(lows, starts).tolist()
