"""Orders of a small market, made by hand: what typologies of orders are tried on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from schemas.frames import Frame, Kind, frame_of
from schemas.order_frames import Action, OrderFrame, order_frame_of
from schemas.records import News

S = 1_000_000_000
#: A Tuesday, 14:30 UTC: the simulator's venue opens.
OPEN_NS = 1_700_577_000 * S
#: Quoted at the best price of each side, units.
DEPTH = 10.0


class Event(NamedTuple):
    """A row of an order frame, its account by name."""

    ts: int
    action: int
    side: int
    price: float
    size: float
    order: int
    trade: int
    account: str
    trader: str


@dataclass(slots=True)
class Market:
    """Order events and quotes, in the order in which they are told; sizes in units, ``at`` in seconds after the start.

    Example
    -------
    >>> market = Market()
    >>> bid = market.place(1.0, "maker", +1, 99.99, 10.0)
    >>> market.take(2.0, "taker", bid, 4.0)
    >>> len(market.orders())
    4
    """

    instrument: str = "ACME.XTOC"
    start_ns: int = OPEN_NS
    events: list[Event] = field(default_factory=list)
    quotes: list[tuple[int, float, float, float]] = field(default_factory=list)
    news: list[News] = field(default_factory=list)
    number: int = 0
    mid: float = 100.0
    placed: dict[int, Event] = field(default_factory=dict)

    def ns(self, at: float) -> int:
        """Return the time ``at`` (s) in ns UTC."""
        return self.start_ns + round(at * S)

    def place(self, at: float, account: str, side: int, price: float, size: float, trader: str = "") -> int:
        """Place an order and return its number."""
        self.number += 1
        event = Event(self.ns(at), Action.NEW, side, price, size, self.number, 0, account, trader)
        self.placed[self.number] = event
        self.events.append(event)
        return self.number

    def cancel(self, at: float, order: int) -> None:
        """Withdraw an order."""
        self.events.append(self.placed[order]._replace(ts=self.ns(at), action=Action.CANCEL, size=0.0))

    def take(self, at: float, account: str, order: int, size: float, trader: str = "") -> None:
        """Trade against an order at its price, at the market's."""
        resting = self.placed[order]
        taking = self.place(at, account, -resting.side, 0.0, size, trader)
        for one in (resting, self.placed[taking]):
            fill = one._replace(ts=self.ns(at), action=Action.FILL, price=resting.price, size=size, trade=taking)
            self.events.append(fill)

    def quote(self, at: float, mid: float, depth: float = DEPTH) -> None:
        """Quote a price."""
        self.quotes.append((self.ns(at), mid - 0.01, mid + 0.01, depth))

    def tell(self, at: float) -> None:
        """Let news come."""
        ts = self.ns(at)
        self.news.append(
            News(ts_event=ts, ts_available=ts, instrument=self.instrument, document_id=str(ts), headline="News")
        )

    def quiet(self, seconds: int, seed: int = 0, begin: int = 0, takers: int = 40) -> None:
        """Let three makers renew both sides each second and takers trade with them, around `mid`."""
        draw = np.random.default_rng(seed)
        standing: list[int] = []
        for second in range(begin, begin + seconds):
            mid = self.mid = round(self.mid + 0.01 * draw.integers(-1, 2), 2)
            self.quote(second, mid)
            for order in standing:
                self.cancel(second + 0.05, order)
            standing = [
                self.place(second + 0.1, f"maker-{k}", side, round(mid - side * 0.01 * (1 + k), 2), DEPTH / 2)
                for k in range(3)
                for side in (1, -1)
            ]
            for at in np.sort(draw.uniform(0.2, 0.9, draw.poisson(takers / 60))):
                self.take(second + float(at), f"taker-{draw.integers(takers)}", standing[draw.integers(2)], 1.0)
        for order in standing:
            self.cancel(begin + seconds, order)

    def orders(self) -> OrderFrame:
        """Return all order events by time, as one frame."""
        events = sorted(self.events, key=lambda event: event.ts)
        accounts = sorted({event.account for event in events} - {""})
        traders = sorted({event.trader for event in events} - {""})
        columns: dict[str, npt.ArrayLike] = {
            "ts_event": [event.ts for event in events],
            "ts_available": [event.ts + 1_000_000 for event in events],
            "action": [event.action for event in events],
            "side": [event.side for event in events],
            "price": [event.price for event in events],
            "size": [event.size for event in events],
            "order": [event.order for event in events],
            "trade": [event.trade for event in events],
            "account": [accounts.index(event.account) if event.account else -1 for event in events],
            "trader": [traders.index(event.trader) if event.trader else -1 for event in events],
        }
        return order_frame_of(self.instrument, columns, accounts, traders)

    def ticks(self) -> Frame:
        """Return all quotes as one frame."""
        ts, bid, ask, depth = (list(column) for column in zip(*self.quotes, strict=True))
        kind = [Kind.QUOTE] * len(ts)
        return frame_of(
            self.instrument,
            {"ts_event": ts, "ts_available": ts, "kind": kind, "bid": bid, "ask": ask, "bid_size": depth,
             "ask_size": depth},
        )  # fmt: skip
