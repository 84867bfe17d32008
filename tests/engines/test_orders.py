"""The order engine's bookkeeping: what cannot be used is counted, and what is kept is bounded."""

from __future__ import annotations

import numpy as np
import pytest

from engines.order_findings import OrderConfig
from engines.order_state import OrderState
from engines.orders import OrderEngine
from engines.tracks import OrderUpdate
from schemas.frames import Kind, frame_of
from schemas.order_frames import Action, order_frame_of
from tests.order_flow import Market, S

Row = tuple[float, Action, int, float, float, int, int]


def apply(engine: OrderEngine, *rows: Row) -> tuple[OrderUpdate, list[tuple[list[float], list[int]]]]:
    """Apply rows of (s, action, side, price, size, order, account); return the update, and what rests for whom."""
    state = engine.new_state()
    at, action, side, price, size, order, account = zip(*rows, strict=True)
    columns = {
        "ts_event": [int(s * S) for s in at], "action": action, "side": side, "price": price, "size": size,
        "order": order, "trade": order, "account": account, "trader": account,
    }  # fmt: skip
    names = [f"account {k}" for k in range(max(account) + 1)]
    market = Market(start_ns=0)
    market.quote(0.5, 10.0)
    engine.observe(state, market.ticks())
    update = engine.apply(state, order_frame_of("ACME.XTOC", columns, names, names))
    return update, [(state.accounts[k].resting, state.accounts[k].open) for k in state.names.values()]


def test_what_rests_follows_the_life_of_orders() -> None:
    update, resting = apply(
        OrderEngine(OrderConfig()),
        (1, Action.NEW, +1, 10.0, 5.0, 1, 0),
        (2, Action.NEW, +1, 9.0, 4.0, 2, 0),
        (3, Action.NEW, -1, 11.0, 3.0, 3, 0),
        (4, Action.FILL, +1, 10.0, 2.0, 1, 0),
        (5, Action.AMEND, +1, 9.5, 6.0, 2, 0),
        (6, Action.CANCEL, -1, 11.0, 0.0, 3, 0),
    )
    assert not update.counts
    assert resting == [([0.0, 9.0], [0, 2])]


def test_what_cannot_be_used_is_counted_and_harms_nothing() -> None:
    update, resting = apply(
        OrderEngine(OrderConfig()),
        (10, Action.NEW, +1, 10.0, 5.0, 1, 0),
        (11, Action.CANCEL, +1, 10.0, 5.0, 9, 0),
        (12, Action.NEW, +1, 10.0, 5.0, 1, 0),
        (13, Action.NEW, +1, 10.0, -5.0, 2, 0),
        (14, Action.NEW, +1, -10.0, 5.0, 3, 0),
        (2, Action.NEW, +1, 10.0, 5.0, 4, 0),
        (15, Action.FILL, +1, 10.0, 7.0, 1, 0),
    )
    assert update.counts == {
        "unknown_order": 1, "order_twice": 1, "negative_size": 1, "negative_price": 1, "out_of_sequence": 1,
        "overfilled": 1,
    }  # fmt: skip
    assert resting == [([0.0, 0.0], [0, 0])]


def test_beyond_the_bound_the_oldest_orders_are_forgotten() -> None:
    engine = OrderEngine(OrderConfig(orders=8))
    update, resting = apply(engine, *((k, Action.NEW, +1, 10.0, 1.0, k, 0) for k in range(1, 10)))
    assert update.counts == {"order_forgotten": 2}
    assert resting == [([0.0, 7.0], [0, 7])]


def test_beyond_the_bound_the_most_silent_accounts_are_forgotten_with_their_orders() -> None:
    engine = OrderEngine(OrderConfig(accounts=4))
    state = engine.new_state()
    market = Market()
    for k in range(6):
        market.place(k, f"account {k}", +1, 10.0, 1.0)
    frame = market.orders()
    engine.apply(state, frame)
    assert list(state.names) == ["account 2", "account 3", "account 4", "account 5"]
    assert len(state.orders) == 4
    sliced = engine.new_state()
    for k in range(len(frame)):
        engine.apply(sliced, frame[k : k + 1])
    assert sliced.pack() == state.pack()


def test_crossed_quotes_are_counted_and_teach_nothing() -> None:
    engine = OrderEngine(OrderConfig())
    state = engine.new_state()
    market = Market()
    market.quote(0, 100.0)
    market.quotes.append((market.ns(1), 100.1, 100.0, 500.0))
    assert engine.observe(state, market.ticks()).counts == {"crossed_quote": 1}
    assert [units for _, units in state.depths] == [10.0]


@pytest.mark.parametrize("ahead_s", [60, 900, 3_500])
def test_how_far_ticks_run_ahead_of_orders_changes_no_bit(ahead_s: int) -> None:
    draw, market = np.random.default_rng(ahead_s), Market()
    for at in range(0, 4 * 3_600, 20):
        market.quote(at, 100.0, float(draw.integers(1, 100)))
        market.cancel(at + 5.5, market.place(at + 5, f"account {at % 7}", +1, 99.9, 5.0))
    orders, ticks, engine = market.orders(), market.ticks(), OrderEngine(OrderConfig())
    depths, packed = set(), set()
    for step_s in (0, ahead_s):
        state, seen, learnt = engine.new_state(), 0, []
        for k in range(len(orders)):
            at_s = (orders.ts_event.item(k) - market.ns(0)) // S
            until = int(ticks.ts_event.searchsorted(market.ns(at_s - at_s % step_s + step_s if step_s else at_s + 1)))
            engine.observe(state, ticks[seen : max(seen, until)])
            seen = max(seen, until)
            engine.apply(state, orders[k : k + 1])
            learnt.append(state.depth)
        engine.observe(state, ticks[seen:])
        depths.add(tuple(learnt))
        packed.add(state.pack())
    assert len(depths) == len(packed) == 1
    assert len(set(learnt)) > 20


@pytest.mark.parametrize("seed", range(4))
def test_whatever_comes_is_taken_alike_in_every_framing(seed: int) -> None:
    draw = np.random.default_rng(seed)
    n = 3_000
    # Seconds, now and then minutes, nights and days, and steps back; sizes and prices that are 0 or below among them.
    gaps = draw.choice(
        [0.001, 0.5, 30.0, 40_000.0, 200_000.0, -3.0, -60.0], n, p=[0.55, 0.38, 0.03, 0.01, 0.01, 0.01, 0.01]
    )
    columns = {
        "ts_event": 1_700_000_000 * S + np.cumsum(gaps * S).astype(np.int64),
        "action": draw.choice(6, n, p=[0.4, 0.05, 0.2, 0.3, 0.02, 0.03]),
        "side": draw.choice([-1, 1], n),
        "price": draw.choice([0.0, -1.0, 10.0, 10.1, 13.0], n, p=[0.1, 0.01, 0.4, 0.4, 0.09]),
        "size": draw.choice([0.0, -1.0, 1.0, 7.0, 90.0], n, p=[0.05, 0.01, 0.6, 0.3, 0.04]),
        "order": draw.integers(1, 400, n),
        "trade": draw.integers(0, 900, n),
        "account": draw.integers(-1, 12, n),
        "trader": draw.integers(-1, 3, n),
    }
    frame = order_frame_of("ACME.XTOC", columns, [f"account {k}" for k in range(12)], ["a", "b", "c"])
    quotes = {"ts_event": np.sort(columns["ts_event"]), "kind": np.full(n, Kind.QUOTE), "bid": np.full(n, 9.9)}
    sizes = {"ask": np.full(n, 10.1), "bid_size": draw.choice([0.0, 1.0], n), "ask_size": draw.choice([0.0, 1.0], n)}
    engine = OrderEngine(OrderConfig(accounts=8, orders=64))
    packed = set()
    for rows in (1, 7, 500):
        state = engine.new_state()
        engine.observe(state, frame_of("ACME.XTOC", quotes | sizes))
        for first in range(0, n, rows):
            engine.apply(state, frame[first : first + rows])
            if first % 1_000 == 0:
                state = OrderState.unpack(state.pack())
        packed.add(state.pack())
    assert len(packed) == 1
