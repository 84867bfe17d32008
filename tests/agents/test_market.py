"""The market stage on lists and dicts: openings of many instruments are one alert, told twice or in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

from agents.flow import Arrival, Item
from agents.market import market
from agents.state import MarketState
from engines.typologies import market_wide
from engines.typologies.market_wide import CrowdConfig
from schemas.alerts import Alert, Provenance, Subject, digest
from schemas.journal import Clock
from schemas.records import Opening

S = 1_000_000_000
T0 = 1_700_000_000 * S


def run(items: Iterable[Item], state: dict[str, MarketState]) -> list[Alert]:
    async def feed() -> AsyncIterator[Item]:
        for item in items:
            yield item

    async def collect() -> list[Alert]:
        found = market(
            feed(),
            state,
            config=CrowdConfig(),
            specs={"market_wide": market_wide.SPEC},
            subject=lambda key: Subject(instrument=key),
            provenance=Provenance(code_version="test", config="c"),
        )
        return [item async for item in found if isinstance(item, Alert)]

    return asyncio.run(collect())


def opening(second: float, instrument: str, offset: int, typology: str = "market_anomaly@1") -> Arrival:
    at = T0 + int(second * S)
    opening = Opening(
        ts_event=at,
        ts_available=at + S,
        instrument=instrument,
        typology=typology,
        episode_id=f"{instrument} at {second}",
        severity="warning",
        score=0.95,
    )
    return Arrival("market", 0, offset, "market", at + S, offset, opening, bytes(32))


def crowd(n: int) -> list[Item]:
    """Return openings of ``n`` instruments, ten seconds apart, then a quiet quarter of an hour and more."""
    openings: list[Item] = [opening(10 * number, f"I{number}.XTOC", number) for number in range(n)]
    return [*openings, *(Clock(T0 + second * S) for second in range(102, 1_300, 7))]


def test_a_crowd_is_one_alert_that_names_its_openings_and_closes_when_they_are_gone() -> None:
    alerts = run(crowd(11), {})
    assert [alert.activity for alert in alerts] == ["create", "close"]
    first, last = alerts
    assert first.finding.typology == "market_wide@1"
    assert first.subject.instrument == "market"
    # The tenth opening completes it; its evidence is the messages that told of all ten.
    assert [seen.offset for seen in first.evidence.inputs] == list(range(10))
    assert first.times.event_end == T0 + 90 * S
    # Openings leave from 300 s on, one in ten seconds; before long the score is below `close`, then for ten minutes.
    assert T0 + (300 + 600) * S <= last.times.event_end <= T0 + (400 + 600) * S
    assert last.times.event_end <= last.times.available_at <= last.times.event_end + 3 * S


def test_few_instruments_are_none() -> None:
    assert run(crowd(9), {}) == []


def test_how_fine_the_clock_is_changes_nothing() -> None:
    openings = crowd(11)[:11]
    by_second = [Clock(T0 + second * S) for second in range(102, 1_300)]
    once = run([*openings, *by_second], {})
    leapt = run([*openings, Clock(T0 + 1_299 * S)], {})
    assert len(once) == 2
    assert digest(leapt) == digest(once)
    assert [alert.times for alert in leapt] == [alert.times for alert in once]


def test_the_evidence_is_the_crowd_and_nothing_beside_it() -> None:
    others: list[Item] = [opening(5 + n / 10, f"T{n}.XTOC", 100 + n, "adverse_text@1") for n in range(70)]
    items = sorted([*crowd(10)[:10], *others], key=lambda item: item.ts_available)  # type: ignore[union-attr]
    (alert,) = run([*items, *items], {})
    assert [seen.offset for seen in alert.evidence.inputs] == list(range(10))


def test_other_typologies_do_not_count() -> None:
    assert run([opening(n, f"I{n}.XTOC", n, "adverse_text@1") for n in range(9)], {}) == []


def test_what_is_told_twice_changes_nothing() -> None:
    items = crowd(11)
    once = run(items, {})
    twice = run([*items[:3], *items[:3], *items[3:]], {})
    assert [a.alert_id for a in twice] == [a.alert_id for a in once]


def test_a_state_that_was_packed_goes_on_as_if_it_had_not_been() -> None:
    items = crowd(11)
    whole: dict[str, MarketState] = {}
    expected = run(items, whole)
    for cut in (1, 9, 10, 11, 60):
        state: dict[str, MarketState] = {}
        found = run(items[:cut], state)
        state = {key: MarketState.unpack(kept.pack()) for key, kept in state.items()}
        assert [a.alert_id for a in found + run(items[cut:], state)] == [a.alert_id for a in expected]
        assert state["market"].pack() == whole["market"].pack()
