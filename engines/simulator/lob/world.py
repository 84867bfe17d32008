"""The world of one company: its books, its clock, and what happens when.

Arrivals come from outside and are drawn beforehand; whatever follows from them (a child of a metaorder, a cancel, the
next step of a scheme) waits in a heap. A process is a generator that yields for how many ns it sleeps.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Protocol

from engines.simulator.flow import SECOND_NS
from engines.simulator.lob.book import Book, Order

Process = Generator[int, None, None]
#: Clients trade in every instrument, makers in some; accounts of events come after them.
CLIENTS = 400
MAKERS = 6
ARBITRAGEUR = CLIENTS + MAKERS
FIRST_OF_EVENTS = CLIENTS + 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conditions:
    """What a company's market lives under. Lists have an entry a second of the session.

    ``value`` is what informed traders think a unit is worth, ticks; ``rate`` the arrivals a second; ``calm`` the
    volatility relative to the usual one; ``pressure`` in [-1, 1] the probability, with its sign, that an arrival is
    carried away by an event. ``half`` is the usual half spread, ticks; ``lot`` the usual size of a trade, units.
    """

    value: list[float]
    rate: list[float]
    calm: list[float]
    pressure: list[float]
    half: float
    lot: float
    halts: list[tuple[int, int]] = field(default_factory=list)  # first and last ns


class Model(Protocol):
    """Background order flow: fills the books at the open, and acts at every arrival."""

    def open(self) -> None:
        """Place the first orders."""

    def arrive(self) -> None:
        """Do what one arrival does, now."""


class World:
    """Books of one company, a book a venue, under common conditions; ``now`` is ns since the open."""

    def __init__(self, seed: int, venues: int, conditions: Conditions, number: int) -> None:
        self.rng = random.Random(seed)
        self.books = [Book() for _ in range(venues)]
        self.conditions = conditions
        self.number = number  # of the company
        self.now = 0
        self.second = 0
        self.traders: dict[int, int] = {}  # account → trader, where it is another's number
        self._waiting: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def after(self, delay_ns: float, action: Callable[[], None]) -> None:
        """Let ``action`` happen ``delay_ns`` from now."""
        self._count += 1
        heapq.heappush(self._waiting, (self.now + int(delay_ns), self._count, action))

    def start(self, delay_ns: float, process: Process) -> None:
        """Let ``process`` begin ``delay_ns`` from now."""

        def step() -> None:
            sleep_ns = next(process, -1)
            if sleep_ns >= 0:
                self.after(sleep_ns, step)

        self.after(delay_ns, step)

    def cancel_after(self, delay_ns: float, book: Book, order: Order) -> None:
        """Let ``order`` be cancelled ``delay_ns`` from now, if something of it still rests then."""
        if order.open:
            self.after(delay_ns, lambda: book.cancel(self.now, order))

    def client(self) -> int:
        """Return a client's account: some trade often, most seldom, and who does differs between companies."""
        u = self.rng.random()
        return (int(CLIENTS * u * u) * 7 + 13 * self.number) % CLIENTS

    def run(self, model: Model, arrivals: list[int], until: int) -> None:
        """Let the day happen: ``arrivals`` in ns since the open, ascending. In a halt nothing happens; it waits."""
        model.open()
        waiting, halts = self._waiting, self.conditions.halts
        place, n = 0, len(arrivals)
        while waiting or place < n:
            if place < n and (not waiting or arrivals[place] <= waiting[0][0]):
                at, action = arrivals[place], model.arrive
                place += 1
            else:
                at, _, action = heapq.heappop(waiting)
            if at >= until:
                break
            if halts and (resume := next((last for first, last in halts if first <= at < last), 0)):
                self._count += 1
                later = resume + 100_000_000 + (at * 7_919) % (5 * SECOND_NS)
                heapq.heappush(waiting, (later, self._count, action))
                continue
            self.now, self.second = at, at // SECOND_NS
            action()
