"""The agents' model: makers that quote around what they believe, investors that split their orders, patient clients.

Makers believe in a fair price that drifts to the instrument's value, gives way to what is bought and sold, and leans to
the heavier side of the book; their quotes lean against their own inventory. Investors are uninformed, informed (they
take when the value is beyond the best price), or follow a trend; how many orders one splits into has a Pareto tail, so
the signs of trades have a long memory. Patient clients leave orders at distances of a power law, and lose patience; an
order that the value has left far behind is taken by others.

Sources: Avellaneda, Stoikov (2008), "High-frequency trading in a limit order book"; Lillo, Mike, Farmer (2005), "Theory
for long memory in supply and demand"; Chiarella, Iori (2002), "A simulation analysis of the microstructure of double
auction markets".
"""

from __future__ import annotations

from math import ceil, exp, floor, sqrt

from engines.simulator.flow import SECOND_NS
from engines.simulator.lob.book import Book, Order
from engines.simulator.lob.world import CLIENTS, MAKERS, Process, World

#: Rows that an arrival leaves on average, measured; turns ticks a second into arrivals a second.
ROWS_PER_ARRIVAL = 18.0
_QUOTES_SHARE = 0.25  # of arrivals: a maker looks at its quotes
_PATIENT_SHARE = 0.27  # a client leaves an order; the rest are investors that begin
_LEVELS = 3
_MAKERS_A_BOOK = 4
_LEARN_NS = 30 * SECOND_NS  # in which two thirds of what value and fair price differ by are learnt
_SHOCK = 0.01  # of the price; beyond it makers learn within seconds
_SHOCK_NS = 2 * SECOND_NS
_IMPACT = 0.30  # half spreads by which a lot taken moves the fair price
_LEAN = 0.9  # half spreads by which a wholly one-sided book moves the quotes
_INVENTORY = 0.08  # half spreads a lot of inventory
_INFORMED, _TREND = 0.35, 0.08  # of investors
_TREND_NS = 30 * SECOND_NS
_TAIL = 1.1  # of the number of orders that an investor splits into
_MOST_CHILDREN = 300
_CHILD_GAP = 0.5  # arrivals between an investor's orders
_PASSIVE_SHARE = 0.25  # of an investor's orders
_REACTS = 0.6  # probability that a trade makes a maker look at its quotes
_REACTION_S = 0.03
_LIFE_S = 90.0  # of a patient order at the best price
_LOOKS = 6.0  # at the value, an arrival
_NOTICED, _NOTICE_S = 2.0, 1.5  # half spreads (ticks at least) by which the value has moved when makers quote again
_BARGAIN, _SNAPS = 2.5, 0.3  # half spreads (likewise) beyond the value; probability a look that somebody takes it


class _Maker:
    """A maker in one book: its quotes by (side, level)."""

    __slots__ = ("account", "amends", "book", "quotes", "size", "width")

    def __init__(self, account: int, book: Book, width: float, size: float, amends: bool) -> None:
        self.account, self.book, self.width, self.size, self.amends = account, book, width, size, amends
        self.quotes: dict[tuple[int, int], Order] = {}


class Agents:
    """Background flow of agents that answer to the book; see the module."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rng = world.rng
        self.fair = world.conditions.value[0]
        self.inventory = dict.fromkeys(range(CLIENTS, CLIENTS + MAKERS), 0)
        self._learnt_ns = 0
        self._bought = 0
        self._past, self._past_ns = self.fair, 0  # the mid half a minute ago and when it was seen
        self._before = self.fair
        firms = self.rng.sample(range(CLIENTS, CLIENTS + MAKERS), _MAKERS_A_BOOK)
        self.makers = [
            _Maker(firm, book, self.rng.uniform(0.7, 1.5), self.rng.uniform(0.8, 2.0), firm % 2 == 0)
            for book in world.books
            for firm in firms
        ]
        for book in world.books:
            book.on_trade = self._react

    def open(self) -> None:
        """Let every maker quote, and some clients leave orders."""
        for maker in self.makers:
            self._quote(maker)
        for _ in range(12 * len(self.world.books)):
            self._leave()
        self.world.start(0, self._watch())

    def arrive(self) -> None:
        """Let a maker look at its quotes, a client leave an order, or an investor begin."""
        u = self.rng.random()
        if u < _QUOTES_SHARE:
            self._quote(self.makers[int(self.rng.random() * len(self.makers))])
        elif u < _QUOTES_SHARE + _PATIENT_SHARE:
            self._leave()
        else:
            self.world.start(0, self._invest())

    def _watch(self) -> Process:
        """Let makers look at their quotes whenever the value has moved, and clients take what it has left behind."""
        world, conditions = self.world, self.world.conditions
        seen, noticed = conditions.value[0], _NOTICED * max(1.0, conditions.half)
        while True:
            yield int(world.rng.expovariate((conditions.rate[world.second] + 0.01) * _LOOKS) * SECOND_NS)
            value = conditions.value[world.second]
            if abs(value - seen) > noticed:
                seen = value
                for maker in world.rng.sample(self.makers, 2):
                    self._quote_after(world.rng.expovariate(1 / _NOTICE_S), maker)
            for book in world.books:
                self._snap_up(book, value)

    def _snap_up(self, book: Book, value: float) -> None:
        """Let a client take what stands far beyond the value: an order that was forgotten holds the price up."""
        world, rng, half = self.world, self.rng, self.world.conditions.half
        for side in (1, -1):
            best = book.best(-side)
            if best and side * (value - best) > _BARGAIN * max(1.0, half) and rng.random() < _SNAPS:
                size = max(1, round(world.conditions.lot * exp(rng.gauss(0, 0.8))))
                book.submit(world.now, world.client(), side, round(value - side * half), size, rests=False)

    def _react(self) -> None:
        if self.rng.random() < _REACTS:
            maker = self.makers[int(self.rng.random() * len(self.makers))]
            self._quote_after(self.rng.expovariate(1 / _REACTION_S), maker)

    def _quote_after(self, delay_s: float, maker: _Maker) -> None:
        self.world.after(delay_s * SECOND_NS, lambda: self._quote(maker))

    def _learn(self) -> None:
        """Bring the fair price up to date."""
        world = self.world
        now, conditions = world.now, world.conditions
        gap = conditions.value[world.second] - self.fair
        pace_ns = _SHOCK_NS if abs(gap) > _SHOCK * self.fair else _LEARN_NS
        self.fair += gap * (1.0 - exp((self._learnt_ns - now) / pace_ns))
        self._learnt_ns = now
        bought = sum([book.bought for book in world.books])
        taken = (bought - self._bought) / conditions.lot
        self._bought = bought
        if taken:
            self.fair += (_IMPACT if taken > 0 else -_IMPACT) * conditions.half * sqrt(abs(taken))
        if now - self._past_ns > _TREND_NS:
            self._before, self._past, self._past_ns = self._past, world.books[0].mid(), now

    def _quote(self, maker: _Maker) -> None:
        """Move the quotes of a maker that stand away from where it wants them."""
        self._learn()
        world, rng, book = self.world, self.rng, maker.book
        now, conditions = world.now, world.conditions
        usual = conditions.half
        half = max(0.5, usual * maker.width * conditions.calm[world.second])
        heavy_bid, heavy_ask = book.bids.top(3), book.asks.top(3)
        lean = _LEAN * usual * (heavy_bid - heavy_ask) / (heavy_bid + heavy_ask) if heavy_bid and heavy_ask else 0.0
        held = self.inventory[maker.account] / conditions.lot
        centre = self.fair + lean - _INVENTORY * usual * max(-20.0, min(20.0, held))
        step = max(1.0, half)
        for level in range(_LEVELS):
            for side in (1, -1):
                order = maker.quotes.get((side, level))
                if order is not None and order.filled:
                    self.inventory[maker.account] += side * order.filled
                    order.filled = 0
                away = half + level * step
                price = floor(centre - away) if side > 0 else ceil(centre + away)
                other = book.best(-side)
                if other and side * (price - other) >= 0:
                    price = other - side  # makers do not take
                price = max(1, price)
                if order is not None and order.open:
                    if abs(order.price - price) <= (0 if level == 0 else step):
                        continue
                    if maker.amends:
                        book.amend(now, order, price, order.open)
                        continue
                    book.cancel(now, order)
                size = max(1, round(conditions.lot * maker.size * (1 + 0.5 * level) * exp(rng.gauss(0, 0.3))))
                maker.quotes[side, level] = book.submit(now, maker.account, side, price, size)

    def _leave(self) -> None:
        """Let a client leave an order in the book until it is filled or patience ends."""
        world, rng = self.world, self.rng
        conditions = world.conditions
        book = world.books[int(rng.random() ** 1.5 * len(world.books))]
        side = 1 if rng.random() < 0.5 else -1
        behind = min(60, int(conditions.half * (rng.paretovariate(1.1) - 1)))
        best = book.best(side) or floor(self.fair - side * conditions.half)
        spread = side * (book.best(-side) - best)
        if behind == 0 and spread > 1 and rng.random() < 0.35:
            behind = -1
        size = max(1, round(conditions.lot * exp(rng.gauss(0, 0.9))))
        order = book.submit(world.now, world.client(), side, max(1, best - side * behind), size)
        world.cancel_after(rng.expovariate(1 / (_LIFE_S * (1 + max(0, behind) / 10))) * SECOND_NS, book, order)

    def _side(self) -> int:
        """Return the side that the next investor takes."""
        world, rng = self.world, self.rng
        pressure = world.conditions.pressure[world.second]
        if rng.random() < abs(pressure):
            return 1 if pressure > 0 else -1
        mid = world.books[0].mid()
        gap = world.conditions.value[world.second] - mid
        if abs(gap) > world.conditions.half and rng.random() < _INFORMED:
            return 1 if gap > 0 else -1
        moved = mid - self._before
        if abs(moved) > 3 * world.conditions.half and rng.random() < _TREND:
            return 1 if moved > 0 else -1
        return 1 if rng.random() < 0.5 else -1

    def _invest(self) -> Process:
        """Take, in as many orders as the investor splits what it wants into, sometimes waiting in the book."""
        world, rng, conditions = self.world, self.rng, self.world.conditions
        account, side = world.client(), self._side()
        for _ in range(min(_MOST_CHILDREN, int(rng.paretovariate(_TAIL)))):
            size = max(1, round(conditions.lot * exp(rng.gauss(0, 0.8))))
            books = [book for book in world.books if book.best(-side)]
            if books:
                book = min(books, key=lambda one: side * one.best(-side))
                own = book.best(side)
                if own and rng.random() < _PASSIVE_SHARE:
                    order = book.submit(world.now, account, side, own, size)
                    world.cancel_after(rng.expovariate(1 / 20) * SECOND_NS, book, order)
                else:
                    limit = max(1, book.best(-side) + side * (rng.random() < 0.2))
                    book.submit(world.now, account, side, limit, size, rests=False)
            yield int(
                rng.expovariate(1.0)
                * SECOND_NS
                * min(40.0, max(0.2, _CHILD_GAP / (conditions.rate[world.second] + 0.01)))
            )
