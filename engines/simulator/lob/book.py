"""A matching engine: one instrument's orders at one venue, by price and then by time, and the tape that it leaves.

Rules: an order meets what rests at better prices first and, at one price, what came first; what is left of it rests, or
expires if it was to be filled at once. An amended order keeps its place only if it stays at its price and gets smaller.
Prices are whole ticks, sizes units, times ns since the open. A book is never crossed.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable
from typing import NamedTuple

from schemas.frames import Kind
from schemas.order_frames import Action

_NEW, _AMEND, _CANCEL, _FILL = int(Action.NEW), int(Action.AMEND), int(Action.CANCEL), int(Action.FILL)
_EXPIRE = int(Action.EXPIRE)
_TRADE, _QUOTE, _BOOK = int(Kind.TRADE), int(Kind.QUOTE), int(Kind.BOOK)
_NO_PRICE = 1 << 40


class Order:
    """An order: what of it is open and filled, units. ``side`` is +1 buy, -1 sell; ``price`` ticks, 0 the market's."""

    __slots__ = ("account", "filled", "number", "open", "price", "side")

    def __init__(self, number: int, account: int, side: int, price: int, size: int) -> None:
        self.number = number
        self.account = account
        self.side = side
        self.price = price
        self.open = size
        self.filled = 0


class OrderRow(NamedTuple):
    """An order event, as `schemas.order_frames` has it; ``at`` ns since the open, ``price`` ticks."""

    at: int
    action: int
    side: int
    price: int
    size: int
    order: int
    trade: int
    account: int


class TickRow(NamedTuple):
    """A trade, a quote or a level of the book, as `schemas.frames` has them; ``at`` ns since the open, prices ticks."""

    at: int
    kind: int
    side: int = 0
    price: int = 0
    size: int = 0
    bid: int = 0
    ask: int = 0
    bid_size: int = 0
    ask_size: int = 0
    trade: int = 0


class Level:
    """The orders at one price in order of arrival, by number, and their sum, units."""

    __slots__ = ("orders", "total")

    def __init__(self) -> None:
        self.orders: dict[int, Order] = {}
        self.total = 0


class Side:
    """One side of a book. ``keys`` are prices times -side, ascending: the best is the first on either side."""

    __slots__ = ("keys", "levels")

    def __init__(self) -> None:
        self.keys: list[int] = []
        self.levels: dict[int, Level] = {}

    def top(self, levels: int) -> int:
        """Return the size that rests at the best ``levels`` prices, units."""
        at = self.levels
        return sum([at[key].total for key in self.keys[:levels]])

    def ahead_of(self, key: int) -> int:
        """Return the size that rests at better prices than ``key``'s and at its own, units."""
        at = self.levels
        return sum([at[other].total for other in self.keys if other <= key])


class Book:
    """The book of one instrument. ``orders`` and ``ticks`` are its tape, in order of time.

    Accounts in ``self_trading`` may trade with themselves; of others the resting order is cancelled instead.
    """

    def __init__(self) -> None:
        self.bids, self.asks = Side(), Side()
        self.orders: list[OrderRow] = []
        self.ticks: list[TickRow] = []
        self.self_trading: set[int] = set()
        self.last = 0  # price of the last trade, ticks
        self.bought = 0  # taken by buyers less taken by sellers, units, since the open
        self.on_trade: Callable[[], None] = lambda: None  # called once an order has traded
        self._number = 0
        self._trade = 0
        self._touched: dict[tuple[int, int], None] = {}  # side and key, in the order of the changes
        self._quote = (0, 0, 0, 0)

    def side(self, side: int) -> Side:
        """Return the bids for +1, the asks for -1."""
        return self.bids if side > 0 else self.asks

    def best(self, side: int) -> int:
        """Return the best price of a side, ticks, 0 if it is empty."""
        keys = self.side(side).keys
        return -side * keys[0] if keys else 0

    def mid(self) -> float:
        """Return the middle of the best prices, ticks; of one side its best, and of none the last trade's."""
        if self.bids.keys and self.asks.keys:
            return (self.asks.keys[0] - self.bids.keys[0]) / 2
        return float(self.best(1) or self.best(-1) or self.last)

    def submit(self, at: int, account: int, side: int, price: int, size: int, *, rests: bool = True) -> Order:
        """Take a new order; ``price`` 0 is the market's, and such an order never rests."""
        self._number += 1
        order = Order(self._number, account, side, price, size)
        self.orders.append(OrderRow(at, _NEW, side, price, size, order.number, 0, account))
        self._match(at, order)
        if order.open and rests and price:
            self._rest(order)
        elif order.open:
            self._end(at, order, _EXPIRE)
        self._publish(at)
        if order.filled:
            self.on_trade()
        return order

    def cancel(self, at: int, order: Order) -> None:
        """Take an order out of the book; one that has ended stays as it is."""
        if order.open:
            self._remove(order)
            self._end(at, order, _CANCEL)
            self._publish(at)

    def amend(self, at: int, order: Order, price: int, size: int) -> None:
        """Change the limit and the open size of an order; one that has ended stays as it is."""
        if not order.open:
            return
        self.orders.append(OrderRow(at, _AMEND, order.side, price, size, order.number, 0, order.account))
        if price == order.price and size <= order.open:
            key = -order.side * price
            self.side(order.side).levels[key].total -= order.open - size
            self._touched[order.side, key] = None
            order.open = size
        else:
            self._remove(order)
            order.price, order.open = price, size
            self._match(at, order)
            if order.open:
                self._rest(order)
        self._publish(at)

    def cross(self, at: int, buyer: int, seller: int, price: int, size: int) -> None:
        """Report a trade that two accounts agreed on; the book takes no part in it.

        Raises
        ------
        ValueError
            If the price is not within the best prices.
        """
        if not self.best(1) <= price <= (self.best(-1) or price):
            raise ValueError(f"an agreed trade is at {self.best(1)} to {self.best(-1)} ticks, found {price}")
        self._trade += 1
        for account, side in ((seller, -1), (buyer, 1)):
            self._number += 1
            self.orders.append(OrderRow(at, _NEW, side, price, size, self._number, 0, account))
            self.orders.append(OrderRow(at, _FILL, side, price, size, self._number, self._trade, account))
        self.ticks.append(TickRow(at, _TRADE, 0, price, size, trade=self._trade))

    def _match(self, at: int, order: Order) -> None:
        side = order.side
        other = self.asks if side > 0 else self.bids
        limit = side * order.price if order.price else _NO_PRICE
        while order.open and other.keys and other.keys[0] <= limit:
            key = other.keys[0]
            level = other.levels[key]
            resting = next(iter(level.orders.values()))
            if resting.account == order.account and order.account not in self.self_trading:
                self._remove(resting)
                self._end(at, resting, _CANCEL)
                continue
            size = min(order.open, resting.open)
            order.open -= size
            order.filled += size
            resting.open -= size
            resting.filled += size
            level.total -= size
            if not resting.open:
                del level.orders[resting.number]
                if not level.orders:
                    del other.levels[key]
                    del other.keys[0]
            self._report(at, order, resting, size)
            self._touched[-side, key] = None

    def _report(self, at: int, order: Order, resting: Order, size: int) -> None:
        self._trade += 1
        self.last = price = resting.price
        self.bought += order.side * size
        for one in (resting, order):
            self.orders.append(OrderRow(at, _FILL, one.side, price, size, one.number, self._trade, one.account))
        self.ticks.append(TickRow(at, _TRADE, order.side, price, size, trade=self._trade))

    def _rest(self, order: Order) -> None:
        side = self.bids if order.side > 0 else self.asks
        key = -order.side * order.price
        level = side.levels.get(key)
        if level is None:
            level = side.levels[key] = Level()
            insort(side.keys, key)
        level.orders[order.number] = order
        level.total += order.open
        self._touched[order.side, key] = None

    def _remove(self, order: Order) -> None:
        side = self.bids if order.side > 0 else self.asks
        key = -order.side * order.price
        level = side.levels[key]
        del level.orders[order.number]
        level.total -= order.open
        if not level.orders:
            del side.levels[key]
            del side.keys[bisect_left(side.keys, key)]
        self._touched[order.side, key] = None

    def _end(self, at: int, order: Order, action: int) -> None:
        self.orders.append(OrderRow(at, action, order.side, order.price, order.open, order.number, 0, order.account))
        order.open = 0

    def _publish(self, at: int) -> None:
        """Say what has changed: each level touched, then the best prices."""
        bids, asks = self.bids, self.asks
        for side, key in self._touched:
            level = (bids if side > 0 else asks).levels.get(key)
            self.ticks.append(TickRow(at, _BOOK, side, -side * key, level.total if level else 0))
        self._touched.clear()
        if bids.keys and asks.keys:
            bid, ask = bids.keys[0], asks.keys[0]
            quote = (-bid, ask, bids.levels[bid].total, asks.levels[ask].total)
            if quote != self._quote:
                self._quote = quote
                self.ticks.append(TickRow(at, _QUOTE, 0, 0, 0, *quote))
