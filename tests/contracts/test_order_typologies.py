"""What every typology of orders owes: it finds its example and nothing in the quiet, explains itself, and depends on
nothing but what was done: not on framing, time, prices' level or names.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec
import numpy as np
import pytest

from engines.order_findings import SPECS, OrderConfig
from engines.order_state import OrderState
from engines.orders import OrderEngine
from engines.typologies import conditions
from schemas.frames import Frame
from schemas.order_frames import Action, OrderFrame
from schemas.records import News
from tests.misconduct import (
    ACTS,
    AT,
    NEARLY,
    Act,
    answered_late,
    market,
    met_by_strangers,
    mistyped,
    played,
    pressed_back,
    pressed_on_its_way_out,
    short_of_far_ones,
)
from tests.order_flow import Market

DAY_NS = 86_400_000_000_000
CASES = [(name, why) for name, cases in NEARLY.items() for why in cases]


class Found(NamedTuple):
    """A moment that scored."""

    head: str
    account: str
    ts_event: int
    score: float


def judge(
    orders: OrderFrame, ticks: Frame, news: Sequence[News] = (), rows: int = 500
) -> tuple[list[Found], dict[str, int], bytes]:
    """Apply order frames of ``rows``, cut where news comes, each after the ticks of its time.

    Return findings, counts and the state.
    """
    engine = OrderEngine(OrderConfig())
    state = engine.new_state()
    found: list[Found] = []
    counts: dict[str, int] = {}
    seen = 0
    cuts = [int(orders.ts_event.searchsorted(one.ts_event)) for one in news]
    for first, last in pairwise(sorted({*range(0, len(orders), rows), *cuts, len(orders)})):
        for one in news:
            if first == orders.ts_event.searchsorted(one.ts_event):
                engine.hear(state, one)
        until = int(ticks.ts_event.searchsorted(orders.ts_event[last - 1], side="right"))
        for update in (engine.observe(state, ticks[seen:until]), engine.apply(state, orders[first:last])):
            for reason, number in update.counts.items():
                counts[reason] = counts.get(reason, 0) + number
            for track in update.tracks:
                assert not track.silent
                for ts, score in zip(track.ts_event.tolist(), track.score.tolist(), strict=True):
                    found.append(Found(track.head, track.account, ts, score))
        seen = until
    return sorted(found), counts, state.pack()


def of(case: Market) -> list[Found]:
    return judge(case.orders(), case.ticks(), case.news)[0]


def test_every_typology_has_an_example_and_near_misses() -> None:
    assert ACTS.keys() == NEARLY.keys() == SPECS.keys()


@pytest.mark.parametrize("name", SPECS)
def test_the_example_is_found_and_the_quiet_is_not(name: str) -> None:
    made, who = market(name), ACTS[name][1]
    found = of(made)
    assert {one.account for one in found if one.head == name and one.score >= SPECS[name].open} == who
    assert all(0 < one.score <= 1 for one in found)
    assert min(one.ts_event for one in found if one.score >= SPECS[one.head].open) >= made.ns(AT)


@pytest.mark.parametrize(("name", "why"), CASES)
def test_what_lacks_a_condition_is_not_found(name: str, why: str) -> None:
    assert not [one for one in of(market(name, why)) if one.head == name and one.score >= SPECS[name].open]


@pytest.mark.parametrize(
    ("name", "act"),
    [
        ("influencing_the_open", pressed_back),
        ("circular_trading", met_by_strangers),
        ("fat_finger", mistyped),
        ("fat_finger", short_of_far_ones),
        ("momentum_ignition", pressed_on_its_way_out),
    ],
)
def test_another_form_of_it_is_found(name: str, act: Act) -> None:
    found = of(played(act, name))
    assert {one.account for one in found if one.head == name and one.score >= SPECS[name].open} == ACTS[name][1]


def test_the_impact_of_news_is_looked_for_again() -> None:
    made, after_ns = answered_late(), OrderConfig().insider_dealing.after_ns
    found = [one for one in of(made) if (one.head, one.account) == ("insider_dealing", "insider")]
    assert [one.ts_event for one in found if one.score >= SPECS["insider_dealing"].open] == [
        made.news[0].ts_event + 2 * after_ns
    ]


def test_news_upon_news_hides_no_insider() -> None:
    made = market("insider_dealing")
    (first,) = made.news
    every = [msgspec.structs.replace(first, ts_event=first.ts_event + k * 6 * 10**9) for k in range(300)]
    found = judge(made.orders(), made.ticks(), every)[0]
    rang = [one.ts_event for one in found if one.account == "insider" and one.score >= SPECS[one.head].open]
    assert rang[0] == first.ts_event + OrderConfig().insider_dealing.after_ns


@pytest.mark.parametrize("name", SPECS)
def test_framing_changes_no_bit(name: str) -> None:
    made = market(name)
    whole = judge(made.orders(), made.ticks(), made.news)
    for rows in (1, 7):
        assert judge(made.orders(), made.ticks(), made.news, rows) == whole


@pytest.mark.parametrize("name", SPECS)
def test_time_prices_and_names_change_nothing(name: str) -> None:
    made = market(name)
    orders, ticks = made.orders(), made.ticks()
    found = of(made)
    columns = {"ts_event": orders.ts_event + 3 * DAY_NS, "ts_available": orders.ts_available + 3 * DAY_NS}
    later = msgspec.structs.replace(orders, **columns)
    moved = msgspec.structs.replace(ticks, ts_event=ticks.ts_event + 3 * DAY_NS)
    told = [msgspec.structs.replace(one, ts_event=one.ts_event + 3 * DAY_NS) for one in made.news]
    assert judge(later, moved, told)[0] == [one._replace(ts_event=one.ts_event + 3 * DAY_NS) for one in found]
    dearer = msgspec.structs.replace(orders, price=orders.price * 8)
    quoted = msgspec.structs.replace(ticks, bid=ticks.bid * 8, ask=ticks.ask * 8)
    assert judge(dearer, quoted, made.news)[0] == found
    names = tuple(f"name {len(orders.accounts) - k}" for k in range(len(orders.accounts)))
    called = dict(zip(orders.accounts, names, strict=True))
    renamed = judge(msgspec.structs.replace(orders, accounts=names), ticks, made.news)[0]
    assert renamed == sorted(one._replace(account=called[one.account]) for one in found)


@pytest.mark.parametrize("name", SPECS)
def test_an_alert_explains_itself_and_what_clears_it_does(name: str) -> None:
    made = market(name)
    engine = OrderEngine(OrderConfig())
    state = engine.new_state()
    orders = made.orders()
    cut = int(orders.ts_event.searchsorted(made.news[0].ts_event)) if made.news else 0
    engine.observe(state, made.ticks())
    updates = [engine.apply(state, orders[:cut])]
    for one in made.news:
        engine.hear(state, one)
    updates.append(engine.apply(state, orders[cut:]))
    tracks = [track for update in updates for track in update.tracks if track.head == name]
    assert tracks
    for track in tracks:
        at = int(np.argmax(track.score))
        why = track.explain(at)
        assert all(rule.unit and np.isfinite([rule.value, rule.threshold]).all() for rule in why.rules)
        assert any(why.clears.startswith(rule.name) for rule in why.rules)
        assert track.window_start[at] <= track.ts_event[at] <= track.ts_available[at]


@pytest.mark.parametrize("at_most", [False, True])
def test_a_score_is_half_where_the_weakest_condition_is_just_met_and_less_where_it_is_cleared(at_most: bool) -> None:
    far = conditions.Condition("far", 100.0, 1.0, "units")
    just = conditions.Condition("near", 2.0, 2.0, "units", at_most)
    assert conditions.score((far, just)) == 0.5
    cleared = just._replace(value=2.0 + (0.01 if at_most else -0.01))
    assert conditions.score((far, cleared)) < 0.5
    assert conditions.explain((far, just)).clears.startswith("near above 2" if at_most else "near below 2")


def test_events_without_an_account_are_counted_for_each_typology_and_judged_for_none() -> None:
    made = market("spoofing")
    orders = made.orders()
    nobody = msgspec.structs.replace(orders, account=np.full(len(orders), -1, np.int32))
    found, counts, _ = judge(nobody, made.ticks())
    assert not found
    assert all(counts[f"no_account: {name}"] == len(orders) for name in SPECS)


def test_a_typology_says_which_other_field_it_lacks() -> None:
    made = market("spoofing")
    orders = msgspec.structs.replace(made.orders(), instrument="ACME.ELSE")
    engine = OrderEngine(OrderConfig())
    counts = engine.apply(engine.new_state(), msgspec.structs.replace(orders, trade=np.zeros_like(orders.trade))).counts
    assert counts["no_quote: spoofing"] == counts["no_session: marking_the_close"] == len(orders)
    assert counts["no_trade: wash_trading"] == np.count_nonzero(orders.action == Action.FILL)
    assert counts["no_trader: front_running"] == np.count_nonzero(orders.action == Action.NEW)


def test_a_state_is_the_same_from_its_bytes() -> None:
    made = market("spoofing")
    state = judge(made.orders(), made.ticks())[2]
    assert OrderState.unpack(state).pack() == state
    with pytest.raises(ValueError, match="order state: expected bytes that begin with"):
        OrderState.unpack(b"TCKS" + state)
