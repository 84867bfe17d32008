"""Whose alarm is it: the minute before, the hour after, the instrument; and what an alarm is."""

from __future__ import annotations

import msgspec
import pytest

from engines.backtest.matching import Window, alarms, judge
from engines.backtest.results import Opened
from engines.labels import Label
from schemas.alerts import Severity
from tests.engines.backtest.made import alert, label, opened

S = 1_000_000_000
PUMP = Label(
    event_id="p", typology="pump_and_dump", start_ns=1000 * S, onset_ns=1030 * S, end_ns=1200 * S, instruments=["A.X"]
)
EARNINGS = Label(
    event_id="b",
    typology="news",
    start_ns=9000 * S,
    onset_ns=9000 * S,
    end_ns=9100 * S,
    instruments=["A.X"],
    benign=True,
)


@pytest.mark.parametrize(("seconds", "caught"), [(939, 0), (940, 1), (1200, 1), (1200 + 3600, 1), (1200 + 3601, 0)])
def test_a_minute_before_the_start_to_an_hour_after_the_end_is_the_labels(seconds: int, caught: int) -> None:
    verdict = judge([PUMP], [opened(seconds)])
    assert (len(verdict.catches), len(verdict.missed), len(verdict.false)) == (caught, 1 - caught, 1 - caught)


def test_the_window_is_the_users() -> None:
    assert judge([PUMP], [opened(500)], Window(before_ns=500 * S)).catches
    assert not judge([PUMP], [opened(1201)], Window(after_ns=0)).catches


def test_it_goes_by_when_an_alarm_could_be_known_not_by_when_its_cause_happened() -> None:
    late = msgspec.structs.replace(opened(1040), available_ns=9_999 * S)
    assert judge([PUMP], [late]).missed == (PUMP,)


def test_another_instruments_episode_is_false() -> None:
    verdict = judge([PUMP], [opened(1040, instrument="B.X")])
    assert not verdict.catches
    assert [stray.opened.instrument for stray in verdict.false] == ["B.X"]


def test_another_accounts_episode_is_false_and_one_that_names_none_is_not() -> None:
    one = msgspec.structs.replace(label("1", 100, 200, "A.X"), accounts=["a1", "a2"])
    named = [msgspec.structs.replace(opened(150), episode_id=name, account=name) for name in ("a1", "b9", "")]
    verdict = judge([one], named)
    assert [o.account for o in verdict.catches[0].opened] == ["", "a1"]
    assert [stray.opened.account for stray in verdict.false] == ["b9"]
    nobody = msgspec.structs.replace(one, accounts=[])
    assert len(judge([nobody], named).catches[0].opened) == 3


def test_any_typology_catches_and_the_delay_is_that_of_its_own() -> None:
    (by_other,) = judge([PUMP], [opened(1031, typology="anomaly")]).catches
    (by_both,) = judge([PUMP], [opened(1050), opened(1031, typology="anomaly")]).catches
    assert (by_other.own, by_other.delay_s) == (False, 1.0)
    assert (by_both.own, by_both.delay_s) == (True, 20.0)


def test_matched_by_its_own_typology_another_one_is_false() -> None:
    verdict = judge([PUMP], [opened(1031, typology="anomaly")], Window(match="own"))
    assert (verdict.missed, len(verdict.false)) == ((PUMP,), 1)


def test_lead_runs_from_the_alarm_to_the_public_event() -> None:
    public = msgspec.structs.replace(PUMP, public_ns=1100 * S)
    assert judge([public], [opened(1040)]).catches[0].lead_s == 60
    assert judge([public], [opened(1150)]).catches[0].lead_s == -50
    assert judge([PUMP], [opened(1040)]).catches[0].lead_s is None


def test_an_alarm_may_be_several_labels_and_is_one_hit() -> None:
    other = msgspec.structs.replace(PUMP, event_id="q", instruments=["B.X", "A.X"])
    verdict = judge([PUMP, other], [opened(1040)])
    assert (len(verdict.catches), len(verdict.hits)) == (2, 1)


def test_an_episode_on_a_benign_event_is_false_and_baited() -> None:
    verdict = judge([PUMP, EARNINGS], [opened(9010)])
    assert verdict.missed == (PUMP,)
    assert [stray.bait for stray in verdict.false] == ["b"]


def test_an_episode_that_only_informs_is_a_note_and_no_false_alarm() -> None:
    verdict = judge([], [opened(1, severity="info"), opened(2)])
    assert [one.opened_ns for one in verdict.notes] == [1 * S]
    assert [stray.opened.opened_ns for stray in verdict.false] == [2 * S]


def test_an_episode_is_an_alarm_from_its_first_alert_of_the_asked_severity_on() -> None:
    story = [
        alert(10, episode="a", severity="info"),
        alert(20, episode="a", severity="critical", revision=1, activity="update"),
        alert(30, episode="a", severity="critical", revision=2, activity="close"),
        alert(15, episode="b", severity="info"),
        alert(25, episode="b", severity="info", revision=1, activity="close"),
    ]

    def told(least: Severity) -> list[tuple[str, int, Severity]]:
        return [(one.episode_id, one.available_ns // S, one.severity) for one in alarms(reversed(story), least)]

    assert told("info") == [("a", 10, "critical"), ("b", 15, "info")]
    assert told("warning") == [("a", 20, "critical")]


def test_matching_agrees_with_looking_at_every_pair() -> None:
    labels = [
        msgspec.structs.replace(
            PUMP,
            event_id=str(i),
            start_ns=(37 * i % 50_000) * S,
            end_ns=(37 * i % 50_000 + 90) * S,
            onset_ns=(37 * i % 50_000) * S,
            instruments=[f"{'ABC'[i % 3]}.X"],
        )
        for i in range(0, 3000, 7)
    ]
    found: list[Opened] = [opened(101 * i % 60_000, instrument=f"{'ABCD'[i % 4]}.X") for i in range(500)]
    window = Window(before_ns=10 * S, after_ns=30 * S)
    expected = {
        one.episode_id
        for one in found
        for label in labels
        if one.instrument in label.instruments and label.start_ns - 10 * S <= one.available_ns <= label.end_ns + 30 * S
    }
    assert {one.episode_id for one in judge(labels, found, window).hits} == expected
    assert 20 < len(expected) < 480
