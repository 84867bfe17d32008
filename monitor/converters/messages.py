"""Messages of a recording made from frames and records, and the single ticks that a frame was packed from."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Literal, get_args

import msgspec
import numpy as np

from monitor.recordings import Message
from schemas import codec
from schemas.frames import Frame, Kind
from schemas.order_frames import AnyFrame, OrderFrame
from schemas.records import (
    AudioSegment,
    BookUpdate,
    Cancel,
    ChartSnapshot,
    Correction,
    Document,
    News,
    OrderAction,
    OrderEvent,
    Quote,
    Side,
    Statement,
    Status,
    Tick,
    Trade,
    TranscriptSegment,
    Transfer,
)

FRAME_ROWS = 500
FRAME_NS = 1_000_000_000
_SIDES: dict[int, Side] = {1: "buy", -1: "sell", 0: "unknown"}
_ACTIONS: tuple[OrderAction, ...] = get_args(OrderAction)  # in the order of `schemas.order_frames.Action`

Input = Tick | Document | News | TranscriptSegment | AudioSegment | ChartSnapshot | OrderEvent | Transfer | Statement


def kafka_ms(ns: int) -> int:
    """Return the first whole millisecond at or after ``ns``: what Kafka would have stamped at the earliest."""
    return -(-ns // 1_000_000)


def cut(frame: AnyFrame, rows: int = FRAME_ROWS, span_ns: int = FRAME_NS) -> Iterator[AnyFrame]:
    """Cut a long frame, ``ts_available`` ascending, at ``rows`` of them or ``span_ns``, whichever is first."""
    available = frame.ts_available
    start = 0
    while start < len(frame):
        limit = int(available.searchsorted(available[start] + span_ns, side="left"))
        end = min(start + rows, limit)
        yield frame[start:end]
        start = end


def frame_messages(frame: AnyFrame, rows: int = FRAME_ROWS, span_ns: int = FRAME_NS) -> Iterator[Message]:
    """Yield the messages of one instrument's ticks or orders; each is available with its last row."""
    key = frame.instrument.encode()
    topic = "orders" if isinstance(frame, OrderFrame) else "frames"
    for part in cut(frame, rows, span_ns):
        available = int(part.ts_available[-1])
        part = named(part) if isinstance(part, OrderFrame) else part
        yield Message(topic, key, codec.encode(part), int(part.ts_event[-1]), available, kafka_ms(available))


def named(part: OrderFrame) -> OrderFrame:
    """Return a part of a frame with the names of its own rows alone, for a message of its own."""
    accounts, account = np.unique(part.account, return_inverse=True)
    traders, trader = np.unique(part.trader, return_inverse=True)
    return msgspec.structs.replace(
        part,
        account=np.where(part.account < 0, -1, account - np.count_nonzero(accounts < 0)).astype(np.int32),
        trader=np.where(part.trader < 0, -1, trader - np.count_nonzero(traders < 0)).astype(np.int32),
        accounts=tuple(part.accounts[k] for k in accounts.tolist() if k >= 0),
        traders=tuple(part.traders[k] for k in traders.tolist() if k >= 0),
    )


def record_message(topic: str, record: Input) -> Message:
    """Return the message of a record on ``topic``, keyed as the table of topics says."""
    if isinstance(record, Transfer | Statement):
        key = record.account
    elif isinstance(record, Document):
        key = record.document_id
    else:
        key = record.instrument
    return Message(
        topic,
        key.encode(),
        codec.encode(record),
        record.ts_event,
        record.ts_available,
        kafka_ms(record.ts_available),
    )


def merged(streams: Sequence[Iterable[Message]]) -> Iterator[Message]:
    """Merge streams, each in order of ``ts_available``, into one in that order, equal times in the streams'."""
    return heapq.merge(*streams, key=attrgetter("ts_available"))


def single_orders(frame: OrderFrame) -> Iterator[OrderEvent]:
    """Yield the events of an order frame one by one, orders and trades by their numbers."""
    for i in range(len(frame)):
        account, trader, trade = frame.account.item(i), frame.trader.item(i), frame.trade.item(i)
        yield OrderEvent(
            ts_event=frame.ts_event.item(i),
            ts_available=frame.ts_available.item(i),
            instrument=frame.instrument,
            order_id=str(frame.order.item(i)),
            action=_ACTIONS[frame.action.item(i)],
            side="buy" if frame.side.item(i) > 0 else "sell",
            price=frame.price.item(i),
            size=frame.size.item(i),
            account=frame.accounts[account] if account >= 0 else "",
            trader=frame.traders[trader] if trader >= 0 else "",
            trade_id=str(trade) if trade else "",
        )


def single_ticks(frame: Frame) -> Iterator[Tick]:
    """Yield the ticks of a frame one by one, as a feed sends them to the gateway."""
    rows = zip(
        frame.kind.tolist(),
        frame.ts_event.tolist(),
        frame.ts_available.tolist(),
        frame.side.tolist(),
        frame.price.tolist(),
        frame.size.tolist(),
        frame.bid.tolist(),
        frame.ask.tolist(),
        frame.bid_size.tolist(),
        frame.ask_size.tolist(),
        frame.trade_id.tolist(),
        strict=True,
    )
    name = frame.instrument
    for kind, event, available, side, price, size, bid, ask, bid_size, ask_size, number in rows:
        trade_id = str(number) if number else ""
        if kind == Kind.TRADE:
            yield Trade(
                ts_event=event,
                ts_available=available,
                instrument=name,
                price=price,
                size=size,
                side=_SIDES[side],
                trade_id=trade_id,
            )
        elif kind == Kind.QUOTE:
            yield Quote(
                ts_event=event,
                ts_available=available,
                instrument=name,
                bid=bid,
                ask=ask,
                bid_size=bid_size,
                ask_size=ask_size,
            )
        elif kind == Kind.BOOK:
            resting: Literal["buy", "sell"] = "buy" if side > 0 else "sell"
            yield BookUpdate(
                ts_event=event, ts_available=available, instrument=name, side=resting, price=price, size=size
            )
        elif kind == Kind.CORRECTION:
            yield Correction(
                ts_event=event,
                ts_available=available,
                instrument=name,
                price=price,
                size=size,
                original_price=bid,
                original_size=bid_size,
                trade_id=trade_id,
            )
        elif kind == Kind.CANCEL:
            yield Cancel(
                ts_event=event, ts_available=available, instrument=name, price=price, size=size, trade_id=trade_id
            )
        else:
            status: Literal["halted", "trading"] = "halted" if kind == Kind.HALT else "trading"
            yield Status(ts_event=event, ts_available=available, instrument=name, status=status)
