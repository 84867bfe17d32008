"""The whole of a backtest, on a market that a person can look through."""

from __future__ import annotations

import msgspec

from engines.backtest import results
from engines.backtest.judging import Said, backtest, tocsin
from engines.backtest.results import Backtest, Parameters, decode, encode
from engines.labels import Label
from schemas.alerts import Alert
from tests.engines.backtest.made import DAY, HOUR, S, alert, heard, label, sweep

DAYS = 12
PARAMETERS = Parameters(block="day", draws=200, k=1, before_ns=60 * S, after_ns=600 * S, analysts=3)
NOON = [day * DAY + 12 * HOUR for day in range(DAYS)]
EVENTS = [
    *(label(f"e{day}", noon, noon + 600, public=noon + 300) for day, noon in enumerate(NOON)),
    msgspec.structs.replace(label("bait", 20 * HOUR, 20 * HOUR + 60, "B.X"), benign=True),
]
#: What was kept: A's events but the last, a fuss at B that rings and meets the benign event, one that does not ring.
ROWS = [*((0, noon + 30, 0.8) for noon in NOON[:-1]), (1, 20 * HOUR + 5, 0.6), (1, 3 * DAY, 0.3)]


def alerts() -> list[Alert]:
    """Return the alerts that a replay of it gives."""
    return [
        alert(second, episode=f"{instrument}-{second}", instrument=instrument, score=score)
        for instrument, second, score in [("AB"[number] + ".X", second, score) for number, second, score in ROWS]
        if score >= 0.5
    ]


def about() -> results.Tested:
    return results.Tested(
        replay="r",
        recording="day",
        recording_digest="",
        alert_digest="",
        code_version="",
        bundle="",
        config="",
        from_ns=0,
        to_ns=DAYS * DAY * S,
        warm_up_ns=0,
        instruments=2,
        days=DAYS,
        instrument_days=2 * DAYS,
        labels_file="",
        labels_digest="",
        labels=DAYS,
        benign=1,
    )


def found(
    told: list[Alert] | None = None, events: list[Label] = EVENTS, parameters: Parameters = PARAMETERS
) -> Backtest:
    said = Said(alerts() if told is None else told, heard(days=DAYS), sweep(ROWS))
    return backtest(said, events, parameters, about())


def test_it_says_what_was_caught_missed_and_false() -> None:
    one = found()
    assert [catch.label.event_id for catch in one.catches] == [f"e{day}" for day in range(DAYS - 1)]
    assert [event.event_id for event in one.missed] == [f"e{DAYS - 1}"]
    assert [(stray.opened.instrument, stray.bait) for stray in one.false] == [("B.X", "bait")]
    assert one.delays_s == [30.0] * (DAYS - 1)
    assert one.leads_s == [270.0] * (DAYS - 1)
    assert one.notes == []


def test_its_rows_are_tocsin_its_typologies_and_three_that_know_nothing() -> None:
    rows = found().contenders
    assert [row.name for row in rows] == ["tocsin", "pump_and_dump", "random", "always", "nothing"]
    own, typology, random, always, nothing = rows
    assert own.recall.value == typology.recall.value == 11 / 12
    assert own.precision.value == 11 / 12
    assert own.pr_auc.value == typology.pr_auc.value
    assert own.recall.low is not None
    assert own.recall.low < 11 / 12
    assert random.episodes == own.episodes
    assert always.recall.value == 1
    assert nothing.recall.value == 0


def test_days_are_ranked_below_their_ceiling() -> None:
    one = found()
    assert len(one.days) == DAYS
    assert [day.hits for day in one.days] == [1.0] * (DAYS - 1) + [0.0]
    assert all(day.hits <= day.ceiling * day.k for day in one.days)
    assert (one.precision_at_k.value, one.ceiling_at_k.value) == (11 / 12, 1)
    assert sum(day.alarms for day in one.days) == 12
    assert (one.days[0].labels, one.days[-1].caught) == (1, 0)


def test_rates_count_every_alarm_once() -> None:
    rates = found().rates
    assert sum(rate.alarms for rate in rates) == 12
    assert (rates[0].hour, rates[0].day_ns, rates[1].hour) == (12, 0, 20)


def test_todays_point_of_the_cost_curve_is_what_the_alerts_came_to() -> None:
    one = found()
    for curve in one.cost_curves:
        assert (curve.today.episodes, curve.today.false, curve.today.missed) == (12, 1, 1)
        assert curve.today.cost == one.contenders[0].cost.value


def test_alarms_of_an_event_outside_of_the_range_are_neither_true_nor_false() -> None:
    # It began the day before; B's fuss on the first evening lies in it, and so do no other alarms.
    before = label("before", -HOUR, 21 * HOUR, "B.X")
    said = Said(alerts(), heard(days=DAYS), sweep(ROWS))
    one = backtest(said, EVENTS, PARAMETERS, about(), outside=[before])
    assert [opened.instrument for opened in one.aside] == ["B.X"]
    assert one.false == []
    own, typology, _, always, _ = one.contenders
    assert (own.episodes, own.precision.value, own.cost.value) == (11, 1, 100)
    assert (typology.episodes, typology.precision.value) == (11, 1)
    assert sum(day.alarms for day in one.days) == sum(rate.alarms for rate in one.rates) == 11
    # Its first day of 22 hours' windows is no cell, in which flagging everything would be wrong.
    assert found().cells - one.cells == 22
    assert always.episodes == one.cells
    for curve in one.cost_curves:
        assert (curve.today.episodes, curve.today.false) == (11, 0)
    assert any("1 alarm belongs to events whose onset lies outside" in note for note in one.notes)
    # By its own typology alone it sets aside what is of that typology.
    other = msgspec.structs.replace(before, typology="spoofing")
    own_only = msgspec.structs.replace(PARAMETERS, match="own")
    kept = backtest(said, EVENTS, own_only, about(), outside=[other])
    assert (len(kept.aside), len(kept.false)) == (0, 1)
    assert kept.cost_curves[0].today.false == 1


def test_a_benign_event_outside_of_the_range_excuses_nothing() -> None:
    before = msgspec.structs.replace(label("before", -HOUR, 21 * HOUR, "B.X"), benign=True)
    one = backtest(Said(alerts(), heard(days=DAYS), sweep(ROWS)), EVENTS, PARAMETERS, about(), outside=[before])
    assert (len(one.aside), len(one.false)) == (0, 1)


def test_alerts_that_the_kept_moments_do_not_explain_are_told() -> None:
    assert any("12 times on the kept moments and 11 times in the alerts" in note for note in found(alerts()[1:]).notes)


def test_an_episode_that_rang_in_the_warm_up_does_not_ring_anew() -> None:
    told = alert(1, episode="old", instrument="B.X")
    again = alert(2 * DAY, episode="old", instrument="B.X", revision=1, activity="update", severity="critical")
    before = msgspec.structs.replace(told, times=msgspec.structs.replace(told.times, available_at=-1))
    assert found([*alerts(), before, again]).contenders[0].episodes == 12
    late = msgspec.structs.replace(
        again, revision=0, times=msgspec.structs.replace(told.times, available_at=DAYS * DAY * S)
    )
    assert found([*alerts(), late]).contenders[0].episodes == 12
    assert found([*alerts(), again]).contenders[0].episodes == 13


def test_of_silence_nothing_is_false_and_everything_missed() -> None:
    said = Said([], heard(days=DAYS), sweep([]))
    said.sweep.moments = {}  # type: ignore[misc]
    one = backtest(said, EVENTS, PARAMETERS, about())
    assert (one.contenders[0].recall.value, one.contenders[0].precision.value) == (0, None)
    assert (one.cost_curves, one.walk_forward, len(one.missed)) == ([], None, DAYS)
    assert decode(encode(one)) == one


def test_without_labels_there_is_nothing_to_catch_and_it_says_so() -> None:
    one = found(events=[])
    assert one.contenders[0].recall.value is None
    assert one.contenders[0].precision.value == 0
    assert any("nothing that could have been caught" in note for note in one.notes)
    assert decode(encode(one)) == one


def test_cells_that_are_all_an_events_are_told() -> None:
    long = msgspec.structs.replace(PARAMETERS, cell_ns=100 * DAY * S)
    one = found(events=[*EVENTS, label("other", 60, 120, "B.X")], parameters=long)
    assert one.base_rate == 1
    assert any(note.startswith("Every cell is an event's") for note in one.notes)
    assert not any(note.startswith("Every cell") for note in found().notes)


def test_it_survives_a_round_trip_through_json() -> None:
    one = found()
    assert decode(encode(one)) == one


def test_tocsins_row_alone_is_that_of_the_whole() -> None:
    row, caught = tocsin(Said(alerts(), heard(days=DAYS), sweep(ROWS)), EVENTS, PARAMETERS)
    whole = found()
    assert row == whole.contenders[0]
    assert caught == {catch.label.event_id for catch in whole.catches}


def test_a_higher_severity_is_another_question() -> None:
    one = found(parameters=msgspec.structs.replace(PARAMETERS, severity="critical"))
    assert (one.contenders[0].episodes, one.contenders[0].informed) == (0, 12)
    assert one.cost_curves[0].today.episodes == 0
