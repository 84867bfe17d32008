"""Packing single ticks into frames, and knowing which ticks have been delivered. No Kafka, no clock in here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from schemas.frames import DTYPES, Frame, Kind, trade_number
from schemas.records import BookUpdate, Cancel, Correction, Quote, Status, Tick, Trade

#: How long the pace of an instrument without ticks is kept, and for how many instruments it is kept in any case.
PACE_S = 300.0
PACES = 1_000

_NAN = float("nan")
_SIDES = {"buy": 1, "sell": -1, "unknown": 0}

_TRADE, _QUOTE, _BOOK, _CORRECTION, _CANCEL, _HALT, _RESUME = (int(kind) for kind in Kind)

# One function a type: a row in the order of `schemas.frames.FIELDS`, of a tick and its source_offset.
_ROWS: dict[type, Callable[[Any, int], tuple[float, ...]]] = {
    Trade: lambda t, at: (
        t.ts_event, t.ts_available, _TRADE, _SIDES[t.side], t.price, t.size,
        _NAN, _NAN, _NAN, _NAN, trade_number(t.trade_id), at,
    ),
    Quote: lambda t, at: (
        t.ts_event, t.ts_available, _QUOTE, 0, _NAN, _NAN, t.bid, t.ask, t.bid_size, t.ask_size, 0, at,
    ),
    BookUpdate: lambda t, at: (
        t.ts_event, t.ts_available, _BOOK, _SIDES[t.side], t.price, t.size, _NAN, _NAN, _NAN, _NAN, 0, at,
    ),
    Correction: lambda t, at: (
        t.ts_event, t.ts_available, _CORRECTION, 0, t.price, t.size,
        t.original_price, _NAN, t.original_size, _NAN, trade_number(t.trade_id), at,
    ),
    Cancel: lambda t, at: (
        t.ts_event, t.ts_available, _CANCEL, 0, t.price, t.size, _NAN, _NAN, _NAN, _NAN, trade_number(t.trade_id), at,
    ),
    Status: lambda t, at: (
        t.ts_event, t.ts_available, _HALT if t.status == "halted" else _RESUME, 0,
        _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, 0, at,
    ),
}  # fmt: skip


class OpenFrame:
    """Ticks of one instrument from one partition, until they are a frame.

    ``opened_s`` is the (monotonic) time of its first tick; ``first_offset`` that tick's offset.
    """

    __slots__ = ("first_offset", "instrument", "opened_s", "rows")

    def __init__(self, instrument: str, opened_s: float, first_offset: int) -> None:
        self.instrument = instrument
        self.opened_s = opened_s
        self.first_offset = first_offset
        self.rows: list[tuple[float, ...]] = []

    def add(self, tick: Tick, source_offset: int) -> int:
        """Append a tick; return how many there are. ``source_offset`` -1: not to be told from others by it."""
        rows = self.rows
        rows.append(_ROWS[type(tick)](tick, source_offset))
        return len(rows)

    def close(self) -> Frame:
        """Return the frame of all ticks so far, in their order."""
        columns = zip(DTYPES.items(), zip(*self.rows, strict=True), strict=True)
        return Frame(self.instrument, **{name: np.array(values, dtype) for (name, dtype), values in columns})


class Wait(NamedTuple):
    """How long an open frame waits for more ticks, s: where few are to be expected, and where many are."""

    quiet_s: float
    busy_s: float


class Packer:
    """The open frames of one partition of ticks.

    Parameters
    ----------
    max_ticks: how many ticks close a frame.
    busy_gap_s: instruments whose ticks follow one another so closely, or closer, count as busy.
    """

    def __init__(self, max_ticks: int, busy_gap_s: float) -> None:
        self._max_ticks = max_ticks
        self._busy_gap_s = busy_gap_s
        # In the order in which they were opened: the oldest comes first.
        self._quiet: dict[str, OpenFrame] = {}
        self._busy: dict[str, OpenFrame] = {}
        self._pace: dict[str, _Pace] = {}
        self._most_paces = PACES

    def add(self, tick: Tick, offset: int, now_s: float, source_offset: int) -> OpenFrame | None:
        """Take a tick in; return its frame if that is now full."""
        name = tick.instrument
        frame = self._quiet.get(name) or self._busy.get(name)
        if frame is None:
            pace = self._pace.get(name)
            if pace is None:
                self._forget(now_s)
                pace = self._pace[name] = _Pace()
            frames = self._busy if pace.open(now_s) <= self._busy_gap_s else self._quiet
            frame = frames[name] = OpenFrame(name, now_s, offset)
        if frame.add(tick, source_offset) >= self._max_ticks:
            return self._close(self._busy if name in self._busy else self._quiet, frame)
        return None

    def take_older(self, now_s: float, wait: Wait) -> Iterator[OpenFrame]:
        """Yield the frames that have waited, of each kind the oldest first; each counts as open until it is yielded."""
        for frames, wait_s in ((self._quiet, wait.quiet_s), (self._busy, wait.busy_s)):
            while (oldest := next(iter(frames.values()), None)) is not None and oldest.opened_s + wait_s <= now_s:
                yield self._close(frames, oldest)

    def due_s(self, wait: Wait) -> float | None:
        """Return when the next open frame will have waited; None where none is open."""
        oldest = ((next(iter(self._quiet.values()), None), wait.quiet_s),
                  (next(iter(self._busy.values()), None), wait.busy_s))  # fmt: skip
        return min((frame.opened_s + wait_s for frame, wait_s in oldest if frame is not None), default=None)

    def first_offsets(self) -> Iterable[int]:
        """Return the first offset of every open frame."""
        return (frame.first_offset for frames in (self._quiet, self._busy) for frame in frames.values())

    def _forget(self, now_s: float) -> None:
        """Once there are twice as many paces as were kept last, drop those of instruments without a frame lately."""
        if len(self._pace) < self._most_paces:
            return
        kept = self._quiet.keys() | self._busy.keys()
        self._pace = {n: pace for n, pace in self._pace.items() if pace.opened_s + PACE_S > now_s or n in kept}
        self._most_paces = max(PACES, 2 * len(self._pace))

    def _close(self, frames: dict[str, OpenFrame], frame: OpenFrame) -> OpenFrame:
        self._pace[frame.instrument].ticks = len(frame.rows)
        return frames.pop(frame.instrument)


class _Pace:
    """How closely an instrument's ticks follow one another: an average over its latest frames."""

    __slots__ = ("gap_s", "opened_s", "ticks")

    def __init__(self) -> None:
        self.gap_s = self.opened_s = -1.0
        self.ticks = 0

    def open(self, now_s: float) -> float:
        """Note that a frame opens, and return the usual gap, s; infinity where none is known."""
        if self.ticks:
            gap_s = (now_s - self.opened_s) / self.ticks
            self.gap_s = gap_s if self.gap_s < 0.0 else 0.7 * self.gap_s + 0.3 * gap_s
        self.opened_s = now_s
        return self.gap_s if self.gap_s >= 0.0 else float("inf")


class Ledger:
    """What of one partition is on its way, so that no more is committed than has been delivered.

    Offsets: ``position`` is the next one to read.
    """

    def __init__(self) -> None:
        self.position = 0
        self._next = 0
        self._under_way: dict[int, int] = {}

    def sent(self, first_offset: int) -> int:
        """Note that something resting on ``first_offset`` was sent; return the ticket for `delivered`."""
        self._next += 1
        self._under_way[self._next] = first_offset
        return self._next

    def delivered(self, ticket: int) -> None:
        """Note that the broker has it."""
        del self._under_way[ticket]

    def committable(self, open_offsets: Iterable[int] = ()) -> int:
        """Return the offset before which all has been delivered, where frames open at ``open_offsets`` have not."""
        return min(self.position, *self._under_way.values(), *open_offsets, self.position)


class Partition:
    """What the gateway keeps for one partition of its input, read from ``start`` on.

    ``committed`` is the last committed offset. What lies before ``start`` needs no commit: reading began behind it.
    """

    def __init__(self, max_ticks: int, busy_gap_s: float, start: int) -> None:
        self.packer = Packer(max_ticks, busy_gap_s)
        self.ledger = Ledger()
        self.ledger.position = self.committed = start

    def committable(self) -> int:
        """Return the offset up to which all has been delivered."""
        return self.ledger.committable(self.packer.first_offsets())
