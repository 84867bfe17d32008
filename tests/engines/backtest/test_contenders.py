"""Rows of the table by hand, and what detectors that know nothing must come to."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from engines.backtest.cells import Heard
from engines.backtest.contenders import always, chance, nothing, row
from engines.backtest.field import Field, choose_block, trading_day_ns
from engines.backtest.matching import judge
from engines.backtest.results import Contender, Estimate, Parameters
from engines.labels import Label
from tests.engines.backtest.made import DAY, HOUR, S, heard, label, opened

PARAMETERS = Parameters(block="day", draws=200, analysts=2, after_ns=0, before_ns=0)
#: Three days: on each an event of A at noon, of half an hour, public after ten minutes.
EVENTS = [
    label(f"e{day}", day * DAY + 12 * HOUR, day * DAY + 12 * HOUR + 1800, public=day * DAY + 12 * HOUR + 600)
    for day in range(3)
]


def field(labels: list[Label] = EVENTS, parameters: Parameters = PARAMETERS, days: int = 3) -> Field:
    return Field(labels, heard(days=days), parameters)


def told(at: Field, seconds: list[int], instrument: str = "A.X") -> Contender:
    alarms = [opened(second, instrument) for second in seconds]
    verdict = judge(at.everything, alarms, at.window, least="info")
    return row(at, at.rung(verdict), None, name="x", kind="tocsin", typologies={"pump_and_dump"})


def test_figures_by_hand() -> None:
    noon = 12 * HOUR
    found = told(field(), [noon + 60, noon + 900, DAY + noon + 120, DAY + 100])
    assert (found.episodes, found.hits) == (4, 3)
    assert found.recall.value == found.own_recall.value == pytest.approx(2 / 3)
    assert found.precision.value == 0.75
    assert found.alerts_per_day.value == pytest.approx(4 / 3)
    assert found.alerts_per_instrument_day.value == pytest.approx(4 / 6)
    assert found.alerts_per_analyst_day.value == pytest.approx(2 / 3)
    assert found.delay_median_s.value == 90
    assert found.delay_p10_s.value == pytest.approx(66)
    assert found.lead_median_s.value == 510
    assert found.lead_p10_s.value == pytest.approx(486)
    assert found.cost.value == 1 + 100


def test_the_market_is_no_instrument_that_rings() -> None:
    at = Field(EVENTS, heard(("A.X", "B.X", "market"), days=3), PARAMETERS)
    found = told(at, [100], "market")
    assert found.alerts_per_day.value == pytest.approx(1 / 3)
    assert found.alerts_per_instrument_day.value == 0
    assert told(at, [100]).alerts_per_instrument_day.value == pytest.approx(1 / 6)


def test_of_a_day_that_the_range_cuts_so_much_counts_as_was_traded() -> None:
    whole = heard(days=2)
    # 09:00 to 17:59 of a first day, then 00:00 to 23:00 of a whole one.
    kept = (whole.ts >= 9 * HOUR * S) & ((whole.ts < 18 * HOUR * S) | (whole.ts >= DAY * S))
    at = Heard(whole.names, whole.instrument[kept], whole.ts[kept], 9 * HOUR * S, 2 * DAY * S)
    assert trading_day_ns(at) == (23 * 60 + 1) * 60 * S
    parameters = msgspec.structs.replace(PARAMETERS, trading_day_ns=16 * HOUR * S + 120 * S)
    days, instrument_days = (share.sum() for share in Field([], at, parameters).day_share)
    # The first day's eight hours and a minute of sixteen and two; the second is whole.
    assert (days, instrument_days) == (pytest.approx(1.5), pytest.approx(3))


def test_a_recording_shorter_than_a_day_is_held_against_a_day_of_24_hours() -> None:
    minutes = np.arange(0, 3 * HOUR, 60)
    at = Heard(("A.X",), minutes * 0, (minutes + 9 * HOUR) * S, 9 * HOUR * S, 12 * HOUR * S)
    assert trading_day_ns(at) == DAY * S
    found = told(Field([], at, PARAMETERS), [10 * HOUR, 11 * HOUR])
    assert found.alerts_per_day.value == pytest.approx(16)
    assert found.alerts_per_instrument_day.value == pytest.approx(16)


def test_intervals_come_from_five_blocks_on() -> None:
    five = [label(f"e{day}", day * DAY, day * DAY + 60) for day in range(5)]
    few, enough = (told(field(five[:days], days=days), [10]) for days in (4, 5))
    assert few.recall == Estimate(0.25)
    assert enough.recall.value == 0.2
    assert (enough.recall.low, enough.recall.high) == (0, pytest.approx(0.6))


def test_the_perfect_one_is_perfect() -> None:
    at = field()
    alarms = [opened(day * DAY + 12 * HOUR) for day in range(3)]
    score = at.cells.truth.astype(float)
    rung = at.rung(judge(at.everything, alarms, at.window, least="info"))
    found = row(at, rung, score, name="x", kind="tocsin")
    perfect = (found.recall, found.precision, found.pr_auc)
    assert [one.value for one in perfect] == [1, 1, 1]
    assert (found.brier.value, found.ece.value, found.cost.value) == (0, 0, 0)
    assert found.nab.value == pytest.approx(100)


def test_ringing_always_is_as_precise_as_the_base_rate_and_misses_nothing() -> None:
    at = field()
    found = always(at)
    base = float(at.cells.truth.mean())
    assert base == pytest.approx(3 / (2 * 72))
    assert found.precision.value == found.pr_auc.value == pytest.approx(base)
    assert found.recall.value == 1
    assert found.episodes == len(at.cells) == 2 * 72
    assert found.cost.value == len(at.cells) - 3


def test_never_ringing_costs_every_event() -> None:
    found = nothing(field())
    assert (found.recall.value, found.precision.value, found.cost.value) == (0, None, 300)
    assert found.nab.value == 0


def test_chance_rings_as_often_and_is_about_the_base_rate() -> None:
    # Events that fill their cells: where alarms are as likely as anywhere else.
    whole = [label(f"e{day}", day * DAY + 12 * HOUR, day * DAY + 13 * HOUR - 1) for day in range(100)]
    at = field(whole, days=100)
    base = float(at.cells.truth.mean())
    found = chance(at, 240)
    assert found.episodes == 240
    assert found.precision.value == pytest.approx(base, abs=0.01)
    # Among few events the area of a ranking by chance is a little above the base rate: some come first by luck.
    assert base < found.pr_auc.value < 1.2 * base  # type: ignore[operator]
    assert found.recall.value == pytest.approx(1 - (1 - 1 / 4800) ** 240, abs=0.02)
    assert found.alerts_per_day.value == 2.4
    assert found.precision.low < base < found.precision.high  # type: ignore[operator]


def test_chance_rings_at_any_moment_alike_where_the_range_cuts_a_period() -> None:
    names = ("A.X",)
    half = Heard(names, np.zeros(2, np.int64), np.array([0, HOUR]) * S, 0, (HOUR + 600) * S)
    found = chance(Field([label("e", HOUR, HOUR + 600)], half, PARAMETERS), 70)
    assert found.precision.value == pytest.approx(1 / 7, abs=0.01)


def test_the_same_seed_draws_the_same() -> None:
    assert chance(field(), 5) == chance(field(), 5)
    assert chance(field(), 5) != chance(field(parameters=Parameters(block="day", seed=1, after_ns=0, before_ns=0)), 5)


def test_chance_that_never_rings_is_nothing() -> None:
    found = chance(field(), 0)
    assert (found.recall.value, found.precision.value, found.cost.value) == (0, None, 300)


def test_alarms_of_an_event_of_the_market_elsewhere_cost_nothing_and_earn_nothing_with_nab() -> None:
    names = ("A.X", "market")
    event = [label("m", 12 * HOUR, 13 * HOUR, "market", "A.X")]
    at = Field(event, heard(names, days=1), PARAMETERS)
    beside, outside = told(at, [12 * HOUR + 5]), told(at, [20 * HOUR])
    assert (beside.hits, beside.nab.value) == (1, 0)
    assert outside.nab.value is not None
    assert outside.nab.value < 0


@pytest.mark.parametrize(("days", "block"), [(2, "hour"), (10, "day"), (63, "day"), (70, "week")])
def test_the_longest_block_of_which_there_are_enough_is_drawn(days: int, block: str) -> None:
    assert choose_block(heard(days=days)) == block


def test_hours_bring_their_part_of_a_day() -> None:
    by_hour = Field(EVENTS, heard(days=3), Parameters(block="hour", after_ns=0, before_ns=0))
    days, instrument_days = by_hour.day_share
    assert (len(days), days.sum(), instrument_days.sum()) == (72, pytest.approx(3), pytest.approx(6))
    assert np.ptp(days) == 0
