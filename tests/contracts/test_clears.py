"""What is said to clear an alert does: of findings in simulated hours of both order-flow models, not made-up ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import msgspec
import numpy as np
import pytest

from engines.instruments import DEFAULT_SYMBOLS, SymbolMaster
from engines.order_findings import SPECS, OrderConfig
from engines.orders import OrderEngine
from engines.simulator.day import Config, simulate
from engines.typologies import conditions
from engines.typologies.conditions import Condition
from monitor.simulation import companies_of
from schemas.alerts import Explanation
from schemas.frames import Frame
from schemas.order_frames import OrderFrame

pytestmark = pytest.mark.slow
MODELS = ("agents", "queues")
CLEARS = re.compile(r"(?P<name>.+) (?P<where>below|above) (?P<bound>\S+) \((?P<unit>[^;]+); it was (?P<value>\S+)\)")
#: What an account does in sizes: halving all of them halves what is measured in these.
SIZED = "median depths"


class Found(NamedTuple):
    """A moment that rings, of an account in an instrument."""

    instrument: str
    head: str
    account: str
    ts: int
    why: Explanation


@cache
def tapes(model: str) -> tuple[tuple[OrderFrame, Frame], ...]:
    """Return the orders and ticks of three instruments in a simulated hour with misconduct in it."""
    config = Config(
        model=model,  # type: ignore[arg-type]
        seed=7002,
        hours=1.0,
        calls=0,
        typologies=("spoofing", "layering", "wash_trading", "quote_stuffing", "fat_finger", "momentum_ignition"),
    )
    (day,) = simulate(config, companies_of(SymbolMaster.load(DEFAULT_SYMBOLS), 3))
    ticks = {frame.instrument: frame for frame in day.ticks}
    return tuple((orders, ticks[orders.instrument]) for orders in day.order_frames if orders.instrument in ticks)


def judged(orders: OrderFrame, ticks: Frame) -> Iterator[Found]:
    """Yield what rings in an instrument's hour: ticks are seen before the orders of their second."""
    engine = OrderEngine(OrderConfig())
    state = engine.new_state()
    seen = first = 0
    for end_ns in range(int(orders.ts_available[0]), int(orders.ts_available[-1]) + 10**9, 10**9):
        until, last = (int(one.ts_available.searchsorted(end_ns)) for one in (ticks, orders))
        engine.observe(state, ticks[seen:until])
        for track in engine.apply(state, orders[first:last]).tracks:
            for at in np.flatnonzero(track.score >= SPECS[track.head].open).tolist():
                yield Found(orders.instrument, track.head, track.account, int(track.ts_event[at]), track.explain(at))
        seen, first = until, last


@cache
def found(model: str) -> tuple[Found, ...]:
    return tuple(one for orders, ticks in tapes(model) for one in judged(orders, ticks))


@pytest.mark.parametrize("model", MODELS)
def test_the_condition_that_is_named_clears_it_at_the_bound_that_is_told(model: str) -> None:
    assert len({one.head for one in found(model)}) >= 4
    for one in found(model):
        told = CLEARS.fullmatch(one.why.clears)
        assert told, one.why.clears
        rule = next(rule for rule in one.why.rules if rule.name == told["name"])
        assert float(told["value"]) == pytest.approx(rule.value, rel=1e-3)
        above = told["where"] == "above"
        just = float(told["bound"]) * (1 + 1e-9 if above else 1 - 1e-9)
        changed = Condition(rule.name, just, rule.threshold, rule.unit, at_most=above)
        assert conditions.score((changed,)) < 0.5, one.why.clears


@pytest.mark.parametrize("model", MODELS)
def test_an_account_whose_orders_are_as_small_as_that_is_not_told(model: str) -> None:
    """The change is made in the tape: the hour is judged again with all that the account did in such sizes."""
    moments: dict[tuple[str, str, str], list[Found]] = {}
    for one in found(model):
        moments.setdefault((one.instrument, one.head, one.account), []).append(one)
    sized = {of: shares for of, told in moments.items() if all(shares := [_share(one) for one in told])}
    assert sized
    for (instrument, head, account), shares in list(sized.items())[:3]:
        orders, ticks = next(tape for tape in tapes(model) if tape[0].instrument == instrument)
        share = min(shares)
        mine = orders.account == orders.accounts.index(account)
        smaller = msgspec.structs.replace(orders, size=np.where(mine, share * orders.size, orders.size))
        rang = {(one.head, one.account) for one in judged(orders, ticks)}
        rings = {(one.head, one.account) for one in judged(smaller, ticks)}
        assert (head, account) in rang
        assert (head, account) not in rings


def _share(one: Found) -> float:
    """Return what is left of an account's sizes by the change that is said to clear a finding, 0 where it is none."""
    told = CLEARS.fullmatch(one.why.clears)
    if told is None or told["unit"] != SIZED or told["where"] != "below":
        return 0.0
    rule = next(rule for rule in one.why.rules if rule.name == told["name"])
    return 0.999 * float(told["bound"]) / rule.value
