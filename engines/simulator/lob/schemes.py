"""Misconduct in an order book, a function a typology: what its accounts send, and when.

Sizes and moves are those of docs/simulator.md, in units of the background, times the strength. A scheme yields for how
long it sleeps, as every process of the world; `Stage` sends its orders, in slices where it is disguised.
"""

from __future__ import annotations

from engines.simulator.flow import SECOND_NS
from engines.simulator.lob.book import Order
from engines.simulator.lob.stage import Stage
from engines.simulator.lob.world import Process

_CYCLES = 6


def spoofing(stage: Stage) -> Process:
    """One large order that is not meant, on the side opposite to the one that is."""
    yield from _show_and_take(stage, depths=[10.0])


def layering(stage: Stage) -> Process:
    """The same with five orders at five prices."""
    yield from _show_and_take(stage, depths=[3.0] * 5)


def _show_and_take(stage: Stage, depths: list[float]) -> Process:
    account, side, book = stage.accounts[0], -stage.side, stage.book  # what is shown is opposite to what gains
    for _ in range(_CYCLES):
        yield int(stage.rng.uniform(0.6, 1.2) * stage.minutes(10) / _CYCLES)
        meant = stage.send(account, -side, book.best(-side) or book.last, stage.depth)
        best = book.best(side) or book.last
        first = stage.rng.randint(1, 3)
        shown: list[Order] = []
        for level, multiple in enumerate(depths):
            price = best - side * (first + level)
            shown += yield from stage.place(account, side, price, multiple * stage.strength * stage.depth)
        stage.harm()
        until = stage.world.now + stage.between(2, 6)
        nearest = -side * shown[0].price
        while stage.world.now < until and meant.open and book.side(side).keys and book.side(side).keys[0] < nearest:
            yield 100_000_000
        if meant.open:
            stage.withdraw([meant])
            left = stage.depth - meant.filled
            stage.send(account, -side, -side * (nearest - 1), left, rests=False)  # all that stands before what is shown
        yield stage.between(0.05, 0.4)
        stage.withdraw(shown)


def quote_stuffing(stage: Stage) -> Process:
    """Bursts of orders that are cancelled at once."""
    account, book, rng = stage.accounts[0], stage.book, stage.rng
    pause_ns = int(2 * SECOND_NS / (20 * stage.strength * stage.units[0].second_rate))
    stage.harm()
    for _ in range(3):
        until = stage.world.now + 4 * SECOND_NS
        while stage.world.now < until:
            side = rng.choice((1, -1))
            price = (book.best(side) or book.last) - side * rng.randint(1, 6)
            order = stage.send(account, side, price, stage.units[0].trade)
            life_ns = stage.between(0.002, 0.045)
            stage.world.cancel_after(life_ns, book, order)
            yield int(pause_ns * rng.uniform(0.8, 1.2))
        yield int(rng.uniform(0.5, 1.0) * stage.minutes(2) / 3)


def momentum_ignition(stage: Stage) -> Process:
    """A position, a burst of marketable orders that others follow, and the way out."""
    account = stage.accounts[0]
    while abs(stage.held(account)) < 2 * stage.depth:
        yield from stage.take(account, stage.side, stage.depth / 2)
        yield stage.between(2, 5)
    yield from stage.reach(
        account, stage.side, 6 * stage.strength * stage.units[0].sigma(60), 60 * SECOND_NS, line=False
    )
    yield stage.between(2, 6)
    yield from stage.out(account, stage.minutes(3))


def wash_trading(stage: Stage) -> Process:
    """Trades with oneself, or between two accounts of one trader."""
    seller, buyer = stage.accounts[0], stage.accounts[-1]
    stage.world.traders[buyer] = stage.world.traders.get(seller, seller)
    total = 0.5 * stage.strength * stage.units[0].volume * 900
    yield from _meetings(stage, [(seller, buyer)] * 16, total, stage.minutes(15))


def circular_trading(stage: Stage) -> Process:
    """Trades round a ring of accounts, each of which ends with what it had."""
    ring = stage.accounts
    pairs = [(ring[k % len(ring)], ring[(k + 1) % len(ring)]) for k in range(20)]
    total = 0.5 * stage.strength * stage.units[0].volume * 1_200
    yield from _meetings(stage, pairs, total, stage.minutes(20))
    for account in ring:  # what strangers met
        yield from stage.out(account, stage.minutes(3))


def _meetings(stage: Stage, pairs: list[tuple[int, int]], total: float, span_ns: int) -> Process:
    """Let each pair's first sell to its second, ``total`` units together."""
    book = stage.book
    book.self_trading.update(account for pair in pairs for account in pair)
    for seller, buyer in pairs:
        yield int(stage.rng.uniform(0.5, 1.2) * span_ns / len(pairs))
        for _ in range(50):  # for five seconds, until there is room between the best prices
            if book.best(-1) - book.best(1) > 1 and book.best(1):
                break
            yield 100_000_000
        inside = book.best(-1) - book.best(1) > 1
        price = (book.best(-1) or book.last) - inside
        (*_, rest) = yield from stage.place(seller, -1, price, total / len(pairs))
        yield stage.between(0.005, 0.06)
        stage.harm()
        # In a queue they meet only once what stands before them is taken too.
        stage.send(buyer, 1, price, book.asks.ahead_of(price), rests=False)
        stage.withdraw([rest])


def marking_the_close(stage: Stage) -> Process:
    """Orders that hold the price on a line to where the close shall be."""
    span_ns = stage.seconds * SECOND_NS - stage.world.now
    change = 4 * stage.strength * stage.units[0].sigma(240)
    yield from stage.reach(stage.accounts[0], stage.side, change, span_ns, line=True)


def influencing_the_open(stage: Stage) -> Process:
    """The same at the open, and the way out once it is made."""
    change = 4 * stage.strength * stage.units[0].sigma(180)
    yield from stage.reach(stage.accounts[0], stage.side, change, 180 * SECOND_NS, line=True)
    yield from stage.out(stage.accounts[0], stage.minutes(10))


def pump_and_dump(stage: Stage) -> Process:
    """What the ring does; the crowd is in the conditions."""
    burst_ns = stage.onset_s * SECOND_NS
    each = 0.3 * stage.strength * stage.units[0].volume * 1_800 / len(stage.accounts) / 8
    while stage.world.now < burst_ns + 30 * SECOND_NS:
        if stage.world.now >= burst_ns:
            stage.harm()
            yield stage.between(0.5, 2)
        else:
            yield min(int(stage.rng.uniform(0.3, 1.0) * stage.minutes(30) / 40), burst_ns - stage.world.now)
        yield from stage.take(stage.rng.choice(stage.accounts), 1, each)
    yield max(0, burst_ns + 90 * SECOND_NS - stage.world.now)
    for account in stage.accounts:
        stage.world.start(stage.between(0, 20), stage.out(account, stage.minutes(6)))


def front_running(stage: Stage) -> Process:
    """A trader's own account ahead of its client's orders."""
    own, client = stage.accounts
    stage.world.traders[own] = stage.world.traders.get(client, client)
    side, depth = stage.side, stage.depth
    for _ in range(4):
        yield int(stage.rng.uniform(0.3, 1.0) * stage.minutes(6))
        lead_ns = stage.between(5, 20)
        stage.harm()
        wanted = 3 * stage.strength * depth + abs(stage.held(own))
        latest_ns = stage.world.now + 20 * SECOND_NS
        while (left := wanted - abs(stage.held(own))) > 0 and stage.world.now < latest_ns:
            yield from stage.take(own, side, min(left, wanted / 3), through=10)
            yield lead_ns // 8
        work_ns, worked = stage.between(60, 90), 0.0
        end_ns = stage.world.now + work_ns
        done = abs(stage.held(client))
        while stage.world.now < end_ns and (worked := abs(stage.held(client)) - done) < 10 * depth:
            parts = max(1.0, (end_ns - stage.world.now) / (work_ns / 15))
            stage.send(
                client, side, (stage.book.best(-side) or stage.book.last) + side * 5,
                (10 * depth - worked) / parts, rests=False,
            )  # fmt: skip
            yield work_ns // 18
        yield from stage.out(own, 60 * SECOND_NS)


def insider_dealing(stage: Stage) -> Process:
    """A position before an article that nobody else expects."""
    account, article_ns = stage.accounts[0], stage.onset_s * SECOND_NS
    wanted = 0.25 * stage.strength * stage.units[0].volume * 1_800
    end_ns = article_ns - stage.minutes(2)
    stage.harm()
    while stage.world.now < end_ns and (left := wanted - abs(stage.held(account))) > 0:
        parts = max(1.0, (end_ns - stage.world.now) / (stage.minutes(28) / 30))
        yield from stage.take(account, stage.side, left / parts)
        yield int(stage.rng.uniform(0.4, 1.2) * stage.minutes(28) / 30)
    yield article_ns + stage.minutes(30) - stage.world.now
    yield from stage.out(account, stage.minutes(8))


def cross_product(stage: Stage) -> Process:
    """Orders that wait on one venue for the price that is made on the other."""
    account, side = stage.accounts[0], stage.side
    waiting = []
    apart = max(1, round(stage.world.conditions.half))
    for k in range(1, 4):
        price = (stage.book.best(side) or stage.book.last) + side * k * apart
        waiting += yield from stage.place(account, -side, price, 2 * stage.strength * stage.depth)
        yield stage.between(0.5, 2)
    change = 5 * stage.strength * stage.units[1].sigma(60)
    yield from stage.reach(account, side, change, 60 * SECOND_NS, line=False, venue=1)
    yield stage.between(10, 30)
    stage.withdraw(waiting)


def excessive_messages(stage: Stage) -> Process:
    """Orders that are moved without end and hardly ever trade."""
    account, book, rng = stage.accounts[0], stage.book, stage.rng
    pause_ns = int(60 * SECOND_NS / (8 * stage.strength * stage.units[0].minute_rate))
    until = stage.world.now + stage.minutes(10)
    orders: list[Order] = []
    stage.harm()
    while stage.world.now < until:
        orders = [order for order in orders if order.open]
        side = rng.choice((1, -1)) if len(orders) < 4 else 0
        if side:
            price = (book.best(side) or book.last) - side * rng.randint(2, 6)
            orders.append(stage.send(account, side, price, stage.units[0].trade))
        else:
            order = rng.choice(orders)
            stage.amend(order, (book.best(order.side) or book.last) - order.side * rng.randint(2, 6))
        yield int(pause_ns * rng.uniform(0.7, 1.3))
    stage.withdraw(orders)


def fat_finger(stage: Stage) -> Process:
    """One order that is far too large, at a limit far through the market."""
    limit = round(stage.book.mid() * (1 + stage.side * 0.02 * stage.strength))
    stage.harm()
    order = stage.send(stage.accounts[0], stage.side, limit, 40 * stage.strength * stage.depth)
    yield stage.between(1, 3)
    stage.withdraw([order])


# What only looks like it.


def aggressive_maker(stage: Stage) -> Process:
    """Quotes on both sides that move often and can be hit."""
    account, book, rng = stage.accounts[0], stage.book, stage.rng
    pause_ns = int(60 * SECOND_NS / (2 * stage.units[0].minute_rate))
    until = stage.world.now + stage.minutes(20)
    quotes: dict[int, Order] = {}
    stage.harm()
    while stage.world.now < until:
        for side in (1, -1):
            price = book.best(side) or book.last
            order = quotes.get(side)
            if order is None or not order.open:
                quotes[side] = stage.send(account, side, price, stage.depth)
            elif order.price != price or rng.random() < 0.3:
                stage.amend(order, price - side * rng.randint(0, 1))
        yield int(2 * pause_ns * rng.uniform(0.5, 1.5))
    stage.withdraw(list(quotes.values()))


def block_trade(stage: Stage) -> Process:
    """One large trade between two clients who agreed on it."""
    seller, buyer = stage.accounts
    while not (stage.book.best(1) and stage.book.best(-1)):
        yield SECOND_NS
    stage.harm()
    stage.cross(buyer, seller, int(stage.book.mid()), 30 * stage.depth)


def index_rebalancing(stage: Stage) -> Process:
    """Many clients that all have to buy, or to sell, at the close."""
    end_ns = stage.seconds * SECOND_NS
    span_ns = end_ns - stage.world.now
    each = 0.5 * stage.units[0].volume * 1_800 / 120
    stage.harm()
    while stage.world.now < end_ns:
        yield from stage.take(stage.rng.choice(stage.accounts), stage.side, each)
        yield int(stage.rng.uniform(0.5, 1.5) * span_ns / 120)
