"""Binance's raw stream of BTCUSDT as a collector received it → frames of trades, quotes and book updates.

Input: ``*.gz``, lines of ``local_timestamp`` (ns) and the venue's JSON. ``ts_available`` is the collector's clock,
``ts_event`` the venue's (T of a trade, E of a depth update, ms). The two clocks differ: in the file at hand the venue's
is 1.26 s ahead, which is kept, since a monitor sees the same of a live feed. The best bid and offer and the snapshot of
the book carry no venue time; they get the collector's plus the file's median difference, so that one instrument's rows
stand on one clock.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from statistics import median

import msgspec
import numpy as np

from monitor.converters.conversion import Made, Report, choose, require
from monitor.converters.messages import frame_messages, merged
from monitor.errors import StartupError
from schemas.frames import Frame, Kind, frame_of

VENUE = "BINA"
_MS = 1_000_000
_Level = tuple[str, str]  # price, size


class _Data(msgspec.Struct):
    """What the three streams carry: s symbol, E and T times (ms), p q t m of a trade, b a B A of quote and depth."""

    s: str = ""
    E: int = 0
    T: int = 0
    p: str = ""
    q: str = ""
    t: int = 0
    m: bool = False
    U: int = 0
    u: int = 0
    b: str | list[_Level] = ""
    a: str | list[_Level] = ""
    B: str = ""
    A: str = ""


class _Line(msgspec.Struct):
    """A message of a stream, or the answer to a request for the whole book, which names no symbol."""

    stream: str = ""
    data: _Data = msgspec.field(default_factory=_Data)
    bids: list[_Level] = []
    asks: list[_Level] = []


_decode = msgspec.json.Decoder(_Line).decode
_Row = tuple[int, int, int, int, float, float, float, float, float, float, int]
_COLUMNS = (
    "ts_event",
    "ts_available",
    "kind",
    "side",
    "price",
    "size",
    "bid",
    "ask",
    "bid_size",
    "ask_size",
    "trade_id",
)
_NAN = float("nan")


def read(data: Path, events: Collection[str], limit: int | None, report: Report) -> Made:
    """Read what was received; ``events`` are symbols, ``limit`` takes the first lines of each file."""
    files = sorted(data.glob("*.gz"))
    if not files:
        require(data, "*.gz")
    rows: dict[str, list[_Row]] = {}
    for path in files:
        for symbol, row in _rows(path, limit, report):
            rows.setdefault(symbol, []).append(row)
    choose(events, rows, data)
    chosen = [symbol for symbol in sorted(rows) if not events or symbol in events]
    report.notes.append("Depth updates and snapshots became a row a level.")
    report.kept = sum(len(rows[symbol]) for symbol in chosen)
    frames = [_frame(f"{symbol}.{VENUE}", rows[symbol]) for symbol in chosen]
    return Made(
        messages=merged(list(map(frame_messages, frames))),
        last_ns=max((int(frame.ts_available[-1]) for frame in frames), default=0),
        parameters={"files": len(files)},
    )


def _frame(instrument: str, rows: list[_Row]) -> Frame:
    columns = dict(zip(_COLUMNS, map(np.array, zip(*rows, strict=True)), strict=True))
    return frame_of(instrument, columns)


def _lines(path: Path, limit: int | None) -> Iterator[tuple[int, _Line]]:
    try:
        with gzip.open(path, "rb") as file:
            for number, line in enumerate(file):
                if limit is not None and number >= limit:
                    return
                stamp, _, text = line.partition(b" ")
                yield int(stamp), _decode(text)
    except (msgspec.MsgspecError, ValueError, EOFError, OSError, zlib.error) as error:
        raise StartupError(f"{path} cannot be read ({error}); fetch it again.") from error


def _rows(path: Path, limit: int | None, report: Report) -> Iterator[tuple[str, _Row]]:
    """Yield the rows of one file, in order of arrival."""
    ahead_ns = _clock_difference(path, limit)
    report.notes.append(f"{path.name}: the venue's clock is {ahead_ns / 1e9:.3f} s ahead of the collector's (median).")
    latest_ns, last_u = 0, 0
    trades: set[int] = set()
    symbol = ""
    for local_ns, line in _lines(path, limit):
        data, stream = line.data, line.stream.partition("@")[2]
        symbol = data.s or symbol
        report.read += 1
        if local_ns < latest_ns:
            report.remarks["received out of order, moved up"] += 1
        latest_ns = available_ns = max(latest_ns, local_ns)
        if stream == "trade":
            if data.t in trades:
                report.aside["trades received twice"] += 1
                continue
            trades.add(data.t)
            side = -1 if data.m else 1
            nans = (_NAN,) * 4
            yield data.s, (data.T * _MS, available_ns, Kind.TRADE, side, float(data.p), float(data.q), *nans, data.t)
        elif stream == "bookTicker" and isinstance(data.b, str) and isinstance(data.a, str):
            quote = float(data.b), float(data.a), float(data.B), float(data.A)
            yield data.s, (available_ns + ahead_ns, available_ns, Kind.QUOTE, 0, _NAN, _NAN, *quote, 0)
        elif stream.startswith("depth") and not isinstance(data.b, str) and not isinstance(data.a, str):
            if last_u and last_u + 1 != data.U:
                report.remarks["gaps in the depth updates' numbers"] += 1
            last_u = data.u
            for row in _levels(data.E * _MS, available_ns, data.b, data.a):
                yield data.s, row
        elif line.bids and symbol:
            report.remarks["snapshots of the whole book, each level a row"] += 1
            for row in _levels(available_ns + ahead_ns, available_ns, line.bids, line.asks):
                yield symbol, row
        else:
            report.aside[f"lines of another stream ({stream or 'none'})"] += 1


def _levels(event_ns: int, available_ns: int, bids: list[_Level], asks: list[_Level]) -> Iterator[_Row]:
    for side, levels in ((1, bids), (-1, asks)):
        for price, size in levels:
            nans = (_NAN,) * 4
            yield event_ns, available_ns, Kind.BOOK, side, float(price), float(size), *nans, 0


def _clock_difference(path: Path, limit: int | None) -> int:
    """Return by how many ns the venue's clock is ahead of the collector's: the median over dated messages."""
    return round(median([line.data.E * _MS - ns for ns, line in _lines(path, limit) if line.data.E] or [0]))
