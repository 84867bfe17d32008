"""The book around an event, rebuilt: what rested at each price from when to when, and what one account did in it.

A level is told as **spells**: from one of its changes to the next its size stood still. So the book of any moment is
the spells that hold it, and nothing is sampled.

    level 99.98   |--- 5 units ---|------ 65 units ------|- 5 -|
                  placed          the account's 60       withdrawn

Of order events every order is followed, at its own price, from its placing to its end; of ticks the quotes, and the
updates of the book where there are any.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from schemas.frames import Frame, Kind
from schemas.order_frames import Action, OrderFrame

#: What a book is rebuilt from; "" where there was nothing.
Source = Literal["orders", "updates", "quotes", ""]
End = Literal["filled", "cancelled", "expired", "rejected", "amended", "open"]
#: Rows kept at most: of levels, of the account's orders, of trades.
MOST_SPELLS, MOST_LEGS, MOST_TRADES = 50_000, 10_000, 20_000
#: Where levels change too often the book is looked at once in so long, the first of these that is enough, ns.
STEPS_NS = tuple(unit * 10**digits for digits in range(6, 12) for unit in (1, 2, 5))
_ENDS: dict[int, End] = {Action.CANCEL: "cancelled", Action.EXPIRE: "expired", Action.REJECT: "rejected"}
_Row = TypeVar("_Row")


class Spell(NamedTuple):
    """What rested at a price while nothing changed there, ``[from_ns, to_ns)``.

    ``side`` is +1 bid, -1 ask; ``size`` in units, ``own`` the account's part of it; ``orders`` 0 where it is not told.
    """

    side: int
    price: float
    size: float
    own: float
    orders: int
    from_ns: int
    to_ns: int


class Leg(NamedTuple):
    """An order of the account from its placing, or its amendment, to its end or the next.

    ``price`` is 0 at the market's price; ``size`` are the units open when it began, ``filled`` those filled in it.
    """

    order: int
    side: int
    price: float
    size: float
    filled: float
    from_ns: int
    to_ns: int
    end: End


class Traded(NamedTuple):
    """A trade, or (``side`` +1 or -1, ``order``) the account's fill in one; ``trade`` is the venue's number, 0 none."""

    ts: int
    price: float
    size: float
    side: int = 0
    order: int = 0
    trade: int = 0


class Best(NamedTuple):
    """Best prices from ``ts`` on, 0 where a side is empty."""

    ts: int
    bid: float
    ask: float


@dataclass(frozen=True, slots=True)
class Book:
    """A book over ``[from_ns, to_ns)`` (int64 ns UTC), every list in order of time.

    ``step_ns`` is 0 where every change is there; else levels are those of every so many ns, and what stood between two
    of them is among ``left_out``, which counts what is not there and why.
    """

    instrument: str = ""
    account: str = ""
    source: Source = ""
    from_ns: int = 0
    to_ns: int = 0
    spells: Sequence[Spell] = ()
    best: Sequence[Best] = ()
    legs: Sequence[Leg] = ()
    fills: Sequence[Traded] = ()
    trades: Sequence[Traded] = ()
    step_ns: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def at(self, ts: int) -> list[Spell]:
        """Return the levels of a moment (int64 ns UTC), bids first, the best of each side first."""
        standing = [one for one in self.spells if one.from_ns <= ts < one.to_ns]
        return sorted(standing, key=lambda one: (-one.side, -one.side * one.price))


def _level(price: float) -> float:
    """Return the level that a price belongs to: what is alike in twelve digits was meant to be the same."""
    return float(f"{price:.12g}")


class _Ladder:
    """Levels while events pass, and the spells that are over; time does not run back."""

    def __init__(self, from_ns: int, to_ns: int) -> None:
        self._from_ns, self._to_ns = from_ns, to_ns
        self._levels: dict[tuple[int, float], tuple[float, float, int, int]] = {}
        self.spells: list[Spell] = []

    def put(self, ts: int, side: int, price: float, size: float, own: float = 0.0, orders: int = 0) -> None:
        """Let a level have ``size`` from ``ts`` on; 0 removes it."""
        stood = self._levels.pop((side, price), None)
        if stood is not None and ts > max(stood[3], self._from_ns):
            self.spells.append(Spell(side, price, *stood[:3], max(stood[3], self._from_ns), ts))
        if size > 0.0:
            self._levels[side, price] = (size, own, orders, ts)

    def add(self, ts: int, side: int, price: float, size: float, own: bool, orders: int) -> None:
        """Add orders to a level, or take them off it (``size`` and ``orders`` negative)."""
        held, mine, count, _ = self._levels.get((side, price), (0.0, 0.0, 0, 0))
        # Nothing open is nothing at all: what rounding left of the sum goes with it.
        left = held + size if count + orders else 0.0
        self.put(ts, side, price, left, max(0.0, mine + size * own), count + orders)

    def clear(self, ts: int, side: int, above: float) -> None:
        """Remove a side's levels whose price times ``side`` is above ``above``."""
        for one, price in [level for level in self._levels if level[0] == side and side * level[1] > above]:
            self.put(ts, one, price, 0.0)

    def close(self) -> list[Spell]:
        """End what still stands; return all spells by their beginning."""
        for side, price in list(self._levels):
            self.put(self._to_ns, side, price, 0.0)
        return sorted(self.spells, key=lambda one: (one.from_ns, -one.side, one.price))


@dataclass(slots=True)
class _Order:
    """An open order, and the leg that it is in."""

    number: int
    side: int
    price: float
    left: float
    own: bool
    since_ns: int
    size: float
    filled: float = 0.0

    def leg(self, to_ns: int, end: End) -> Leg:
        return Leg(self.number, self.side, self.price, self.size, self.filled, self.since_ns, to_ns, end)


def of_orders(frames: Iterable[OrderFrame], account: str, from_ns: int, to_ns: int) -> Book:
    """Return the book that order events of one instrument make.

    Parameters
    ----------
    frames
        In order of arrival, from well before ``from_ns``: of an order whose placing is not among them nothing is known.
        An event that is late counts as of the newest one before it.
    account
        Whose orders are told apart; "" nobody's.
    from_ns, to_ns
        What is wanted, half-open range of ``ts_event``, int64 ns UTC.

    Example
    -------
    >>> from schemas.order_frames import order_frame_of
    >>> columns = {"ts_event": [1, 2, 5], "action": [0, 0, 2], "side": [1, 1, 1], "price": [9.0, 9.0, 9.0]}
    >>> columns |= {"size": [5.0, 60.0, 60.0], "order": [7, 8, 8], "account": [1, 0, 0]}
    >>> book = of_orders([order_frame_of("ACME.XTOC", columns, ["a", "maker"])], "a", 0, 10)
    >>> [(one.from_ns, one.to_ns, one.size, one.own) for one in book.spells]
    [(1, 2, 5.0, 0.0), (2, 5, 65.0, 60.0), (5, 10, 5.0, 0.0)]
    >>> book.legs[0].end, [one.bid for one in book.best]
    ('cancelled', [9.0])
    """
    ladder, open_orders = _Ladder(from_ns, to_ns), dict[int, _Order]()
    legs: list[Leg] = []
    fills: list[Traded] = []
    trades: list[Traded] = []
    told: set[int] = set()
    left_out: Counter[str] = Counter()
    now_ns, name = 0, ""

    def rest(order: _Order, sign: int) -> None:
        if order.price and order.left > 0.0:
            ladder.add(now_ns, order.side, order.price, sign * order.left, order.own, sign)

    def over(order: _Order, end: End) -> None:
        if order.own and now_ns >= from_ns:
            legs.append(order.leg(now_ns, end))

    for frame in frames:
        name = frame.instrument
        mine = frame.accounts.index(account) if account and account in frame.accounts else -2
        columns = (frame.ts_event, frame.action, frame.side, frame.price, frame.size)
        names = (frame.order, frame.trade, frame.account)
        for ts, action, side, price, size, number, trade, place in zip(
            *(column.tolist() for column in (*columns, *names)), strict=True
        ):
            now_ns = max(now_ns, ts)
            if now_ns >= to_ns:
                break
            if action == Action.FILL and now_ns >= from_ns and (not trade or trade not in told):
                told.add(trade)
                trades.append(Traded(now_ns, price, size, trade=trade))
            if action == Action.NEW:
                if number in open_orders:
                    left_out["orders placed twice"] += now_ns >= from_ns
                    continue
                order = open_orders[number] = _Order(number, side, _level(price), size, place == mine, now_ns, size)
                rest(order, +1)
                continue
            known = open_orders.get(number)
            if known is None:
                left_out["events of orders placed before"] += now_ns >= from_ns
                continue
            rest(known, -1)
            if action == Action.FILL:
                known.left, known.filled = known.left - size, known.filled + size
                if known.own and now_ns >= from_ns:
                    fills.append(Traded(now_ns, price, size, known.side, number, trade))
                if known.left <= 1e-9 * known.size:
                    over(open_orders.pop(number), "filled")
                else:
                    rest(known, +1)
            elif action == Action.AMEND:
                over(known, "amended")
                known.price, known.left, known.size = _level(price), size, size
                known.filled, known.since_ns = 0.0, now_ns
                rest(known, +1)
            else:
                over(open_orders.pop(number), _ENDS[action])
        if now_ns >= to_ns:
            break
    legs += [order.leg(to_ns, "open") for order in open_orders.values() if order.own]
    legs.sort(key=lambda one: (one.from_ns, one.order))
    source: Source = "orders" if name else ""
    return _bounded(
        Book(
            name, account, source, from_ns, to_ns, ladder.close(), legs=legs, fills=fills, trades=trades,
            left_out=left_out,
        )
    )  # fmt: skip


def of_ticks(frames: Sequence[Frame], from_ns: int, to_ns: int) -> Book:
    """Return the book that ticks of one instrument tell: its updates and quotes, or the best quotes alone.

    Parameters are those of `of_orders`. What nobody told yet is not there, and a level stands as it was last told;
    nothing stands that is better than the best quote.
    """
    booked = any((frame.kind == Kind.BOOK).any() for frame in frames)
    quoted = booked or any((frame.kind == Kind.QUOTE).any() for frame in frames)
    ladder, trades = _Ladder(from_ns, to_ns), []
    now_ns = 0
    for frame in frames:
        kinds, sides = frame.kind.tolist(), frame.side.tolist()
        for row in np.flatnonzero(frame.kind <= Kind.BOOK).tolist():  # (row,): trades, quotes, book
            now_ns = max(now_ns, frame.ts_event.item(row))
            if now_ns >= to_ns:
                break
            if kinds[row] == Kind.TRADE and now_ns >= from_ns:
                trades.append(
                    Traded(now_ns, frame.price.item(row), frame.size.item(row), trade=frame.trade_id.item(row))
                )
            elif kinds[row] == Kind.BOOK:
                ladder.put(now_ns, sides[row], _level(frame.price.item(row)), frame.size.item(row))
            elif kinds[row] == Kind.QUOTE:
                for side, price, size in ((1, frame.bid, frame.bid_size), (-1, frame.ask, frame.ask_size)):
                    best = _level(price.item(row))
                    ladder.clear(now_ns, side, side * best if booked else -math.inf)
                    ladder.put(now_ns, side, best, size.item(row))
    name = frames[0].instrument if frames else ""
    source: Source = "updates" if booked else "quotes" if quoted else ""
    return _bounded(Book(name, "", source, from_ns, to_ns, ladder.close(), trades=trades))


def _bounded(book: Book) -> Book:
    """Return a book with its best prices, no list longer than it may be, and what that leaves out counted."""
    spells, step_ns = thinned(book.spells, MOST_SPELLS)
    kept = replace(
        book,
        spells=spells,
        step_ns=step_ns,
        best=_best(spells, book.to_ns),
        legs=_evenly(book.legs, MOST_LEGS),
        fills=_evenly(book.fills, MOST_TRADES),
        trades=_evenly(book.trades, MOST_TRADES),
    )
    gone = {
        "levels between two looks": len(book.spells) - len(kept.spells),
        "orders of the account": len(book.legs) - len(kept.legs),
        "fills of the account": len(book.fills) - len(kept.fills),
        "trades": len(book.trades) - len(kept.trades),
    }
    return replace(kept, left_out=+(book.left_out + Counter(gone)))


def thinned(spells: Sequence[Spell], most: int) -> tuple[Sequence[Spell], int]:
    """Return at most ``most`` spells, and the step in ns (0 none) of the looks at the book that they are made of.

    A look at every multiple of the step sees what stands then: a spell counts from the first look that sees it to the
    first that does not, and one that no look sees is left out.
    """
    if len(spells) <= most:
        return spells, 0
    spans = np.array([(one.from_ns, one.to_ns) for one in spells], np.int64)  # (spell, 2)
    for step_ns in STEPS_NS:
        looks = -(-spans // step_ns) * step_ns
        seen = np.flatnonzero(looks[:, 0] < looks[:, 1])
        if len(seen) <= most:
            break
    rows = zip(seen.tolist(), looks[seen].tolist(), strict=True)
    return _evenly([spells[row]._replace(from_ns=first, to_ns=last) for row, (first, last) in rows], most), step_ns


def _evenly(rows: Sequence[_Row], most: int) -> Sequence[_Row]:
    """Return every n-th row, as few of them left out as must be."""
    return rows[:: -(-len(rows) // most) or 1]


def _best(spells: Sequence[Spell], to_ns: int) -> list[Best]:
    """Return the best prices, where one changes."""
    found: list[Best] = []
    tops: dict[int, list[tuple[float, int]]] = {1: [], -1: []}
    waiting = iter(spells)
    coming = next(waiting, None)
    for ts in sorted({ns for one in spells for ns in (one.from_ns, one.to_ns) if ns < to_ns}):
        while coming is not None and coming.from_ns <= ts:
            heappush(tops[coming.side], (-coming.side * coming.price, coming.to_ns))
            coming = next(waiting, None)
        for top in tops.values():
            while top and top[0][1] <= ts:
                heappop(top)
        bid, ask = (-side * top[0][0] if top else 0.0 for side, top in tops.items())
        if not found or found[-1][1:] != (bid, ask):
            found.append(Best(ts, bid, ask))
    return found


def depth(
    spells: Sequence[Spell], edges_ns: npt.NDArray[np.int64], bounds: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the mean resting size in bands of price over cells of time, units of shape (band, cell).

    Parameters
    ----------
    spells
        Those of one side, or of both.
    edges_ns
        Where cells begin and end, int64 ns UTC of shape (cell + 1,), ascending.
    bounds
        Where bands begin and end, quote currency of shape (band + 1,), ascending.

    Example
    -------
    >>> spells = [Spell(1, 9.0, 4.0, 0.0, 1, 0, 10), Spell(1, 9.0, 6.0, 0.0, 1, 15, 20)]
    >>> depth(spells, np.array([0, 10, 20]), np.array([8.5, 9.5])).tolist()
    [[4.0, 3.0]]
    """
    found = np.zeros((len(bounds) - 1, len(edges_ns) - 1))  # (band, cell)
    price, size = np.array([(one.price, one.size) for one in spells]).reshape(-1, 2).T  # (spell,)
    spans = np.array([(one.from_ns, one.to_ns) for one in spells], np.int64).reshape(-1, 2) - edges_ns[0]
    edges = (edges_ns - edges_ns[0]).astype(np.float64)
    band = np.searchsorted(bounds, price, "right") - 1
    for number in np.unique(band[(band >= 0) & (band < len(found))]):
        mine = band == number
        at, change = spans[mine].T.ravel(), np.concatenate([size[mine], -size[mine]])  # (2 spells,)
        order = np.argsort(at, kind="stable")
        at, height = at[order], np.cumsum(change[order])
        area = np.append(0.0, np.cumsum(height[:-1] * np.diff(at)))
        found[number] = np.diff(np.interp(edges, at, area)) / np.diff(edges)
    found[found < 1e-9 * found.max(initial=0.0)] = 0.0
    return found
