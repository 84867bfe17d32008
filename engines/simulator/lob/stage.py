"""Where a scheme plays: accounts that send orders through the same books as everybody, and remember them."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Sequence
from math import exp, floor

from engines.simulator.flow import SECOND_NS
from engines.simulator.lob.book import Book, Order
from engines.simulator.lob.units import Units
from engines.simulator.lob.world import Process, World

Sent = Generator[int, None, list[Order]]
#: A session of so many seconds has minutes of 60 s; those of a shorter one are shorter.
FULL_SESSION_S = 23_400


class Stage:
    """One event in one company's books.

    Parameters
    ----------
    units
        Of each book's background.
    strength, disguise
        As docs/simulator.md defines them.
    accounts
        Those of the event, as many as its scheme asks for.
    seconds
        Length of the session.
    onset_s
        When the event's article comes, or its burst begins, for schemes that have one.
    """

    def __init__(
        self,
        world: World,
        units: Sequence[Units],
        seed: int,
        *,
        strength: float,
        disguise: float,
        accounts: Sequence[int],
        seconds: int,
        onset_s: int,
        side: int,
    ) -> None:
        self.world = world
        self.rng = random.Random(seed)
        self.units = units
        self.strength = strength
        self.disguise = disguise
        self.accounts = accounts
        self.seconds = seconds
        self.onset_s = onset_s
        self.side = side  # the side that gains
        self.onset_ns = -1
        self.first_ns = -1
        self.last_ns = -1
        self._sent: list[Order] = []

    @property
    def book(self) -> Book:
        """The company's main book."""
        return self.world.books[0]

    @property
    def depth(self) -> float:
        """The median size at the best price of the main book."""
        return self.units[0].depth

    def minutes(self, n: float) -> int:
        """Return ``n`` minutes of this session, ns."""
        return int(n * 60 * SECOND_NS * min(1.0, self.seconds / FULL_SESSION_S))

    def between(self, low_s: float, high_s: float) -> int:
        """Return a random time, ns."""
        return int(self.rng.uniform(low_s, high_s) * SECOND_NS)

    def harm(self) -> None:
        """Say that harm begins now, if it has not yet."""
        if self.onset_ns < 0:
            self.onset_ns = self.world.now

    def held(self, account: int) -> int:
        """Return what an account has bought less what it has sold in this event, units."""
        return sum(order.side * order.filled for order in self._sent if order.account == account)

    def send(self, account: int, side: int, price: int, size: float, *, rests: bool = True, venue: int = 0) -> Order:
        """Send one order of at least a unit."""
        order = self.world.books[venue].submit(
            self.world.now, account, side, max(1, price), max(1, round(size)), rests=rests
        )
        self._sent.append(order)
        self._seen()
        return order

    def withdraw(self, orders: Sequence[Order], venue: int = 0) -> None:
        """Cancel what is left of orders."""
        for order in orders:
            self.world.books[venue].cancel(self.world.now, order)
        self._seen()

    def amend(self, order: Order, price: int) -> None:
        """Move an order of the main book."""
        self.book.amend(self.world.now, order, max(1, price), order.open)
        self._seen()

    def cross(self, buyer: int, seller: int, price: int, size: float) -> None:
        """Report a trade that two accounts agreed on."""
        self.book.cross(self.world.now, buyer, seller, price, max(1, round(size)))
        self._seen()

    def _seen(self) -> None:
        if self.first_ns < 0:
            self.first_ns = self.world.now
        self.last_ns = self.world.now

    def place(self, account: int, side: int, price: int, size: float, *, venue: int = 0) -> Sent:
        """Let ``size`` rest at ``price``, in the slices that the disguise asks for."""
        return self._sliced(account, side, size, lambda: price, rests=True, venue=venue)

    def take(self, account: int, side: int, size: float, *, through: int = 3, venue: int = 0) -> Sent:
        """Take up to ``size`` at most ``through`` ticks beyond the best price, likewise."""
        book = self.world.books[venue]

        def price() -> int:
            return (book.best(-side) or book.last) + side * through

        return self._sliced(account, side, size, price, rests=False, venue=venue)

    def _sliced(
        self, account: int, side: int, size: float, price: Callable[[], int], *, rests: bool, venue: int
    ) -> Sent:
        n = min(1 + round(2 * self.disguise), max(1, round(size)))
        sent = []
        for k in range(n):
            if k:
                yield self.between(0, 0.4 * self.disguise)
            varied = size / n * (1 + self.rng.uniform(-0.3, 0.3) * self.disguise)
            sent.append(self.send(account, side, price(), varied, rests=rests, venue=venue))
        return sent

    def reach(self, account: int, side: int, change: float, span_ns: int, *, line: bool, venue: int = 0) -> Process:
        """Take until the mid's log has changed by ``change`` that way; on a ``line`` over the span, or at once."""
        book = self.world.books[venue]
        while not (book.best(1) and book.best(-1)):
            yield 200_000_000
        begin_ns, begin = self.world.now, book.mid()
        holding: list[Order] = []
        reached = 0
        while (gone_ns := self.world.now - begin_ns) < span_ns:
            share = min(1.0, 1.1 * gone_ns / span_ns + 0.02) if line else 1.0
            there = begin * exp(side * change * share)
            short = side * (there - book.mid())
            if short > 0.5:
                near = 1.0 if line else min(1.0, 0.5 + gone_ns / (30 * SECOND_NS))
                goal = book.mid() + side * near * short
                self.harm()
                holding = yield from self._push(account, side, goal, holding, 5.0 if line else 1.0, venue)
            elif not line and book.best(-side):  # a swept side says nothing yet
                reached += 1
                if reached == 2:
                    break
            self._seen()
            on_line = line and side * (there - book.mid()) <= 0.5
            yield self.between(1.5, 4.0) if on_line else self.between(0.4, 1.5)
        self.withdraw(holding, venue)

    def _push(self, account: int, side: int, goal: float, holding: list[Order], depths: float, venue: int) -> Sent:
        """Take what stands before the goal, ticks, and let an order of ``depths`` rest where it holds the mid there."""
        levels = self.world.books[venue].side(-side)
        key = floor(side * goal)
        before = levels.ahead_of(key)
        if before:
            ample = before * (1 + 0.5 * self.disguise)  # slices vary, and what nobody offers expires
            yield from self._sliced(account, side, ample, lambda: side * key, rests=False, venue=venue)
        beyond = levels.keys[0] if levels.keys else key + 1
        nearest = key - 4 * max(1, round(self.world.conditions.half))  # whoever comes between would undo it
        hold = side * min(max(round(2 * side * goal - beyond), nearest), beyond - 1)
        if not before and any(order.open and order.price == hold for order in holding):
            return holding
        self.withdraw(holding, venue)  # only now: while nobody is left on the other side, the last quote stands
        return (yield from self.place(account, side, hold, depths * self.units[venue].depth, venue=venue))

    def out(self, account: int, span_ns: int) -> Process:
        """Sell what an account has bought, or buy back what it has sold, within the span."""
        end_ns = self.world.now + span_ns
        part = max(self.depth / 2, abs(self.held(account)) / 15)
        while (held := self.held(account)) and self.world.now < end_ns:
            yield from self.take(account, -1 if held > 0 else 1, min(abs(held), part), through=10)
            yield int(self.rng.uniform(0.5, 1.5) * span_ns / 20)

    def ordinary(self, account: int) -> Process:
        """Send the ordinary orders that a disguised account sends around the event."""
        n = round(20 * self.disguise)
        for _ in range(n):
            yield int(self.rng.expovariate(1.0) * self.minutes(60) / n)
            side = self.rng.choice((1, -1))
            size = max(1, round(self.units[0].trade * exp(self.rng.gauss(0, 0.8))))
            best = self.book.best(-side) if self.rng.random() < 0.5 else self.book.best(side)
            order = self.book.submit(self.world.now, account, side, best or self.book.last, size)
            self.world.cancel_after(self.between(5, 120), self.book, order)
