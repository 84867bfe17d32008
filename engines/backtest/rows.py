"""NAB's score of alarms that ring at instruments and times, not at rows of a table.

Each instrument is a series of its own from the first period in which it was heard of to the last, a row being a
sixtieth of a cell; its windows are those in which an alarm is a label's (those that overlap are one; of a label that
names the market, the market's alone, and its alarms elsewhere neither earn nor cost). All else is the benchmark's: the
standard profile's weights, and its probation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engines.backtest import nab
from engines.backtest.cells import Heard, Spans, within

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
ROWS_PER_CELL = 60


class Part(NamedTuple):
    """What one instrument brings: of windows and of alarms outside, when they were (ns) and what they came to."""

    window_ns: Ints
    won: Floats
    outside_ns: Ints
    lost: Floats


class NabRows:
    """The series of every instrument that was heard of, and what alarms in them earn."""

    def __init__(self, heard: Heard, windows: Spans, own: Spans, cell_ns: int) -> None:
        self._windows, self._own = windows, own
        self._row_ns = max(1, cell_ns // ROWS_PER_CELL)
        instrument, start = heard.periods(cell_ns)
        known, first = np.unique(instrument, return_index=True)
        last = np.append(first[1:], len(instrument)) - 1
        self._start_ns = np.zeros(len(heard.names), np.int64)
        self._rows = np.ones(len(heard.names), np.int64)
        self._start_ns[known] = start[first]
        self._rows[known] = (start[last] + cell_ns - start[first]) // self._row_ns
        self._probation = np.array([nab.probation(rows) for rows in self._rows.tolist()], np.int64)
        self._marks = {number: self._marked(number, own) for number in np.unique(own.instrument).tolist()}

    def _marked(self, number: int, windows: Spans) -> nab.Marks:
        of = windows.instrument == number
        first, last = self._row(number, windows.first[of]), self._row(number, windows.last[of])
        return nab.mark(int(self._rows[number]), _merged(first, last))

    def _row(self, number: int | Ints, ts: Ints) -> Ints:
        row = (ts - self._start_ns[number]) // self._row_ns
        return np.asarray(np.minimum(np.maximum(row, 0), self._rows[number] - 1), np.int64)

    def parts(self, instrument: Ints, ts: Ints) -> list[Part]:
        """Return what alarms (n,) came to: the instruments with windows one by one, then all others together."""
        counts = within(self._own, instrument, ts) | ~within(self._windows, instrument, ts)
        instrument, ts = instrument[counts], ts[counts]
        order = np.argsort(instrument, kind="stable")
        sorted_ = instrument[order]
        found = []
        plain = np.ones(len(ts), np.bool_)
        for number, marks in self._marks.items():
            mine = order[slice(*np.searchsorted(sorted_, [number, number + 1]))]
            plain[mine] = False
            earned = nab.earned(marks, self._row(number, ts[mine]))
            found.append(
                Part(
                    self._start_ns[number] + earned.window * self._row_ns,
                    earned.won,
                    self._start_ns[number] + earned.outside * self._row_ns,
                    earned.lost,
                )
            )
        of, at = instrument[plain], ts[plain]
        scored = self._row(of, at) >= self._probation[of]
        nobody = np.empty(0, np.int64)
        return [*found, Part(nobody, np.empty(0), at[scored], np.full(int(scored.sum()), -nab.FALSE_POSITIVE))]

    def score(self, instrument: Ints, ts: Ints) -> float:
        """Return NAB's score, NaN where no window counts."""
        parts = self.parts(instrument, ts)
        windows = sum(len(part.won) for part in parts)
        raw = sum(float(part.won.sum() + part.lost.sum()) for part in parts)
        return nab.normalised(raw, windows) if windows else float("nan")


def _merged(first: Ints, last: Ints) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for low, high in sorted(zip(first.tolist(), last.tolist(), strict=True)):
        if found and low <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return found
