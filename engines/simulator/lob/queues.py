"""The queues' model: no agent knows anything; orders arrive, are taken and are cancelled at rates by their distance.

Limit orders arrive at i steps from the opposite best at a rate k / i^a, orders at the market at a rate mu, and each
resting order is cancelled at a rate theta(i). The price follows the instrument's value only since takers lean to it.
The source's takers have no memory; here most follow a mood that changes after a Pareto number of them. The model has
another structure than the agents' (no makers, no splitting, nobody who looks at the book) and is there to try detectors
on a flow that they were not tuned on.

Source: Cont, Stoikov, Talreja (2010), "A stochastic model for order book dynamics", table 3 for the rates.
"""

from __future__ import annotations

from math import exp, tanh

from engines.simulator.flow import SECOND_NS
from engines.simulator.lob.world import World

#: Rows that an arrival leaves on average, measured; turns ticks a second into arrivals a second.
ROWS_PER_ARRIVAL = 2.4
_STEPS = 12
_K, _A = 1.92, 0.52
_MU = 0.94
_THETA = (0.71, 0.81, 0.68, 0.56, 0.47)  # by step; farther as at the last
_LIMITS = [_K / step**_A for step in range(1, _STEPS + 1)]
_ALL = sum(_LIMITS) + _MU  # of one side, a second of the source's clock
_FEWEST = 3  # levels of a side; with fewer the next order rests there, since the source's rates know no empty side
_FAR = 6.0  # steps from the value beyond which nobody looks for the other side
_COLLAR = 8.0  # steps through the best price that an order at the market takes at most
_MOOD = 0.75  # probability that a taker follows the mood
_TAIL = 1.25  # of the number of takers that a mood lasts


class Queues:
    """Background flow of a zero-intelligence book; see the module."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rng = world.rng
        self.step = max(1.0, 0.7 * world.conditions.half)  # ticks
        self._mood, self._takers = 1, 0  # side, and how many more follow it

    def open(self) -> None:
        """Fill both sides of every book as they would stand."""
        world, value = self.world, self.world.conditions.value[0]
        for book in world.books:
            for side in (1, -1):
                for step in range(1, _STEPS + 1):
                    for _ in range(2):
                        self._rest(book_number=world.books.index(book), side=side, opposite=round(value), step=step)

    def arrive(self) -> None:
        """Let one order come: at the market, or to rest at a distance."""
        world, rng = self.world, self.rng
        conditions = world.conditions
        number = int(rng.random() ** 1.5 * len(world.books))
        book = world.books[number]
        value, mid = conditions.value[world.second], book.mid()
        for thin in (1, -1):
            if len(book.side(thin).keys) < _FEWEST:
                self._rest(number, thin, book.best(-thin) or round(mid) + thin, 1 + int(rng.random() * 3))
                return
        lean = tanh((value - mid) / (6.0 * self.step))
        pressure = conditions.pressure[world.second]
        lean = max(-0.95, min(0.95, 0.6 * lean + pressure))
        side = 1 if rng.random() < 0.5 + 0.5 * lean else -1
        if rng.random() * _ALL < _MU:
            if rng.random() < _MOOD:
                side = self._in_the_mood()
            collar = (book.best(-side) or round(mid)) + side * round(_COLLAR * self.step)
            book.submit(world.now, world.client(), side, max(1, collar), self._size(), rests=False)
            return
        u, step = rng.random() * (_ALL - _MU), 1
        while step < _STEPS and u >= _LIMITS[step - 1]:
            u -= _LIMITS[step - 1]
            step += 1
        self._rest(number, side, book.best(-side) or round(mid) + side, step)

    def _in_the_mood(self) -> int:
        """Return the side that takers are in the mood for."""
        if self._takers == 0:
            self._mood = 1 if self.rng.random() < 0.5 else -1
            self._takers = int(self.rng.paretovariate(_TAIL))
        self._takers -= 1
        return self._mood

    def _rest(self, book_number: int, side: int, opposite: int, step: int) -> None:
        world, rng, book = self.world, self.rng, self.world.books[book_number]
        value = world.conditions.value[world.second]
        opposite = round(max(value - _FAR * self.step, min(value + _FAR * self.step, opposite)))
        ticks = max(1, round(step * self.step + rng.uniform(-0.5, 0.5) * (self.step - 1)))
        price, other = opposite - side * ticks, book.best(-side)
        if other and side * (price - other) >= 0:
            price = other - side  # whoever means to rest does not take
        order = book.submit(world.now, world.client(), side, max(1, price), self._size())
        # The source's clock runs so that arrivals come at this world's rate, which its books share.
        arrivals = (world.conditions.rate[world.second] + 0.02) / len(world.books)
        theta = _THETA[min(step, len(_THETA)) - 1] * arrivals / (2 * _ALL)
        world.cancel_after(rng.expovariate(theta) * SECOND_NS, book, order)

    def _size(self) -> int:
        return max(1, round(self.world.conditions.lot * exp(self.rng.gauss(0, 0.8))))
