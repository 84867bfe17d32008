"""One account, two venues: orders that wait on one, a price that is made on the other."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import msgspec
import pytest

from engines.order_findings import OrderConfig
from engines.orders import OrderEngine
from engines.tracks import Seen
from engines.typologies import conditions, cross_product
from engines.typologies.cross_product import CrossProductConfig, Kept
from schemas.frames import Frame
from schemas.order_frames import OrderFrame
from schemas.records import Half
from tests.order_flow import DEPTH, Market, S

AT, DAY_NS = 1_200, 86_400 * S
HERE, THERE = "ACME.XTOC", "ACME.XTOD"
Books = dict[str, Market]


def _wait(market: Market, account: str = "crosser", side: int = -1, depths: float = 1.0) -> None:
    """Let three orders rest at prices to come; two are filled, the last is withdrawn."""
    orders = [
        market.place(AT + k, account, side, round(market.mid - side * 0.03 * (1 + k), 2), depths * DEPTH)
        for k in range(3)
    ]
    for k, order in enumerate(orders[:2]):
        market.take(AT + 10 + 5 * k, "arbitrageur", order, depths * DEPTH)
    market.cancel(AT + 40, orders[2])


def _push(market: Market, side: int = 1, cents: int = 10, account: str = "crosser") -> None:
    """Take five depths at prices that move."""
    mid = market.mid
    for k in range(10):
        mid = round(mid + 0.01 * side * cents, 2)
        order = market.place(AT + 4 + k, "other", -side, mid, DEPTH)
        market.take(AT + 4.5 + k, account, order, DEPTH / 2)


def books(wait: Callable[[Market], None] = _wait, push: Callable[[Market], None] = _push) -> Books:
    made = {name: Market(instrument=name) for name in (HERE, THERE)}
    for seed, market in enumerate(made.values()):
        market.quiet(AT, seed=seed)
    wait(made[HERE])
    push(made[THERE])
    for seed, market in enumerate(made.values()):
        market.quiet(60, seed=2 + seed, begin=AT)
    return made


@cache
def _example() -> Books:
    return books()


def halves(orders: OrderFrame, ticks: Frame, rows: int = 500) -> list[Half]:
    """Return what one instrument tells, its frames of ``rows``, each after the ticks of its time."""
    engine = OrderEngine(OrderConfig())
    state = engine.new_state()
    told: list[Half] = []
    seen = 0
    for first in range(0, len(orders), rows):
        part = orders[first : first + rows]
        until = int(ticks.ts_event.searchsorted(part.ts_event[-1], side="right"))
        engine.observe(state, ticks[seen:until])
        told += [half for _, half in engine.apply(state, part).halves]
        seen = until
    return told


def found(told: dict[str, list[Half]], product: Callable[[str], str] = lambda name: name[:4]) -> dict[str, str]:
    """Return whom the halves of instruments accuse, by the instrument in which its orders rested."""
    kept: list[Kept] = []
    config, accused = CrossProductConfig(), {}
    by_time = sorted(((name, half) for name, mine in told.items() for half in mine), key=lambda one: one[1].end_ns)
    for number, (name, half) in enumerate(by_time):
        new = Kept(name, half, Seen("market", 0, number, half.end_ns, bytes(32)))
        for pair in cross_product.join(config, kept, new, product):
            if conditions.score(cross_product.measure(config, pair)) >= cross_product.SPEC.open:
                accused[pair.rested.instrument] = half.account
    return accused


def of(made: Books) -> dict[str, list[Half]]:
    return {name: halves(market.orders(), market.ticks()) for name, market in made.items()}


def test_what_one_account_did_on_two_venues_is_found() -> None:
    assert found(of(_example())) == {HERE: "crosser"}


@pytest.mark.parametrize(
    ("wait", "push"),
    [
        (lambda market: _wait(market, "another"), _push),
        (lambda market: _wait(market, side=1), _push),
        (lambda market: _wait(market, depths=0.3), _push),
        (_wait, lambda market: _push(market, cents=0)),
        (_wait, lambda market: None),
    ],
    ids=["two accounts", "one side", "little waits", "the price stays", "nothing taken"],
)
def test_what_lacks_something_is_not(wait: Callable[[Market], None], push: Callable[[Market], None]) -> None:
    assert found(of(books(wait, push))) == {}


def test_other_products_are_not_compared() -> None:
    assert found(of(_example()), product=str) == {}


def test_the_quiet_accuses_nobody() -> None:
    assert found(of(books(lambda _: None, lambda _: None))) == {}


def test_framing_changes_nothing() -> None:
    for market in _example().values():
        whole = halves(market.orders(), market.ticks())
        assert whole
        for rows in (1, 7):
            assert halves(market.orders(), market.ticks(), rows) == whole


def test_time_prices_and_names_change_nothing() -> None:
    told = of(_example())
    for name, market in _example().items():
        orders, ticks = market.orders(), market.ticks()
        later = msgspec.structs.replace(
            orders, ts_event=orders.ts_event + 3 * DAY_NS, ts_available=orders.ts_available + 3 * DAY_NS
        )
        moved = msgspec.structs.replace(ticks, ts_event=ticks.ts_event + 3 * DAY_NS)
        assert halves(later, moved) == [
            msgspec.structs.replace(half, start_ns=half.start_ns + 3 * DAY_NS, end_ns=half.end_ns + 3 * DAY_NS)
            for half in told[name]
        ]
        dearer = msgspec.structs.replace(orders, price=orders.price * 8)
        assert halves(dearer, msgspec.structs.replace(ticks, bid=ticks.bid * 8, ask=ticks.ask * 8)) == told[name]
        names = tuple(f"name {len(orders.accounts) - k}" for k in range(len(orders.accounts)))
        called = dict(zip(orders.accounts, names, strict=True))
        renamed = halves(msgspec.structs.replace(orders, accounts=names), ticks)
        assert renamed == [msgspec.structs.replace(half, account=called[half.account]) for half in told[name]]


def test_who_comes_first_and_what_comes_twice_changes_nothing() -> None:
    rested = Half(account="a", act="rested", side=-1, start_ns=1 * S, end_ns=12 * S, depths=4.0)
    pushed = Half(account="a", act="pushed", side=1, start_ns=5 * S, end_ns=9 * S, depths=1.0, moved=3.0)
    seen = Seen("market", 0, 1, 20, bytes(32))
    one, other = Kept(HERE, rested, seen), Kept(THERE, pushed, seen)
    for order in ((one, other), (other, one), (one, one, other, other, one)):
        kept: list[Kept] = []
        pairs = [pair for half in order for pair in cross_product.join(CrossProductConfig(), kept, half, lambda _: "")]
        assert pairs == [(one, other)]
        assert len(kept) == 2


def test_what_is_older_than_the_span_is_let_go() -> None:
    seen = Seen("market", 0, 1, 20, bytes(32))
    old = Half(account="a", act="rested", side=-1, start_ns=1 * S, end_ns=12 * S, depths=4.0)
    new = Half(account="b", act="pushed", side=1, start_ns=400 * S, end_ns=401 * S, depths=1.0, moved=3.0)
    kept: list[Kept] = []
    for name, half in ((HERE, old), (THERE, new), (HERE, old)):
        assert list(cross_product.join(CrossProductConfig(), kept, Kept(name, half, seen), lambda _: "")) == []
    assert [one.half for one in kept] == [new]
