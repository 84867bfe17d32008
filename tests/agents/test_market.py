"""The market stage on lists and dicts: openings of many instruments are one alert, told twice or in pieces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import msgspec

from agents.flow import Arrival, Item
from agents.market import market
from agents.market_state import MarketState
from engines.rules import NONE, Override, RuleFile
from engines.typologies import cross_product, market_wide
from engines.typologies.cross_product import CrossProductConfig
from engines.typologies.market_wide import CrowdConfig
from schemas.alerts import Alert, Provenance, Subject, digest
from schemas.journal import Clock
from schemas.records import Half, Opening
from tests.agents.streams import outputs

S = 1_000_000_000
T0 = 1_700_000_000 * S


def run(items: Iterable[Item], state: dict[str, MarketState], rules: RuleFile = NONE) -> list[Alert]:
    def agent(feed: AsyncIterator[Item]) -> AsyncIterator[object]:
        return market(
            feed,
            state,
            crowd=CrowdConfig(),
            crossing=CrossProductConfig(),
            product=lambda instrument: instrument.partition(".")[0],
            specs={spec.name: spec for spec in (market_wide.SPEC, cross_product.SPEC)},
            subject=lambda key: Subject(instrument=key),
            provenance=Provenance(code_version="test", config="c"),
            rules=rules,
        )

    return outputs(agent, items, Alert)


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


def half(second: float, instrument: str, offset: int, half: Half) -> Arrival:
    whole = opening(second, instrument, offset, "cross_product@1")
    assert isinstance(whole.value, Opening)
    return msgspec.structs.replace(whole, value=msgspec.structs.replace(whole.value, half=half))


def crossing() -> list[Item]:
    """Return two halves of an account, half a minute apart, and half an hour of quiet."""
    pushed = Half(account="a", act="pushed", side=1, start_ns=T0, end_ns=T0 + 9 * S, depths=3.0, moved=8.0)
    rested = Half(account="a", act="rested", side=-1, start_ns=T0 - S, end_ns=T0 + 40 * S, depths=4.0)
    told: list[Item] = [half(9, "ACME.XTOD", 0, pushed), half(40, "ACME.XTOC", 1, rested)]
    return [*told, *(Clock(T0 + second * S) for second in range(60, 2_000, 100))]


def test_two_halves_of_an_account_are_one_alert_that_names_both_instruments() -> None:
    first, last = run(crossing(), {})
    assert (first.activity, last.activity) == ("create", "close")
    assert (first.finding.typology, first.finding.severity) == ("cross_product@1", "critical")
    assert (first.subject.instrument, first.subject.account) == ("ACME.XTOC", "a")
    assert [rule.name.rpartition(" ")[2] for rule in first.explanation.rules[:2]] == ["ACME.XTOC", "ACME.XTOD"]
    assert first.explanation.clears.startswith("resting on ACME.XTOC below 1.5 ")
    assert [seen.offset for seen in first.evidence.inputs] == [0, 1]
    assert (first.times.event_start, first.times.event_end) == (T0 - S, T0 + 40 * S)
    assert first.times.available_at == T0 + 41 * S


def test_halves_that_are_told_twice_or_through_a_checkpoint_change_nothing() -> None:
    items = crossing()
    whole: dict[str, MarketState] = {}
    expected = run(items, whole)
    assert digest(run([*items[:2], *items], {})) == digest(expected)
    for cut in (1, 2, 3):
        state: dict[str, MarketState] = {}
        alerts = run(items[:cut], state)
        state = {key: MarketState.unpack(kept.pack()) for key, kept in state.items()}
        assert [a.alert_id for a in alerts + run(items[cut:], state)] == [a.alert_id for a in expected]
        assert {key: kept.pack() for key, kept in state.items()} == {key: kept.pack() for key, kept in whole.items()}


def test_halves_are_no_crowd_and_what_is_silent_is_not_judged() -> None:
    halves = [half(n, f"I{n}.XTOC", n, Half(account="a", act="rested", side=1, start_ns=T0, end_ns=T0, depths=4.0))
              for n in range(20)]  # fmt: skip
    assert run(halves, {}) == []
    silent = RuleFile(version="1", typologies={"cross_product": Override(enabled=False)})
    assert run(crossing(), {}, silent) == []
    assert [one.activity for one in run(crowd(11), {}, silent)] == ["create", "close"]
