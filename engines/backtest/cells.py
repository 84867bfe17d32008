"""Cells: what a ranking is judged on, one instrument for one period.

    label window       before ├ start ────── end ┤ after
    its own cell       [ one period from the window's first moment )
    other cells        ──┤ 08:00 │ 09:00 │   touched: neither   │ 12:00 ├──   the clock's periods

Each label gives each of its instruments one cell that **is** a label's: a period from the first moment of the tested
range at which an alarm would be the label's. (One that names the market is the market's alone, however many
instruments it concerns.) Cells by the clock that no label's window touches are **not**. What is touched but no label's
own (the tail of a long window, or all of the window of a label whose onset lies outside the tested range) is left out:
an alarm there is the label's, and no second one. All cells are as long as
each other (a window shorter than a period cuts its cell), so that a detector which knows nothing has no better chance
in a label's, and its precision is the base rate. A cell counts where the instrument was heard of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import numpy.typing as npt

from engines.backtest.matching import Window
from engines.backtest.sweep import Moments
from engines.labels import Label
from schemas.topics import MARKET, NO_INSTRUMENTS

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
DAY_NS = 86_400 * 10**9
MINUTE_NS = 60 * 10**9
NOBODYS = -1


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """When something was heard of instruments: ``instrument`` (n,) numbers ``names``, ``ts`` (n,) int64 ns available.

    ``[from_ns, to_ns)`` is what is tested; what was heard outside of it is not in here.
    """

    names: tuple[str, ...]
    instrument: Ints
    ts: Ints
    from_ns: int
    to_ns: int
    _periods: dict[int, tuple[Ints, Ints]] = field(default_factory=dict, repr=False)

    def number(self) -> Mapping[str, int]:
        """Return each instrument's number."""
        return {name: number for number, name in enumerate(self.names)}

    def tested(self, ts: Ints) -> Bools:
        """Tell which times (n,) lie within what is tested."""
        return (ts >= self.from_ns) & (ts < self.to_ns)

    def periods(self, length_ns: int) -> tuple[Ints, Ints]:
        """Return the instrument and the beginning, ns, of each period by the clock in which it was heard of, sorted."""
        if length_ns not in self._periods:
            first = self.from_ns // length_ns
            span = self.to_ns // length_ns - first + 1
            keys = np.unique(self.instrument * span + (self.ts // length_ns - first))
            self._periods[length_ns] = keys // span, (keys % span + first) * length_ns
        return self._periods[length_ns]

    def instrument_days(self) -> Ints:
        """Return the beginning, ns, of each day on which an instrument was heard of, once an instrument.

        The market is none, nor are accounts.
        """
        instrument, start = self.periods(DAY_NS)
        days: Ints = start[are_instruments(instrument, self.number())]
        return days

    def stretches(self) -> tuple[Ints, Ints]:
        """Return the UTC days on which anything was heard, and how long (ns) from the first minute to the last."""
        day, of = np.unique(self.ts // DAY_NS, return_inverse=True)
        first, last = np.full(len(day), np.iinfo(np.int64).max), np.zeros(len(day), np.int64)
        np.minimum.at(first, of, self.ts // MINUTE_NS)
        np.maximum.at(last, of, self.ts // MINUTE_NS)
        return day, (last - first + 1) * MINUTE_NS

    def is_cut(self, day: Ints) -> Bools:
        """Tell which UTC days (n,) do not lie wholly within what is tested."""
        return (day * DAY_NS < self.from_ns) | ((day + 1) * DAY_NS > self.to_ns)


@dataclass(frozen=True, slots=True, eq=False)
class Spans:
    """Stretches ``[first, last]`` (both int64 ns, inclusive) of instruments, each some label's by its number."""

    instrument: Ints
    first: Ints
    last: Ints
    label: Ints

    def __len__(self) -> int:
        return len(self.label)


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Cells ``[first, last]`` of instruments; ``truth`` tells which are a label's. All of shape (n,)."""

    instrument: Ints
    first: Ints
    last: Ints
    truth: Bools

    def __len__(self) -> int:
        return len(self.truth)


def spans(labels: Sequence[Label], window: Window, number: Mapping[str, int]) -> Spans:
    """Return where alarms are labels', an instrument each, of instruments that are known."""
    rows = [
        (number[name], *window.of(label), at)
        for at, label in enumerate(labels)
        for name in dict.fromkeys(label.instruments)
        if name in number
    ]
    return Spans(*np.array(rows, np.int64).reshape(-1, 4).T)


def joined(one: Spans, other: Spans) -> Spans:
    """Return the spans of both; those of the other are no label's."""
    return Spans(
        np.concatenate([one.instrument, other.instrument]),
        np.concatenate([one.first, other.first]),
        np.concatenate([one.last, other.last]),
        np.concatenate([one.label, np.full(len(other), NOBODYS)]),
    )


def are_instruments(instrument: Ints, number: Mapping[str, int]) -> Bools:
    """Tell which of these numbers are instruments', and not those of the market or of accounts."""
    return np.isin(instrument, [number[name] for name in NO_INSTRUMENTS if name in number], invert=True)


def own_spans(labels: Sequence[Label], window: Window, number: Mapping[str, int]) -> Spans:
    """Return the spans that a label's cells come from: all of them, of a label that names the market the market's."""
    told = [
        msgspec.structs.replace(label, instruments=[MARKET])
        if MARKET in number and MARKET in label.instruments
        else label
        for label in labels
    ]
    return spans(told, window, number)


def cells(heard: Heard, windows: Spans, own: Spans, length_ns: int) -> Cells:
    """Return the cells of a tested range: the labels' own first, in their order.

    Parameters
    ----------
    windows
        Where alarms are a label's, one's outside of the tested range too.
    own
        What `own_spans` returns.
    """
    instrument, start = heard.periods(length_ns)
    touched = _touched(instrument, start, length_ns, windows)
    instrument, start = instrument[~touched], start[~touched]
    # Of a label that began before the tested range the cell begins with the range: none of it is lost.
    own_first = np.maximum(own.first, heard.from_ns)
    own_last = np.minimum(own.last, own_first + length_ns - 1)
    return Cells(
        np.concatenate([own.instrument, instrument]),
        np.maximum(np.concatenate([own_first, start]), heard.from_ns),
        np.minimum(np.concatenate([own_last, start + length_ns - 1]), heard.to_ns - 1),
        np.concatenate([np.ones(len(own), np.bool_), np.zeros(len(instrument), np.bool_)]),
    )


def days(heard: Heard, own: Spans, aside: Spans) -> tuple[Cells, Ints]:
    """Return instrument-days, true where a label's own span touches one, and the number of each one's day.

    Those that none touches but one ``aside``, of a label outside of the tested range, are left out.
    """
    instrument, start = heard.periods(DAY_NS)
    truth = _touched(instrument, start, DAY_NS, own)
    kept = truth | ~_touched(instrument, start, DAY_NS, aside)
    instrument, start, truth = instrument[kept], start[kept], truth[kept]
    first, last = np.maximum(start, heard.from_ns), np.minimum(start + DAY_NS, heard.to_ns) - 1
    return Cells(instrument, first, last, truth), start // DAY_NS


def highest(cells: Cells, moments: Moments) -> Floats:
    """Return the highest score that was known in each cell (n,), 0 where none was."""
    order = np.lexsort((moments.ts_available, moments.instrument))
    instrument, ts = moments.instrument[order], moments.ts_available[order]
    # One more for ranges that begin at the end.
    score = np.append(moments.score[order], 0.0)
    low = places(instrument, ts, cells.instrument, cells.first, "left")
    high = places(instrument, ts, cells.instrument, cells.last, "right")
    if not len(cells):
        return np.empty(0)
    found = np.maximum.reduceat(score, np.stack([low, high], 1).ravel())[::2]
    return np.where(low < high, found, 0.0)


def places(instrument: Ints, ts: Ints, of: Ints, at: Ints, side: str) -> Ints:
    """Return where times ``at`` of instruments ``of`` (m,) belong among ``ts`` (n,), sorted within ``instrument``."""
    found = np.empty(len(of), np.int64)
    if not len(of):
        return found
    order = np.argsort(of, kind="stable")
    asked, starts = np.unique(of[order], return_index=True)
    ends = np.append(starts[1:], len(of))
    lows, highs = np.searchsorted(instrument, asked), np.searchsorted(instrument, asked, "right")
    for start, end, low, high in zip(starts, ends, lows.tolist(), highs.tolist(), strict=True):
        mine = order[start:end]
        found[mine] = low + np.searchsorted(ts[low:high], at[mine], "left" if side == "left" else "right")
    return found


def within(windows: Spans, instrument: Ints, ts: Ints) -> Bools:
    """Tell which alarms (n,) lie in any window."""
    by_first = np.lexsort((windows.first, windows.instrument))
    by_last = np.lexsort((windows.last, windows.instrument))
    begun = places(windows.instrument[by_first], windows.first[by_first], instrument, ts, "right")
    ended = places(windows.instrument[by_last], windows.last[by_last], instrument, ts, "left")
    return begun > ended


def _touched(instrument: Ints, start: Ints, length_ns: int, windows: Spans) -> Bools:
    """Tell which periods ``[start, start + length_ns)``, sorted within instruments, a window touches."""
    low = places(instrument, start, windows.instrument, windows.first - length_ns + 1, "left")
    high = places(instrument, start, windows.instrument, windows.last, "right")
    # +1 where a window's periods begin, -1 behind them.
    steps = np.bincount(low, minlength=len(start) + 1) - np.bincount(high, minlength=len(start) + 1)
    return np.cumsum(steps)[: len(start)] > 0
