"""Packing single ticks into frames, and knowing which ticks have been delivered. No Kafka, no clock in here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from schemas.frames import DTYPES, Frame, Kind, trade_number
from schemas.records import BookUpdate, Cancel, Correction, Quote, Status, Tick, Trade

_NAN = float("nan")
_SIDES = {"buy": 1, "sell": -1, "unknown": 0}

# One function a type: a row in the order of `schemas.frames.FIELDS`, but for source_offset.
_ROWS: dict[type, Callable[[Any], tuple[float, ...]]] = {
    Trade: lambda t: (
        t.ts_event, t.ts_available, Kind.TRADE.value, _SIDES[t.side], t.price, t.size,
        _NAN, _NAN, _NAN, _NAN, trade_number(t.trade_id),
    ),
    Quote: lambda t: (
        t.ts_event, t.ts_available, Kind.QUOTE.value, 0, _NAN, _NAN, t.bid, t.ask, t.bid_size, t.ask_size, 0,
    ),
    BookUpdate: lambda t: (
        t.ts_event, t.ts_available, Kind.BOOK.value, _SIDES[t.side], t.price, t.size, _NAN, _NAN, _NAN, _NAN, 0,
    ),
    Correction: lambda t: (
        t.ts_event, t.ts_available, Kind.CORRECTION.value, 0, t.price, t.size,
        t.original_price, _NAN, t.original_size, _NAN, trade_number(t.trade_id),
    ),
    Cancel: lambda t: (
        t.ts_event, t.ts_available, Kind.CANCEL.value, 0, t.price, t.size, _NAN, _NAN, _NAN, _NAN,
        trade_number(t.trade_id),
    ),
    Status: lambda t: (
        t.ts_event, t.ts_available, (Kind.HALT if t.status == "halted" else Kind.RESUME).value, 0,
        _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, 0,
    ),
}  # fmt: skip


class OpenFrame:
    """Ticks of one instrument from one partition, until they are a frame.

    ``opened_s`` is the (monotonic) time of its first tick; ``first_offset`` that tick's offset.
    """

    __slots__ = ("first_offset", "instrument", "offsets", "opened_s", "rows")

    def __init__(self, instrument: str, opened_s: float, first_offset: int) -> None:
        self.instrument = instrument
        self.opened_s = opened_s
        self.first_offset = first_offset
        self.rows: list[tuple[float, ...]] = []
        self.offsets: list[int] = []

    def __len__(self) -> int:
        return len(self.offsets)

    def add(self, tick: Tick, offset: int) -> None:
        """Append a tick that stands at ``offset`` of its topic (-1: not to be told from others by it)."""
        self.rows.append(_ROWS[type(tick)](tick))
        self.offsets.append(offset)

    def close(self) -> Frame:
        """Return the frame of all ticks so far, in their order."""
        columns = dict(zip(DTYPES, zip(*self.rows, strict=True)))  # noqa: B905 - source_offset follows
        arrays = {name: np.array(values, DTYPES[name]) for name, values in columns.items()}
        return Frame(self.instrument, **arrays, source_offset=np.array(self.offsets, np.int64))


class Packer:
    """The open frames of one partition of ticks.

    Parameters
    ----------
    max_ticks: how many ticks close a frame.
    """

    def __init__(self, max_ticks: int) -> None:
        self._max_ticks = max_ticks
        # In the order in which they were opened: the oldest comes first.
        self._open: dict[str, OpenFrame] = {}

    def add(self, tick: Tick, offset: int, now_s: float, source_offset: int) -> OpenFrame | None:
        """Take a tick in; return its frame if that is now full."""
        frame = self._open.get(tick.instrument)
        if frame is None:
            frame = self._open[tick.instrument] = OpenFrame(tick.instrument, now_s, offset)
        frame.add(tick, source_offset)
        if len(frame.offsets) >= self._max_ticks:
            return self._open.pop(tick.instrument)
        return None

    def take_older(self, opened_before_s: float) -> Iterator[OpenFrame]:
        """Yield the frames opened at or before that time, the oldest first; each counts as open until it is yielded."""
        while (oldest := next(iter(self._open.values()), None)) is not None and oldest.opened_s <= opened_before_s:
            yield self._open.pop(oldest.instrument)

    @property
    def oldest_s(self) -> float | None:
        """When the oldest open frame was opened; None where none is open."""
        return next((frame.opened_s for frame in self._open.values()), None)

    def first_offsets(self) -> Iterable[int]:
        """Return the first offset of every open frame."""
        return (frame.first_offset for frame in self._open.values())


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

    @property
    def pending(self) -> int:
        """How many sendings are under way."""
        return len(self._under_way)

    def committable(self, open_offsets: Iterable[int] = ()) -> int:
        """Return the offset before which all has been delivered, where frames open at ``open_offsets`` have not."""
        return min(self.position, *self._under_way.values(), *open_offsets, self.position)
