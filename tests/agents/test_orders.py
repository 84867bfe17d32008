"""Orders: what an account does in an instrument opens an episode of its own, and nobody else's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest

from agents.flow import Arrival, Item
from agents.instrument_state import InstrumentState
from engines.order_findings import Finding, OrderConfig, Pass
from engines.orders import OrderEngine
from schemas.alerts import Alert, Explanation
from schemas.frames import Frame, frame_of
from schemas.journal import RULES_ONLY, Clock, Ladder
from schemas.order_frames import OrderFrame, order_frame_of
from tests import misconduct
from tests.agents import streams
from tests.agents.streams import S
from tests.order_flow import Market

KEY = "ACME.XTOC"


def stream(market: Market, *more: OrderFrame) -> list[Item]:
    """Return a market's orders and quotes in frames of a second each, and the clock between them."""
    return _told(market.orders(), market.ticks(), *more)


def _told(orders: OrderFrame, ticks: Frame, *more: OrderFrame) -> list[Item]:
    parts: list[OrderFrame | Frame] = [*_seconds(orders), *_seconds(ticks), *more]
    items: list[Item] = [Ladder(0, "as it was")]
    clock_ns = 0
    for n, part in enumerate(sorted(parts, key=lambda one: int(one.ts_available[-1]))):
        at = int(part.ts_available[-1])
        if at - at % S > clock_ns:
            clock_ns = at - at % S
            items.append(Clock(clock_ns))
        topic = "orders" if isinstance(part, OrderFrame) else "frames"
        items.append(Arrival(topic, 0, n, KEY, at, n, part, bytes([n % 256]) * 32))
    return [*items, Clock(clock_ns + 7_200 * S)]


def _seconds(frame: Frame | OrderFrame) -> Iterator[Frame | OrderFrame]:
    at = 0
    while at < len(frame):
        end = int(frame.ts_available.searchsorted(frame.ts_available[at] + S))
        yield frame[at:end]
        at = end


def spoofed() -> Market:

    return misconduct.played(misconduct.ACTS["spoofing"][0], "spoofing")


def episodes(alerts: list[Alert]) -> dict[str, set[tuple[str, str]]]:
    """Return the typology and account of each activity."""
    found: dict[str, set[tuple[str, str]]] = {}
    for alert in alerts:
        what = (alert.finding.typology.partition("@")[0], alert.subject.account)
        found.setdefault(alert.activity, set()).add(what)
    return found


def test_the_account_that_did_it_is_named_and_its_episode_closed_by_the_clock() -> None:
    alerts = streams.run(stream(spoofed()), {})
    told = episodes(alerts)
    assert ("spoofing", "spoofer") in told["create"]
    assert told["close"] == told["create"]
    alert = next(a for a in alerts if a.finding.typology.startswith("spoofing"))
    assert (alert.subject.instrument, alert.subject.account) == (KEY, "spoofer")
    assert alert.explanation.rules
    assert alert.explanation.clears
    assert "orders" in {one.topic for one in alert.evidence.inputs}
    assert not alert.modalities["ticks"].present  # it stands on orders alone


def test_episodes_of_two_accounts_are_two_and_their_ids_are_their_own() -> None:
    market = spoofed()
    frame = market.orders()
    twin = msgspec.structs.replace(
        frame,
        accounts=tuple("twin" if name == "spoofer" else f"{name}'" for name in frame.accounts),
        order=frame.order + 10**9,
        ts_event=frame.ts_event + 1,
        ts_available=frame.ts_available + 1,
    )
    alerts = [a for a in streams.run(stream(market, *_seconds(twin)), {}) if a.activity == "create"]
    mine = [a for a in alerts if a.finding.typology.startswith("spoofing")]
    assert {a.subject.account for a in mine} == {"spoofer", "twin"}
    assert len({a.fingerprint for a in mine}) == len({a.episode_id for a in mine}) == 2


@pytest.mark.parametrize("level", [0, 1, 2])
def test_rules_on_orders_run_at_every_level_of_the_ladder(level: int) -> None:
    items = stream(spoofed())
    items[0] = Ladder(level, "slow")
    assert ("spoofing", "spoofer") in episodes(streams.run(items, {}))["create"]


class Suspicious:
    """A weigher that finds all moments at which it is asked suspect, as spoofing, to the same degree."""

    def weigh(self, run: Pass) -> None:
        for ask in run.asks:
            moment = (ask.account.name, ask.ts_event, ask.ts_available, ask.ts_event)
            run.findings.append(Finding("spoofing", *moment, (), 0.7, explain=Explanation))
        run.findings.sort(key=lambda one: one.ts_event)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_model_is_asked_beside_the_rules_but_under_the_last_level(level: int) -> None:
    items = stream(misconduct.market("fat_finger"))
    items[0] = Ladder(level, "slow")
    rules = episodes(streams.run(items, {}))["create"]
    both = dataclasses.replace(streams.engines(), orders=OrderEngine(OrderConfig(), Suspicious()))
    found = episodes(streams.run(items, {}, both))["create"]
    assert rules <= found
    assert (found == rules) == (level == RULES_ONLY)


def test_an_open_episode_and_what_is_known_of_orders_outlive_a_checkpoint() -> None:
    items, whole = stream(spoofed()), streams.run(stream(spoofed()), {})
    first = next(a for a in whole if a.finding.typology.startswith("spoofing"))
    cut = next(
        n for n, item in enumerate(items) if isinstance(item, Arrival) and item.ts_available > first.times.available_at
    )
    state: dict[str, InstrumentState] = {}
    before = streams.run(items[: cut + 1], state)
    assert ("spoofing", "spoofer") in state[KEY].episodes
    restored = {key: InstrumentState.unpack(kept.pack()) for key, kept in state.items()}
    assert restored[KEY].pack() == state[KEY].pack()
    after = streams.run(items[cut + 1 :], restored)
    assert [a.alert_id for a in before + after] == [a.alert_id for a in whole]


def test_what_cannot_be_used_is_counted_by_reason() -> None:
    counts: dict[str, int] = {}
    columns = {"ts_event": [S, 2 * S], "ts_available": [S, 2 * S], "action": [2, 0], "side": [1, 1], "size": [1.0, 1.0]}
    frame = order_frame_of(KEY, {**columns, "order": [5, 6], "price": [9.0, 9.0]})
    streams.run([Arrival("orders", 0, 0, KEY, 2 * S, 0, frame, bytes(32))], {}, streams.engines(counts))
    assert counts["unknown_order"] == 1
    assert counts["no_account: spoofing"] == 2


def test_alerts_of_an_instrument_say_which_typologies_could_not_judge_its_orders() -> None:
    market = spoofed()
    orders, ticks = market.orders(), market.ticks()
    for field, lacks in (("account", {"spoofing", "wash_trading"}), ("trade", {"wash_trading", "circular_trading"})):
        # Of every tenth event the field is missing: the others are judged.
        column = np.where(np.arange(len(orders)) % 10 == 0, -1 if field == "account" else 0, getattr(orders, field))
        frame = msgspec.structs.replace(orders, **{field: column.astype(getattr(orders, field).dtype)})
        counts: dict[str, int] = {}
        alerts = streams.run(_told(frame, ticks), {}, streams.engines(counts))
        alert = next(a for a in alerts if a.finding.typology.startswith("spoofing"))
        missing = next(one for one in alert.quality.missing if one.field == field)
        assert lacks <= set(missing.typologies)
        assert 0 < missing.events <= counts[f"no_{field}: wash_trading"]
        last = alerts[-1].quality.missing
        assert {one.field: one.events for one in last}[field] == counts[f"no_{field}: wash_trading"]


def test_events_that_claim_to_be_of_later_than_they_were_known_are_counted_by_venue() -> None:
    """One venue's clock is three seconds ahead of the receiver's, another's is right."""
    counts: dict[str, int] = {}
    items: list[Item] = []
    for number, (key, ahead_ns) in enumerate((("ACME.XTOC", 3 * S), ("ACME.XALT", 0))):
        columns = {"ts_event": [9 * S + ahead_ns], "ts_available": [9 * S], "action": [0], "side": [1], "size": [1.0]}
        frame = order_frame_of(key, {**columns, "order": [5], "price": [9.0]})
        items.append(Arrival("orders", 0, number, key, 9 * S, number, frame, bytes(32)))
        ticks = frame_of(key, {"ts_event": [9 * S + ahead_ns], "ts_available": [9 * S], "price": [9.0], "size": [1.0]})
        items.append(Arrival("frames", 0, number, key, 9 * S, number, ticks, bytes(32)))
    streams.run(items, {}, streams.engines(counts))
    assert {reason: n for reason, n in counts.items() if "clock" in reason} == {"clock_ahead: XTOC": 2}


def test_a_crossed_quote_is_counted_once_where_there_are_orders_too() -> None:
    market = spoofed()
    market.quotes.append((market.ns(1_350), 100.1, 100.0, 5.0))
    counts: dict[str, int] = {}
    streams.run(stream(market), {}, streams.engines(counts))
    assert counts["crossed_quote"] == 1


def test_no_order_no_state_of_orders() -> None:
    state: dict[str, InstrumentState] = {}
    streams.run(streams.arrivals([streams.pump()[:100]]), state)
    assert state[streams.KEY].orders is None
