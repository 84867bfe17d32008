"""Reviews are drawn by a hash of what they are of: alike in any framing, on every replay, and never of what rang."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from agents.flow import Item
from agents.instrument import instrument
from agents.instrument_state import InstrumentState
from engines.exploration import LEAST, Exploration, chance, propensity
from engines.rules import NONE, Override, RuleFile
from schemas.alerts import Alert
from schemas.frames import Frame
from schemas.records import Review
from tests.agents.streams import BEGIN, KEY, S, arrivals, cut, engines, news, outputs, pump

WINDOW_NS = 600 * S
ALL = Exploration(rate=1.0, window_ns=WINDOW_NS, most_a_day=10**6)


def run(
    items: Iterable[Item],
    config: Exploration,
    state: dict[str, InstrumentState] | None = None,
    rules: RuleFile = NONE,
) -> tuple[list[Review], list[Alert]]:
    kept, made = {} if state is None else state, replace(engines(), exploration=config, rules=rules)
    found = outputs(lambda feed: instrument(feed, kept, made), items, Review, Alert)
    return [one for one in found if isinstance(one, Review)], [one for one in found if isinstance(one, Alert)]


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return list(cut(pump(), [500]))


@pytest.fixture(scope="module")
def everything(frames: list[Frame]) -> list[Review]:
    return run(arrivals(frames), ALL)[0]


def test_each_window_that_scored_is_drawn_once_where_all_are_but_for_those_that_rang(
    frames: list[Frame], everything: list[Review]
) -> None:
    _, alerts = run(arrivals(frames), ALL)
    assert alerts
    assert everything
    seen = {(one.typology, one.window_start) for one in everything}
    assert len(seen) == len(everything) == len({one.review_id for one in everything})
    for one in everything:
        assert one.window_start % WINDOW_NS == 0
        assert one.window_start <= one.ts_event <= one.ts_available
        assert one.ts_available >= one.window_end == one.window_start + WINDOW_NS
        assert one.score < one.threshold
        assert one.propensity == max(LEAST, one.score / one.threshold)
    rang = {
        (alert.finding.typology, alert.times.available_at - alert.times.available_at % WINDOW_NS) for alert in alerts
    }
    assert not seen & rang


@pytest.mark.parametrize("size", [1, 7])
def test_any_framing_draws_the_same(everything: list[Review], size: int) -> None:
    head, tail = pump()[:900], pump()[900:1_200]
    there, _ = run(arrivals([*cut(head, [size]), *cut(tail, [500])]), ALL)
    whole, _ = run(arrivals(cut(pump()[:1_200], [500])), ALL)
    assert len(whole) > 2
    assert there == whole


def test_what_is_drawn_does_not_depend_on_a_restart(frames: list[Frame], everything: list[Review]) -> None:
    found: list[Review] = []
    state: dict[str, InstrumentState] = {}
    items = arrivals(frames)
    for begin, end in pairwise([0, len(items) // 3, len(items) // 2, len(items)]):
        found += run(items[begin:end], ALL, state)[0]
        state = {KEY: InstrumentState.unpack(state[KEY].pack())}
    assert found == everything


def test_a_share_is_drawn_and_no_more_than_may_be_a_day(frames: list[Frame], everything: list[Review]) -> None:
    half = Exploration(rate=0.5, window_ns=WINDOW_NS, most_a_day=10**6)
    some, _ = run(arrivals(frames), half)
    assert {one.review_id for one in some} < {one.review_id for one in everything}
    assert all(one.propensity <= 0.5 for one in some)
    few, _ = run(arrivals(frames), Exploration(rate=1.0, window_ns=WINDOW_NS, most_a_day=2))
    days = {one.window_start // (86_400 * S) for one in everything}
    assert [one.review_id for one in few[:2]] == [one.review_id for one in everything[:2]]
    assert len(few) <= 2 * len(days)
    assert run(arrivals(frames), Exploration())[0] == []


def test_alerts_are_what_they_are_without(frames: list[Frame]) -> None:
    assert run(arrivals(frames), ALL)[1] == run(arrivals(frames), Exploration())[1]


def test_windows_are_drawn_as_often_as_their_propensity_says() -> None:
    config = Exploration(rate=0.02)
    share = propensity(config, 0.3, 0.5)
    assert share == pytest.approx(0.012)
    drawn = sum(chance("spoofing@1", f"I{n}.X", "", BEGIN, "c") < share for n in range(50_000))
    assert abs(drawn - 50_000 * share) < 4 * np.sqrt(50_000 * share)


def test_rules_that_bring_a_budget_do_so_between_two_windows_as_well() -> None:
    texts = [(news(60.0 * n, f"d{n}"), 0.79) for n in range(1, 20)]
    items = arrivals([], texts)
    state: dict[str, InstrumentState] = {}
    at = 18  # a clock and a text each: the tenth opens the second window
    before, _ = run(items[:at], ALL, state)
    rules = RuleFile(version="1", typologies={"adverse_text": Override(budget=2.0)})
    after, _ = run(items[at:], ALL, state, rules)
    told = [one for one in after if one.typology.startswith("adverse_text")]
    assert not before
    assert [one.threshold for one in told] == [engines().specs["adverse_text"].open]
