"""Drift of the market: many instruments at once are told once, of the market and of their sector; a few are not."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from agents.flow import Arrival, Item
from agents.market_drift import CROWD, moving
from agents.market_state import MarketState
from schemas.records import Drift, Moved
from tests.agents.streams import outputs
from tests.agents.test_market import T0, S, opening

State = dict[str, MarketState]


def drifted(second: float, instrument: str, offset: int, sector: str = "") -> Arrival:
    """Return what the market is told of an instrument's drift."""
    told = opening(second, instrument, offset, "drift")
    value = msgspec.structs.replace(told.value, drift=Moved(stream="volatility", sector=sector))  # type: ignore[type-var]
    return msgspec.structs.replace(told, value=value)


def run(items: Iterable[Item], state: State | None = None) -> list[Drift]:
    kept: State = {} if state is None else state
    return outputs(lambda feed: moving(feed, kept, config=CROWD, decides="c"), items, Drift)


def crowd(count: int, sector: str = "") -> list[Item]:
    return [drifted(60 * number, f"I{number}.XTOC", number, sector) for number in range(count)]


def test_many_instruments_within_an_hour_are_one_drift_of_the_market() -> None:
    (told,) = run(crowd(40))
    assert (told.subject, told.scope, told.kind, told.stream) == ("market", "market", "market", "instruments")
    assert told.since == T0
    assert told.after == len(told.instruments) == told.instruments.index("I9.XTOC") + 1
    assert told.p_value is not None
    assert told.p_value < 1e-3
    assert [seen.topic for seen in told.evidence] == ["market"]


def test_a_few_and_the_same_one_again_are_none() -> None:
    assert run(crowd(6)) == []
    assert run([drifted(60 * number, "I.XTOC", number) for number in range(40)]) == []


def test_openings_of_episodes_are_none() -> None:
    assert run([opening(number, f"I{number}.XTOC", number) for number in range(40)]) == []


def test_a_sector_is_told_beside_the_market() -> None:
    told = run(crowd(30, "energy"))
    assert [(one.scope, one.subject, one.sector) for one in told] == [
        ("market", "market", ""),
        ("sector", "energy", "energy"),
    ]
    assert len({one.drift_id for one in told}) == 2


def test_what_is_told_twice_and_a_checkpoint_in_between_change_nothing() -> None:
    items = crowd(30, "energy")
    state: State = {}
    first = run([*items[:9], *items[:9]], state)
    again = {key: MarketState.unpack(kept.pack()) for key, kept in state.items()}
    assert [*first, *run(items[9:], again)] == run(items)


def test_what_is_usual_is_learnt() -> None:
    each = 3_600 * S // 20 // S  # twenty an hour, for days
    usual = [drifted(each * number, f"I{number % 500}.XTOC", number) for number in range(20 * 24 * 3)]
    usual = [
        msgspec.structs.replace(one, value=msgspec.structs.replace(one.value, episode_id=f"d{n}"))  # type: ignore[type-var]
        for n, one in enumerate(usual)
    ]
    late = [one for one in run(usual) if one.ts_event > T0 + 24 * 3_600 * S]
    assert late == []
