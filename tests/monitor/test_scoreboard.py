"""Whose episode is it: the minute before, the hour after, the instrument."""

from __future__ import annotations

import pytest

from engines.labels import Label
from monitor.scoreboard import Opening, judge

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


def opening(seconds: int, instrument: str = "A.X", typology: str = "pump_and_dump") -> Opening:
    return Opening(f"{typology}-{seconds}", typology, instrument, seconds * S)


@pytest.mark.parametrize(("seconds", "caught"), [(939, 0), (940, 1), (1200, 1), (1200 + 3600, 1), (1200 + 3601, 0)])
def test_a_minute_before_the_start_to_an_hour_after_the_end_is_the_labels(seconds: int, caught: int) -> None:
    score = judge([PUMP], [opening(seconds)])
    assert score.caught == caught
    assert len(score.false) == 1 - caught


def test_another_instruments_episode_is_false() -> None:
    score = judge([PUMP], [opening(1040, instrument="B.X")])
    assert score.caught == 0
    assert [o.instrument for o in score.false] == ["B.X"]


def test_any_typology_catches_and_the_delay_is_that_of_its_own() -> None:
    by_other = judge([PUMP], [opening(1031, typology="anomaly")]).catches[0]
    by_both = judge([PUMP], [opening(1050), opening(1031, typology="anomaly")]).catches[0]
    assert (by_other.exact, by_other.delay_s) == (False, 1.0)
    assert (by_both.exact, by_both.delay_s) == (True, 20.0)


def test_an_episode_on_a_benign_event_is_false_and_baited() -> None:
    score = judge([PUMP, EARNINGS], [opening(9010)])
    assert len(score.catches) == 1
    assert len(score.false) == len(score.baited) == 1


def test_a_missed_label_has_no_delay() -> None:
    assert judge([PUMP], []).catches[0].delay_s is None


def test_an_episode_that_only_informs_is_a_note_and_no_false_alarm() -> None:
    score = judge([], [Opening("a", "adverse_text", "A.X", S, "info"), Opening("b", "anomaly", "A.X", S)])
    assert [opening.episode_id for opening in score.notes] == ["a"]
    assert [opening.episode_id for opening in score.false] == ["b"]
