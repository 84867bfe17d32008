"""What a book's tape looks like at the feed's end: a frame of ticks and a frame of order events."""

from __future__ import annotations

import numpy as np

from engines.simulator import people
from engines.simulator.flow import LATE_SHARE, SECOND_NS, TICK, amended
from engines.simulator.lob.book import Book, OrderRow, TickRow
from schemas.frames import Frame, Kind, frame_of
from schemas.order_frames import OrderFrame, order_frame_of

_FEED_NS = 250_000
_ORDERS_NS = 400_000


def ticks_of(
    rng: np.random.Generator, instrument: str, book: Book, halts_s: list[tuple[int, int]], open_ns: int
) -> Frame:
    """Return the ticks of a book, rows in order of arrival; a few trades are reported late, some taken back."""
    rows = np.array(book.ticks, dtype=np.float64).reshape(-1, len(TickRow._fields))  # ns of a day are exact in float64
    columns = dict(zip(TickRow._fields, rows.T, strict=True))
    kind = columns["kind"].astype(np.uint8)
    quotes = kind == Kind.QUOTE
    event_ns = open_ns + columns["at"].astype(np.int64)
    feed_ns = _FEED_NS + (100_000 * np.exp(rng.normal(0, 0.7, len(rows)))).astype(np.int64)
    available_ns = np.maximum.accumulate(event_ns + feed_ns)
    late = (kind == Kind.TRADE) & (rng.random(len(rows)) < LATE_SHARE)
    available_ns[late] += rng.integers(2 * SECOND_NS, 8 * SECOND_NS, int(late.sum()))
    order = np.argsort(available_ns, kind="stable")
    priced = {name: np.where(quotes, np.nan, np.round(columns[name] * unit, 2)) for name, unit in _OF_ONE}
    quoted = {name: np.where(quotes, np.round(columns[name] * unit, 2), np.nan) for name, unit in _OF_BOTH}
    frame = frame_of(
        instrument,
        {
            "ts_event": event_ns,
            "ts_available": available_ns,
            "kind": kind,
            "side": columns["side"],
            "trade_id": columns["trade"],
            **priced,
            **quoted,
        },
    )[order]
    return amended(rng, frame, halts_s, open_ns)


_OF_ONE = (("price", TICK), ("size", 1.0))
_OF_BOTH = (("bid", TICK), ("ask", TICK), ("bid_size", 1.0), ("ask_size", 1.0))


def orders_of(instrument: str, book: Book, traders: dict[int, int], first_order: int, open_ns: int) -> OrderFrame:
    """Return the order events of a book; ``traders`` are those of accounts whose trader is not their own.

    Orders are numbered from ``first_order``: numbers are unique over days and instruments, as venues' are.
    """
    rows = np.array(book.orders, dtype=np.float64).reshape(-1, len(OrderRow._fields))
    columns = dict(zip(OrderRow._fields, rows.T, strict=True))
    event_ns = open_ns + columns.pop("at").astype(np.int64)
    numbers, account = np.unique(columns.pop("account").astype(np.int64), return_inverse=True)
    names = [people.account(int(number)) for number in numbers]
    owners = [people.trader(people.account(traders.get(int(number), int(number)))) for number in numbers]
    people_of = tuple(dict.fromkeys(owners))
    return order_frame_of(
        instrument,
        {
            **columns,
            "ts_event": event_ns,
            "ts_available": event_ns + _ORDERS_NS,
            "price": np.round(columns["price"] * TICK, 2),
            "order": first_order + columns["order"].astype(np.int64),
            "account": account,
            "trader": np.array([people_of.index(owner) for owner in owners], dtype=np.int32)[account],
        },
        names,
        people_of,
    )
