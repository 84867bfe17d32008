"""Price and volume of a recording's instruments as bars, few enough to be drawn: frames in, columns out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitor.recordings import Message
from monitor.report.sources import usable
from schemas.frames import Frame, Kind

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Bars of an instrument that are drawn at most.
MOST_BARS = 2_000
#: Cells into which the range is cut first; where few are traded in (nights, weekends), bars are narrower.
CELLS = 32_768
SECOND_NS = 10**9
#: Widths that a bar may have, ns; a cell's is one of them.
WIDTHS_NS = tuple(
    s * SECOND_NS
    for s in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400, 604_800)
)


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars of one instrument, ``width_ns`` wide, those with a trade only; every column has shape (bar,).

    ``start`` is int64 ns UTC, ``low``, ``high`` and ``close`` are in quote currency, ``volume`` in units. Where
    ``quoted``, nothing was traded: prices are mid quotes, and the volume is 0.
    """

    width_ns: int
    start: Ints
    low: Floats
    high: Floats
    close: Floats
    volume: Floats
    quoted: bool = False

    def __len__(self) -> int:
        return len(self.start)

    def price_at(self, ts: int) -> float | None:
        """Return the close of the bar that holds ``ts`` (int64 ns UTC), of the last one before it, or of the first."""
        if not len(self):
            return None
        return float(self.close[max(0, int(np.searchsorted(self.start, ts, "right")) - 1)])


#: Rows that wait before they are put into cells: one pass over many costs little more than one over few.
BATCH = 200_000


class _Cells:
    """Prices and volumes of one instrument, cell by cell, while frames come."""

    def __init__(self, count: int) -> None:
        self.low = np.full(count, np.inf)
        self.high = np.full(count, -np.inf)
        self.close = np.full(count, np.nan)
        self.closed = np.full(count, np.iinfo(np.int64).min)
        self.volume = np.zeros(count)
        self._waiting: list[tuple[Ints, Ints, Floats, Floats]] = []
        self._rows = 0

    def add(self, cell: Ints, ts: Ints, price: Floats, size: Floats) -> None:
        self._waiting.append((cell, ts, price, size))
        self._rows += len(cell)
        if self._rows >= BATCH:
            self.settle()

    def settle(self) -> None:
        """Put what waits into its cells."""
        if not self._rows:
            return
        cell, ts, price, size = (np.concatenate(column) for column in zip(*self._waiting, strict=True))
        self._waiting, self._rows = [], 0
        np.minimum.at(self.low, cell, price)
        np.maximum.at(self.high, cell, price)
        np.add.at(self.volume, cell, size)
        # The last of a cell's rows closes it, unless an earlier batch held a later one.
        order = np.lexsort((ts, cell))
        last = order[np.append(np.flatnonzero(np.diff(cell[order])), len(order) - 1)]
        newer = last[ts[last] >= self.closed[cell[last]]]
        self.close[cell[newer]], self.closed[cell[newer]] = price[newer], ts[newer]


def gather(messages: Iterable[Message], instruments: Sequence[str], from_ns: int, to_ns: int) -> dict[str, Bars]:
    """Return bars of ``instruments`` between two times, at most `MOST_BARS` of each.

    Parameters
    ----------
    messages
        Those of the topic ``frames``; others' frames are not even decoded.
    from_ns, to_ns
        Half-open range of ``ts_event``, int64 ns UTC.

    Returns
    -------
    An entry for each instrument of which anything was traded or quoted.
    """
    step_ns = next((width for width in WIDTHS_NS if (to_ns - from_ns) // width < CELLS), WIDTHS_NS[-1])
    first_ns = from_ns - from_ns % step_ns
    count = max(1, -(-(to_ns - first_ns) // step_ns))
    wanted = {name.encode() for name in instruments}
    traded: dict[str, _Cells] = {}
    quoted: dict[str, _Cells] = {}
    for _, frame in usable((m for m in messages if m.key in wanted), Frame):
        ts, name = frame.ts_event, frame.instrument
        rows = np.flatnonzero((frame.kind == Kind.TRADE) & (ts >= first_ns) & (ts < to_ns))
        if len(rows):
            held = traded.get(name) or traded.setdefault(name, _Cells(count))
            held.add((ts[rows] - first_ns) // step_ns, ts[rows], frame.price[rows], frame.size[rows])
        if name in traded:
            continue
        rows = np.flatnonzero((frame.kind == Kind.QUOTE) & (ts >= first_ns) & (ts < to_ns))
        if len(rows):
            held = quoted.get(name) or quoted.setdefault(name, _Cells(count))
            middle = (frame.bid[rows] + frame.ask[rows]) / 2
            held.add((ts[rows] - first_ns) // step_ns, ts[rows], middle, np.zeros(len(rows)))
    return {
        name: _bars(traded.get(name) or quoted[name], first_ns, step_ns, name not in traded)
        for name in instruments
        if name in traded or name in quoted
    }


def _bars(cells: _Cells, first_ns: int, step_ns: int, quoted: bool) -> Bars:
    cells.settle()
    at = np.flatnonzero(np.isfinite(cells.close))  # (cell,)
    start = first_ns + at * step_ns
    widths = [width for width in WIDTHS_NS if width % step_ns == 0]
    for width_ns in widths:
        bins = start // width_ns
        edges = np.append(0, np.flatnonzero(np.diff(bins)) + 1)  # (bar,)
        if len(edges) <= MOST_BARS or width_ns == widths[-1]:
            break
    return Bars(
        width_ns,
        bins[edges] * width_ns,
        np.minimum.reduceat(cells.low[at], edges),
        np.maximum.reduceat(cells.high[at], edges),
        cells.close[at][np.append(edges[1:], len(at)) - 1],
        np.add.reduceat(cells.volume[at], edges),
        quoted,
    )
